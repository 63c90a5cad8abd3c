"""Compile a decoder into a program for the CPU kernel: the arithmetic of ``decoder.py`` on rows instead of batches.

Buffers hold up to ``rows`` rows: x is the residual stream, y a normalized copy or attention's output, wide the
projections. Keys and values go to pages that the caller owns. ``body`` goes from ids to the residual stream; after it
come ``final`` (the norm of all rows, into ``hidden``) or a head (final norm and logits of picked rows).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seedbed.inference.runners.module_operations import (
    Adapters,
    Operations,
    as_float,
    head_norms,
    packed_of,
    rows_of,
    up,
)
from seedbed.kernel.program import ACTIVATIONS, PAGE, VECTORS, Flag, Kind, Program, RoutesStruct
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.stack import attends
from seedbed.nn.attention import Attention
from seedbed.nn.bias import alibi_slopes
from seedbed.nn.block import Block
from seedbed.nn.experts import Experts
from seedbed.nn.feedforward import FeedForward
from seedbed.nn.position import rotation, sinusoids

_POSITIONS = ("rope", "learned", "sinusoidal", "alibi", "none")
_SIDE_BY_SIDE = ("parallel", "shared")


def supported(config: ModelConfig) -> bool:
    """Tell whether the kernel has every operation of such a model."""
    attention = all(attends(config.mixer(layer)) for layer in range(config.n_layers)) and config.head_size <= 1024
    known = config.position in _POSITIONS and config.activation in ACTIVATIONS
    routed = config.experts is None or config.norm_place in ("pre", *_SIDE_BY_SIDE)  # experts add to the stream itself
    return attention and known and routed and config.causal and not config.cross and not config.segments


def page_floats(config: ModelConfig) -> int:
    """Return the floats of one page: keys and values of PAGE positions in all layers."""
    return config.n_layers * config.kv_heads * 2 * PAGE * up(config.head_size)


class DecoderProgram:
    """The operations of one decoder.

    Args:
        model: one that is ``supported``, float or quantized.
        rows: rows at once.
        adapters: low-rank additions by layer path; a row names one by its place here.
        known: ids among which the best one is looked for.
        window: positions there is room for.
    """

    def __init__(self, model: Decoder, rows: int, adapters: Adapters, known: int, window: int) -> None:
        self.config, self.model, self.rows, self.known, self.window = model.config, model, rows, known, window
        config = model.config
        self.table = packed_of(model.embedding)
        self.output = self.table if config.tied else packed_of(model.output)
        self.matrices = [self.table, self.output]
        self.operations = Operations(adapters, self.matrices)
        self._buffers()
        self.turns = {local: _turns(config, local, self.window) for local in (False, True)}
        self.slopes = torch.tensor(alibi_slopes(config.n_heads)) if config.position == "alibi" else None
        self._body()
        self.body, final = self.operations.program, Operations((), self.matrices)
        self.hidden = self.x if isinstance(model.norm, nn.Identity) else self.y
        final.norm(model.norm, self.x, self.hidden)
        self.final = final.program

    @property
    def score_floats(self) -> int:
        """Working memory of a thread for attention's scores."""
        return VECTORS * (-(-self.window // PAGE) * PAGE + PAGE)

    def head(self, picks: int) -> tuple[Program, Tensor]:
        """Build operations from up to so many picked rows to logits. Returns them and the logits' buffer (picks, V)."""
        config, head = self.config, Operations((), self.matrices)
        picked = torch.zeros(picks, self.x.shape[1])
        logits = torch.empty(picks, config.vocab_size)
        head.add(Kind.PICK, self.x, picked, k=config.d_model)
        head.norm(self.model.norm, picked, picked)
        head.scale(picked, config.d_model, config.logit_scale, None)
        bias = self.model.output.bias
        head.multiply(self.output, as_float(bias) if isinstance(bias, Tensor) else None, picked, logits)
        head.scale(logits, config.vocab_size, None, config.logit_cap)
        head.program.add(Kind.BEST, n=self.known, source=logits, in_stride=logits.shape[1])
        return head.program, logits

    def _buffers(self) -> None:
        config, rows, width = self.config, self.rows, self.config.d_model
        experts = config.experts
        hidden = max(config.hidden, experts.hidden or 0) if experts else config.hidden
        attention = (config.n_heads + 2 * config.kv_heads) * config.head_size
        self.x = rows_of(rows, width)
        self.y = rows_of(rows, max(width, config.n_heads * config.head_size))
        self.wide = rows_of(rows, max(attention, 2 * up(hidden), width, experts.count if experts else 0))
        self.queries = rows_of(rows, max(config.n_heads * up(config.head_size), hidden))
        if config.norm_place in _SIDE_BY_SIDE:
            self.second = rows_of(rows, width)  # what the feed-forward layer reads, while attention uses the rest
        if experts:
            self.gathered = rows_of(rows, width)
            chosen, most = rows * experts.active, rows * experts.count
            integers = {"chosen": torch.zeros(chosen, dtype=torch.int32), "row": torch.zeros(most, dtype=torch.int32)}
            self.routes = {**integers, "weight": torch.zeros(chosen), "share": torch.zeros(most)}

    def _body(self) -> None:
        program, model, config = self.operations.program, self.model, self.config
        into: dict[str, Any] = {"target": self.x, "out_stride": self.x.shape[1], "extra": self._positions()}
        scale = 1.0 if config.embedding_scale is None else config.embedding_scale
        program.add(Kind.EMBED, k=config.d_model, n=0, factor=scale, **program.matrix(self.table), **into)
        if model.embedding_norm is not None:
            self.operations.norm(model.embedding_norm, self.x, self.x)
        for layer, block in enumerate(model.blocks):
            assert isinstance(block, Block)
            (self._parallel_block if block.place in _SIDE_BY_SIDE else self._block)(layer, block)

    def _positions(self) -> Tensor | None:
        """Return (at least window, D) vectors that are added to embedded tokens, or None."""
        if self.model.position is not None:
            return as_float(self.model.position.weight[self.config.position_offset :])
        if self.config.position == "sinusoidal":
            return sinusoids(0, self.window, self.config.d_model)
        return None

    def _block(self, layer: int, block: Block) -> None:
        self._attention(layer, block, self._before(block, block.mixer_norm))
        self._after(block, block.mixer_norm, block.mixer_end_norm)
        if block.feedforward_norm is not None:
            self._feedforward(layer, block, self._before(block, block.feedforward_norm))
            self._after(block, block.feedforward_norm, block.feedforward_end_norm)

    def _before(self, block: Block, norm: nn.Module) -> Tensor:
        """Normalize where the block does so before a part, and return the part's source."""
        if block.place == "post":
            return self.x
        self.operations.norm(norm, self.x, self.y)
        return self.y

    def _after(self, block: Block, norm: nn.Module, end: nn.Module | None) -> None:
        if block.place == "post":
            self.operations.norm(norm, self.x, self.x)
        if end is not None:
            self.operations.norm(end, self.wide, self.x, Flag.ADD)

    def _parallel_block(self, layer: int, block: Block) -> None:
        """Append a block whose two parts read the same stream, through one norm or one each."""
        source = self.second if block.feedforward_norm is None else self.y
        self.operations.norm(block.mixer_norm, self.x, source)
        if block.feedforward_norm is not None:
            self.operations.norm(block.feedforward_norm, self.x, self.second)
        self._attention(layer, block, source)
        self._feedforward(layer, block, self.second)

    def _attention(self, layer: int, block: Block, source: Tensor) -> None:
        config, attention, name, do = self.config, block.mixer, f"blocks.{layer}.mixer", self.operations
        assert isinstance(attention, Attention)
        size, sliding = config.head_size, config.mixer(layer) == "sliding"
        wide, queries = self.wide, self.queries
        starts = {"q": 0, "k": config.n_heads * size, "v": (config.n_heads + config.kv_heads) * size}
        do.parallel(name, {part: (getattr(attention, part), wide[:, at:]) for part, at in starts.items()}, source)
        shared: dict[str, Any] = {"k": size, "heads": config.n_heads, "kv_heads": config.kv_heads, "layer": layer}
        turns = self.turns[sliding and config.rope_theta_local is not None]
        rotated: dict[str, Any] = {"rotated": config.rotated if turns is not None else 0, "weight": turns}
        do.add(Kind.STORE, wide, queries, factor=attention.scale, **shared, **rotated, **head_norms(attention))
        bent: dict[str, Any] = {"cap": attention.cap or 0.0, "extra": self.slopes}
        window = config.window or 0 if sliding else 0
        do.add(Kind.ATTEND, queries, self.y, window=window, **shared, **bent)
        self._add(block, f"{name}.out", attention.out, self.y)

    def _feedforward(self, layer: int, block: Block, source: Tensor) -> None:
        part, name = block.feedforward, f"blocks.{layer}.feedforward"
        if isinstance(part, Experts):
            self._experts(name, part, source)
        elif isinstance(part, FeedForward):
            self._hidden(name, part, self.config.hidden, source)
            self._add(block, f"{name}.down", part.down, self.queries)

    def _hidden(self, name: str, layer: FeedForward, size: int, source: Tensor, **route: Any) -> None:
        """Append a feed-forward layer's hidden channels, into ``queries``."""
        outer, gated = self.wide[:, up(size) :], layer.gate is not None
        gate = {"gate": (layer.gate, self.wide)} if layer.gate is not None else {}
        self.operations.parallel(name, {**gate, "up": (layer.up, outer)}, source, **route)
        kind = {"activation": ACTIVATIONS.index(self.config.activation), "n": size, "extra": outer.data_ptr()}
        inner, flags = self.wide if gated else outer, Flag.GATED if gated else 0
        self.operations.add(Kind.ACTIVATE, inner, self.queries, flags, **kind)

    def _experts(self, name: str, layer: Experts, source: Tensor) -> None:
        """Append the router, then each expert on the rows that chose it, added to the stream in their order."""
        do, how, logits = self.operations, layer.config, self.wide
        do.linear(f"{name}.router", layer.router, source, logits)
        count = torch.zeros(how.count, dtype=torch.int32)
        program = do.program
        tables = {part: program.pointer(table) for part, table in self.routes.items()}
        routes = RoutesStruct(rows=self.rows, count=program.pointer(count), **tables)
        route: dict[str, Any] = {"routes": program.structure(routes)}
        flags = Flag.RENORMALIZE if how.renormalize else 0
        do.add(Kind.ROUTE, logits, logits, flags, n=how.count, k=how.active, **route)
        for number, expert in enumerate(layer.experts):
            assert isinstance(expert, FeedForward)
            route["expert"], own = number, f"{name}.experts.{number}"
            do.add(Kind.GATHER, source, self.gathered, k=self.config.d_model, **route)
            first = len(program.operations)
            self._hidden(own, expert, how.hidden or self.config.hidden, self.gathered, **route)
            do.linear(f"{own}.down", expert.down, self.queries, self.gathered, **route)
            do.add(Kind.SCATTER, self.gathered, self.x, k=self.config.d_model, **route)
            program.operations[first - 1].skip = len(program.operations) - first

    def _add(self, block: Block, name: str, layer: nn.Module, source: Tensor) -> None:
        """``x += W source + b``; before a norm of its own, into ``wide``, which nobody reads by then."""
        if block.place == "sandwich":
            self.operations.linear(name, layer, source, self.wide)
        else:
            self.operations.linear(name, layer, source, self.x, Flag.ADD)


def _turns(config: ModelConfig, local: bool, window: int) -> Tensor | None:
    """Return (window, rotated): cosines, then sines, of every position.

    LongRoPE's rows for the positions of short texts stand before those of all positions of long ones.
    """
    theta = config.rope_theta_local if local else config.rope_theta
    if config.position != "rope" or config.rotated == 0 or theta is None:
        return None
    scaling = None if local else config.rope_scaling
    tables, half, switch = [], config.rotated // 2, config.switch_length
    for length, long in [(window, False)] if switch is None else [(switch, False), (window, True)]:
        cosine, sine = rotation(0, length, config.rotated, theta, None, scaling, config.max_length, long)
        tables.append(torch.cat([cosine[:, 0, :half], sine[:, 0, half:]], 1))
    return torch.cat(tables)
