"""Which runner computes a model: the CPU kernel where it can, PyTorch otherwise."""

from __future__ import annotations

from collections.abc import Mapping

from seedbed.core.errors import UsageError
from seedbed.inference.runner import Runner
from seedbed.inference.runners.cpu import CpuRunner
from seedbed.inference.runners.decoder_program import supported
from seedbed.inference.runners.torch import TorchRunner
from seedbed.kernel.library import library
from seedbed.models.store import LoadedModel
from seedbed.nn.lora import LowRank


def known_ids(loaded: LoadedModel) -> int:
    """How many ids may be drawn: embeddings may have more rows than there are tokens."""
    return min(loaded.tokenizer.vocab_size, loaded.model.config.vocab_size)


def make_runner(
    loaded: LoadedModel,
    *,
    cache_bytes: int | None = None,
    adapters: Mapping[str, Mapping[str, LowRank]] | None = None,
) -> Runner:
    """The fastest runner there is for a model, with room for ``cache_bytes`` of keys and values.

    The kernel where one can be built and the model is on a CPU and of a shape it knows; PyTorch otherwise.

    Args:
        cache_bytes: one full window unless given.
        adapters: LoRA adapters by name (``nn.lora.read_adapter``).

    Raises:
        UsageError: adapters are asked for where only PyTorch can run the model.
    """
    on_cpu = next(loaded.model.parameters()).device.type == "cpu"
    if on_cpu and supported(loaded.model.config) and library() is not None:
        return CpuRunner(loaded.model, cache_bytes, adapters, known_ids(loaded))
    if adapters:
        raise UsageError(
            "adapters cannot be used with this model here",
            why="they are added by the CPU kernel, which this machine or model does without",
            fix="install a C++ compiler, or merge the adapter into the model",
        )
    return TorchRunner(loaded.model, cache_bytes=cache_bytes, known=known_ids(loaded))
