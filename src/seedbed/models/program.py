"""A decoder as a program for the CPU kernel: the same arithmetic as ``decoder.py``, on rows instead of batches.

Buffers hold up to ``rows`` rows: x is the residual stream, y a normalized copy or attention's output, wide the
projections. Keys and values go to pages that the caller owns. ``body`` goes from ids to the residual stream; after it
come ``final`` (the norm of all rows, into ``hidden``) or a head (final norm and logits of picked rows).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.nn.attention import Attention
from seedbed.nn.block import Block
from seedbed.nn.feedforward import FeedForward
from seedbed.nn.lora import LowRank
from seedbed.nn.native.program import ACTIVATIONS, PAGE, VECTORS, AdapterStruct, Flag, Kind, Program, Scratch, scratch
from seedbed.nn.norm import RMSNorm
from seedbed.nn.packed import TILE, Packed, pack_float
from seedbed.nn.position import rotation
from seedbed.nn.quantized import QuantizedEmbedding, QuantizedLinear

Adapters = Sequence[Mapping[str, LowRank]]


def supported(config: ModelConfig) -> bool:
    """Whether the kernel has every operation of such a model."""
    attends = all(config.mixer(layer) in ("attention", "sliding") for layer in range(config.n_layers))
    return attends and config.head_size <= 1024


def page_floats(config: ModelConfig) -> int:
    """Floats of one page: keys and values of PAGE positions in all layers."""
    return config.n_layers * config.kv_heads * 2 * PAGE * _up(config.head_size)


class DecoderProgram:
    """The operations of one decoder.

    Args:
        model: float32 or quantized.
        rows: rows at once.
        adapters: low-rank additions by layer path; a row names one by its place here.
    """

    def __init__(self, model: Decoder, rows: int, adapters: Adapters = ()) -> None:
        self.config, self.model, self.rows, self.adapters = model.config, model, rows, adapters
        config = model.config
        self.table = packed_of(model.embedding)
        self.output = self.table if config.tied else packed_of(model.output)
        self.matrices = [self.table, self.output]
        self.x = torch.zeros(rows, _up(config.d_model))
        self.y = torch.zeros(rows, _up(max(config.d_model, config.n_heads * config.head_size)))
        attention = (config.n_heads + 2 * config.kv_heads) * config.head_size
        self.wide = torch.zeros(rows, max(_up(attention), 2 * _up(config.hidden)))
        self.queries = torch.zeros(rows, max(config.n_heads * _up(config.head_size), _up(config.hidden)))
        self.turns = _turns(config)
        self.body, self.final = self._body(), Program()
        self.hidden = self.x if isinstance(model.norm, nn.Identity) else self.y
        self._norm(self.final, model.norm, self.x, self.hidden)
        self._head: tuple[Program, Tensor] | None = None

    def scratch(self) -> tuple[Scratch, int]:
        """Working memory, and how many of a thread's floats are for scores."""
        scores = VECTORS * (-(-self.config.max_length // PAGE) * PAGE + PAGE)
        return scratch(self.matrices, self.rows, scores), scores

    def head(self, picks: int) -> tuple[Program, Tensor]:
        """Operations from picked rows to logits, and where the logits are: (at least ``picks``, V)."""
        if self._head is None or self._head[1].shape[0] < picks:
            self._head = self._build_head(max(picks, 16))
        return self._head

    def _body(self) -> Program:
        program, model, size = Program(), self.model, self.config.d_model
        position = model.position.weight.detach() if model.position is not None else None
        into: dict[str, Any] = {"target": self.x, "out_stride": self.x.shape[1]}
        program.add(Kind.EMBED, k=size, n=0, **program.matrix(self.table), extra=position, **into)
        if model.embedding_norm is not None:
            self._norm(program, model.embedding_norm, self.x, self.x)
        for layer, block in enumerate(model.blocks):
            assert isinstance(block, Block)
            self._block(program, layer, block)
        return program

    def _build_head(self, picks: int) -> tuple[Program, Tensor]:
        program, size = Program(), self.config.d_model
        picked = torch.zeros(picks, self.x.shape[1])
        logits = torch.empty(picks, self.config.vocab_size)
        strides = {"in_stride": self.x.shape[1], "out_stride": picked.shape[1]}
        program.add(Kind.PICK, k=size, source=self.x, target=picked, **strides)
        self._norm(program, self.model.norm, picked, picked)
        self._linear(program, self.output, None, picked, logits)
        program.add(Kind.BEST, n=self.config.vocab_size, source=logits, in_stride=logits.shape[1])
        return program, logits

    def _block(self, program: Program, layer: int, block: Block) -> None:
        pre, attention, feedforward = block.place == "pre", block.mixer, block.feedforward
        assert isinstance(attention, Attention)
        if pre:
            self._norm(program, block.mixer_norm, self.x, self.y)
        self._attention(program, layer, attention, self.y if pre else self.x)
        if not pre:
            self._norm(program, block.mixer_norm, self.x, self.x)
        if feedforward is None or block.feedforward_norm is None:
            return
        assert isinstance(feedforward, FeedForward)
        if pre:
            self._norm(program, block.feedforward_norm, self.x, self.y)
        self._feedforward(program, f"blocks.{layer}.feedforward", feedforward, self.y if pre else self.x)
        if not pre:
            self._norm(program, block.feedforward_norm, self.x, self.x)

    def _attention(self, program: Program, layer: int, attention: Attention, source: Tensor) -> None:
        config, size, name = self.config, self.config.head_size, f"blocks.{layer}.mixer"
        parts = {"q": config.n_heads * size, "k": config.kv_heads * size, "v": config.kv_heads * size}
        starts = {"q": 0, "k": parts["q"], "v": parts["q"] + parts["k"]}
        layers = {part: (getattr(attention, part), self.wide[:, starts[part] :]) for part in parts}
        self._parallel(program, name, layers, source)
        shared: dict[str, Any] = {"k": size, "heads": config.n_heads, "kv_heads": config.kv_heads, "layer": layer}
        norms = _qk_norms(program, attention)
        wide, queries, y = self.wide, self.queries, self.y
        strides = {"in_stride": wide.shape[1], "out_stride": queries.shape[1]}
        rotated: dict[str, Any] = {"rotated": config.rotated if self.turns is not None else 0, "weight": self.turns}
        program.add(Kind.STORE, source=wide, target=queries, factor=size**-0.5, **shared, **strides, **rotated, **norms)
        window = config.window or 0 if config.mixer(layer) == "sliding" else 0
        strides = {"in_stride": queries.shape[1], "out_stride": y.shape[1]}
        program.add(Kind.ATTEND, source=queries, target=y, window=window, **shared, **strides)
        self._add(program, f"{name}.out", attention.out, y)

    def _feedforward(self, program: Program, name: str, layer: FeedForward, source: Tensor) -> None:
        hidden = _up(self.config.hidden)
        outer, inner = self.wide, self.queries
        layers = {"up": (layer.up, outer[:, hidden:])}
        if layer.gate is not None:
            layers = {"gate": (layer.gate, outer), **layers}
        self._parallel(program, name, layers, source)
        gated = layer.gate is not None
        kind = {"activation": ACTIVATIONS.index(self.config.activation), "n": self.config.hidden}
        program.add(
            Kind.ACTIVATE,
            Flag.GATED if gated else 0,
            source=_address(program, outer if gated else outer[:, hidden:]),
            extra=_address(program, outer[:, hidden:]),
            target=inner,
            in_stride=outer.shape[1],
            out_stride=inner.shape[1],
            **kind,
        )
        self._add(program, f"{name}.down", layer.down, inner)

    def _parallel(
        self, program: Program, name: str, layers: Mapping[str, tuple[nn.Module, Tensor]], source: Tensor
    ) -> None:
        """Layers with one input: it is quantized once, and nothing waits between them."""
        last = list(layers)[-1]
        for place, (part, (layer, target)) in enumerate(layers.items()):
            flags = (Flag.REUSE_INPUT if place else 0) | (Flag.NO_BARRIER if part != last else 0)
            self._linear(program, packed_of(layer), _bias(layer), source, target, flags)
        for part, (_, target) in layers.items():
            self._adapt(program, f"{name}.{part}", source, target)

    def _add(self, program: Program, name: str, layer: nn.Module, source: Tensor) -> None:
        """``x += W source + b``."""
        self._linear(program, packed_of(layer), _bias(layer), source, self.x, Flag.ADD)
        self._adapt(program, name, source, self.x)

    def _linear(
        self, program: Program, packed: Packed, bias: Tensor | None, source: Tensor, target: Tensor, flags: int = 0
    ) -> None:
        self.matrices.append(packed)
        addresses = {"source": source, "target": _address(program, target)}
        program.add_linear(
            packed, flags, in_stride=source.stride(0), out_stride=target.stride(0), bias=bias, **addresses
        )

    def _adapt(self, program: Program, name: str, source: Tensor, target: Tensor) -> None:
        """The adapters' additions to the layer just computed; those without a part for it have rank 0."""
        parts = [adapter.get(name) for adapter in self.adapters]
        some = next((part for part in parts if part is not None), None)
        if some is None:
            return
        structs = (AdapterStruct * len(parts))()
        for place, part in enumerate(parts):
            if part is not None:
                pointers = program.pointer(part.down), program.pointer(part.up)
                structs[place] = AdapterStruct(*pointers, part.down.shape[0], part.scale)
        addresses = {"source": source, "target": _address(program, target)}
        strides = {"in_stride": source.stride(0), "out_stride": target.stride(0)}
        program.add_adapters(structs, n=some.up.shape[0], k=some.down.shape[1], **addresses, **strides)

    def _norm(self, program: Program, norm: nn.Module, source: Tensor, target: Tensor) -> None:
        strides = {"in_stride": source.shape[1], "out_stride": target.shape[1]}
        if isinstance(norm, nn.Identity):
            return
        flags, fields = _norm_fields(norm)
        program.add(Kind.NORM, flags, k=self.config.d_model, source=source, target=target, **strides, **fields)


def packed_of(layer: nn.Module) -> Packed:
    """A layer's weights in tiles: those of a quantized layer as they are, float ones in the kernel's order."""
    if isinstance(layer, (QuantizedLinear, QuantizedEmbedding)):
        return layer.packed
    assert isinstance(layer, (nn.Linear, nn.Embedding))
    return pack_float(layer.weight)


def _bias(layer: nn.Module) -> Tensor | None:
    bias = layer.bias
    return bias.detach() if isinstance(bias, Tensor) else None


def _norm_fields(norm: nn.Module) -> tuple[int, dict[str, Any]]:
    assert isinstance(norm, (RMSNorm, nn.LayerNorm))
    bias = norm.bias.detach() if isinstance(norm, nn.LayerNorm) else None
    flags = Flag.LAYER_NORM if isinstance(norm, nn.LayerNorm) else 0
    return flags, {"weight": norm.weight.detach(), "bias": bias, "eps": norm.eps}


def _qk_norms(program: Program, attention: Attention) -> dict[str, Any]:
    if attention.q_norm is None or attention.k_norm is None:
        return {}
    flags, q = _norm_fields(attention.q_norm)
    _, k = _norm_fields(attention.k_norm)
    return {
        "flags": flags,
        "eps": q["eps"],
        "extra": q["weight"],
        "extra2": k["weight"],
        "extra3": q["bias"],
        "extra4": k["bias"],
    }


def _turns(config: ModelConfig) -> Tensor | None:
    """(max_length, rotated): cosines, then sines, of every position."""
    if config.position != "rope" or config.rotated == 0:
        return None
    cosine, sine = rotation(0, config.max_length, config.rotated, config.rope_theta)  # (T, 1, rotated)
    half = config.rotated // 2
    return torch.cat([cosine[:, 0, :half], sine[:, 0, half:]], 1).contiguous()


def _address(program: Program, view: Tensor) -> int:
    """Where a view of a buffer begins."""
    program.kept.append(view)
    return view.data_ptr()


def _up(size: int) -> int:
    return -(-size // TILE) * TILE
