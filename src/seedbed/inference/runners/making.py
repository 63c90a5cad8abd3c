"""Choose the runner of a model: the CPU kernel where it can compute it, PyTorch otherwise."""

from __future__ import annotations

from collections.abc import Mapping

from seedbed.inference.runner import Runner
from seedbed.inference.runners.cpu import CpuRunner
from seedbed.inference.runners.decoder_program import supported
from seedbed.inference.runners.torch import TILE_ROWS, TorchRunner
from seedbed.kernel.library import library
from seedbed.models.store import LoadedModel
from seedbed.nn.lora import LowRank


def known_ids(loaded: LoadedModel) -> int:
    """Return how many ids may be drawn: embeddings may have more rows than there are tokens."""
    return min(loaded.tokenizer.vocab_size, loaded.model.config.vocab_size)


def make_runner(
    loaded: LoadedModel,
    *,
    cache_bytes: int | None = None,
    adapters: Mapping[str, Mapping[str, LowRank]] | None = None,
    together: bool = False,
) -> Runner:
    """Return the fastest runner there is for a model, with room for ``cache_bytes`` of keys and values (or one window).

    The kernel where one can be built and the model is on a CPU and of a shape it knows; PyTorch otherwise.

    Args:
        adapters: LoRA adapters by name and layer path.
        together: many sequences will run at once. The kernel and GPUs always compute them together; PyTorch on a CPU
            does so if told, and is then up to half as fast with one alone.
    """
    on_cpu = next(loaded.model.parameters()).device.type == "cpu"
    if on_cpu and supported(loaded.model.config) and library() is not None:
        return CpuRunner(loaded.model, cache_bytes, adapters, known_ids(loaded))
    rows = None if not on_cpu else TILE_ROWS if together else 1
    return TorchRunner(loaded.model, cache_bytes=cache_bytes, adapters=adapters, known=known_ids(loaded), rows=rows)
