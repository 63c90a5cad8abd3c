"""A copy of a model without a share of its weights, heads, layers or channels, compared with the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from seedbed.core import files
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import UsageError
from seedbed.core.progress import say
from seedbed.evaluation.held_out import HeldOut, from_corpus, from_text
from seedbed.evaluation.quantization import compare
from seedbed.evaluation.side_by_side import measure_side_by_side
from seedbed.models.decoder import Decoder
from seedbed.models.factory import AnyModel
from seedbed.models.parameter_counts import count_parameters
from seedbed.models.store import Loaded, LoadedModel, load_any
from seedbed.transform.calibration import TOKENS
from seedbed.transform.derived import open_stored, write_derived
from seedbed.transform.methods import PruneMethod
from seedbed.transform.prune import prune
from seedbed.transform.sparsity import zeros

Facts = dict[str, Any]
Pair = tuple[Loaded[AnyModel], Loaded[AnyModel]]


def pruned_copy(
    library: Library,
    model: str,
    method: PruneMethod,
    share: float | None = None,
    name: str | None = None,
    *,
    everywhere: bool = False,
    text: Path | None = None,
    measure: bool = True,
    speed: bool = False,
) -> tuple[Artifact, Facts, Facts]:
    """Make and store a copy, called MODEL-METHOD unless named; returns it with the figures of original and copy.

    Args:
        share: taken away; None for "2:4".
        everywhere: for "magnitude": compare the weights of all layers with each other.
        text: a file to judge by and measure on; None for the start of the model's own corpus.
        measure: quality on held-out text.
        speed: time both too.

    Raises:
        UsageError: the share does not fit the method, or the text cannot be read.
    """
    artifact = library.get(model, "model")
    share = _checked_share(method, share, everywhere)
    if text is not None and not text.is_file():  # before a large model is loaded
        raise UsageError(f"there is no text file {text}", why="no such file", fix="check the path")
    stored, loaded = open_stored(artifact), load_any(artifact)
    held = _held_out(library, loaded, text)
    calibration = None if held is None or method == "magnitude" else held.calibration
    config, tensors = prune(stored, loaded.model, method, share, everywhere=everywhere, ids=calibration)
    record = {"method": method, "share": share, "judged_on": held.origin if calibration and held else ""}
    called = name or f"{model}-{method.replace(':', '')}"
    with library.writing("model", parents=[artifact], config=record, name=called) as draft:
        draft.licence = artifact.manifest.licence
        write_derived(draft.path, stored, tensors, config)
    made = draft.result
    pair = load_any(artifact), load_any(made)  # again: weights of the first may have been set to zero
    facts = [_facts(one) for one in pair]
    if measure:
        _measure(pair, held, facts)
    if speed:
        _time(pair, facts)
    return made, facts[0], facts[1]


def _checked_share(method: PruneMethod, share: float | None, everywhere: bool) -> float:
    """Return the share to take away. Raises UsageError where it does not fit the method."""
    if everywhere and method != "magnitude":
        why = f"the method is {method}"
        raise UsageError("--global is an option of --method magnitude", why=why, fix="omit --global")
    if method == "2:4":
        if share not in (None, 0.5):
            why = "it takes two of every four weights"
            raise UsageError(f"--share {share:g} does not fit 2:4", why=why, fix="omit --share")
        return 0.5
    if share is None or not 0 < share < 1:
        given = "there is no --share" if share is None else f"--share is {share:g}"
        raise UsageError("--share is missing or out of range", why=given, fix="give a number between 0 and 1")
    return share


def _held_out(library: Library, loaded: Loaded[AnyModel], text: Path | None) -> HeldOut | None:
    if text is None:
        return from_corpus(loaded.artifact, library, TOKENS)
    try:
        return from_text(files.read_text(text), loaded.tokenizer, str(text))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{text} cannot be read", why=str(error), fix="give a UTF-8 text file") from error


def _facts(loaded: Loaded[AnyModel]) -> Facts:
    counted = count_parameters(loaded.model.config)
    return {
        "parameters": counted.total,
        "nonzero": counted.total - zeros(loaded.model),
        "bytes": loaded.artifact.size,
        "flops_per_token": counted.flops_per_token(training=False),
    }


def _measure(pair: Pair, held: HeldOut | None, facts: list[Facts]) -> None:
    """Compare both on the same held-out text."""
    old, new = (loaded.model for loaded in pair)
    if held is None or not isinstance(old, Decoder) or not isinstance(new, Decoder):
        why = "there is no text; give --text" if held is None else "the model does not write text"
        say(f"quality not measured: {why}")
        return
    quality = compare(old, new, held.test)
    facts[0]["bits_per_byte"], facts[1]["bits_per_byte"] = quality.float_bits_per_byte, quality.bits_per_byte
    facts[1] |= {"same_best_token": quality.agreement, "divergence": quality.divergence}


def _time(pair: Pair, facts: list[Facts]) -> None:
    if not isinstance(pair[0].model, Decoder):
        say("speed not measured: the model does not write text")
        return
    paces = measure_side_by_side([cast(LoadedModel, loaded) for loaded in pair])
    for pace, its in zip(paces, facts, strict=True):
        its |= {"prefill_tokens_per_second": pace.prefill, "decode_tokens_per_second": pace.decode}
