"""`seedbed prune`: a copy of a model without what it hardly uses, with what that costs and saves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from seedbed.cli.common import bytes_text, common_flags, count_text, print_json, print_table
from seedbed.core.errors import UsageError
from seedbed.core.progress import say

if TYPE_CHECKING:
    from seedbed.core.artifacts import Artifact, Library
    from seedbed.evaluation.held_out import HeldOut
    from seedbed.models.factory import AnyModel
    from seedbed.models.store import Loaded
    from seedbed.transform.derived import StoredModel

_CUTS, _SPARSE = ("heads", "layers", "width"), ("magnitude", "2:4", "wanda")


@click.command("prune")
@click.argument("model")
@click.option("--method", required=True, type=click.Choice([*_SPARSE, *_CUTS]), help="What is taken away, and how.")
@click.option("--share", type=float, help="Share that is taken away, between 0 and 1; 2:4 takes half.")
@click.option("--global", "everywhere", is_flag=True, help="With magnitude: the smallest of all layers together.")
@click.option("--text", type=click.Path(path_type=Path), help="A text file to judge by and measure on.")
@click.option("--name", help="Name of the result; MODEL-METHOD unless given.")
@click.option("--measure/--no-measure", default=True, show_default=True, help="Measure quality on held-out text.")
@click.option("--speed", is_flag=True, help="Time both too, in turn.")
@common_flags
def prune_command(
    model: str,
    method: str,
    share: float | None,
    everywhere: bool,
    text: Path | None,
    name: str | None,
    measure: bool,
    speed: bool,
    as_json: bool,
) -> None:
    """Store MODEL without a share of its weights, heads, layers or feed-forward channels, and compare the two.

    heads, layers and width leave a smaller model that is faster everywhere; magnitude, 2:4 and wanda set single weights
    to zero, which by itself saves nothing here. What goes is judged on text: --text, or the start of the model's own
    corpus; by weights alone where there is none. Wanda always needs text; magnitude never uses it.

    \b
    Example:
      seedbed prune quickstart --method width --share 0.25
      seedbed prune quickstart --method layers --share 0.2 --text notes.txt --name short
    """
    from seedbed.core.artifacts import Library

    library = Library()
    artifact = library.get(model, "model")
    size = _share(method, share, everywhere)
    _check_text(text)
    from seedbed.models.store import load_any
    from seedbed.transform.derived import open_stored

    stored, loaded = open_stored(artifact), load_any(artifact)
    held = _held_out(library, loaded, text)
    made = _pruned(
        library, stored, loaded, method, size, everywhere, held, name or f"{model}-{method.replace(':', '')}"
    )
    pair = load_any(artifact), load_any(made)  # again: weights of the first may have been set to zero
    facts = [_facts(one) for one in pair]
    if measure:
        _measure(pair, held, facts)
    if speed:
        _time(pair, facts)
    before, after = facts
    if as_json:
        record = dict(made.manifest.config)
        print_json({"original": artifact.id, "id": made.id, **record, "before": before, "after": after})
        return
    _print(before, after)


def _share(method: str, share: float | None, everywhere: bool) -> float:
    if everywhere and method != "magnitude":
        raise UsageError("--global goes with --method magnitude", why=f"the method is {method}", fix="omit --global")
    if method == "2:4":
        if share not in (None, 0.5):
            raise UsageError(f"--share {share:g}", why="2:4 takes two of every four weights", fix="omit --share")
        return 0.5
    if share is None or not 0 < share < 1:
        given = "there is no --share" if share is None else f"--share is {share:g}"
        raise UsageError("how much is to be pruned?", why=given, fix="give --share a number between 0 and 1, like 0.25")
    return share


def _check_text(text: Path | None) -> None:
    """Before a large model is loaded for nothing."""
    if text is not None and not text.is_file():
        raise UsageError(f"there is no text file {text}", why="no such file", fix="check the path")


def _held_out(library: Library, loaded: Loaded[AnyModel], text: Path | None) -> HeldOut | None:
    from seedbed.evaluation.held_out import from_corpus, from_text
    from seedbed.transform.calibration import TOKENS

    if text is None:
        return from_corpus(loaded.artifact, library, TOKENS)
    try:
        return from_text(text.read_text(encoding="utf-8"), loaded.tokenizer, str(text))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{text} cannot be read", why=str(error), fix="give a UTF-8 text file") from error


def _pruned(
    library: Library,
    stored: StoredModel,
    loaded: Loaded[AnyModel],
    method: str,
    share: float,
    everywhere: bool,
    held: HeldOut | None,
    name: str,
) -> Artifact:
    """Make and store the copy."""
    from seedbed.transform.derived import write_derived
    from seedbed.transform.prune import Method, prune

    calibration = None if held is None or method == "magnitude" else held.calibration
    chosen = cast(Method, method)
    config, tensors = prune(stored, loaded.model, chosen, share, everywhere=everywhere, ids=calibration)
    record: dict[str, Any] = {
        "method": method,
        "share": share,
        "judged_on": held.origin if calibration and held else "",
    }
    with library.writing("model", parents=[stored.artifact], config=record, name=name) as draft:
        draft.licence = stored.artifact.manifest.licence
        write_derived(draft.path, stored, tensors, config)
    return draft.result


def _facts(loaded: Loaded[AnyModel]) -> dict[str, Any]:
    from seedbed.models.parameter_counts import count_parameters
    from seedbed.transform.sparsity import zeros

    counted = count_parameters(loaded.model.config)
    return {
        "parameters": counted.total,
        "nonzero": counted.total - zeros(loaded.model),
        "bytes": loaded.artifact.size,
        "flops_per_token": counted.flops_per_token(training=False),
    }


def _measure(
    pair: tuple[Loaded[AnyModel], Loaded[AnyModel]], held: HeldOut | None, facts: list[dict[str, Any]]
) -> None:
    """The same held-out text through both."""
    from seedbed.evaluation.quantization import compare
    from seedbed.models.decoder import Decoder

    old, new = (loaded.model for loaded in pair)
    if held is None or not isinstance(old, Decoder) or not isinstance(new, Decoder):
        why = "there is no text; give --text" if held is None else "the model does not write text"
        say(f"quality not measured: {why}")
        return
    quality = compare(old, new, held.test)
    facts[0]["bits_per_byte"], facts[1]["bits_per_byte"] = quality.float_bits_per_byte, quality.bits_per_byte
    facts[1] |= {"same_best_token": quality.agreement, "divergence": quality.divergence}


def _time(pair: tuple[Loaded[AnyModel], Loaded[AnyModel]], facts: list[dict[str, Any]]) -> None:
    from seedbed.evaluation.side_by_side import measure_side_by_side
    from seedbed.models.decoder import Decoder
    from seedbed.models.store import LoadedModel

    if not isinstance(pair[0].model, Decoder):
        say("speed not measured: the model does not write text")
        return
    paces = measure_side_by_side([cast(LoadedModel, loaded) for loaded in pair])
    for pace, its in zip(paces, facts, strict=True):
        its |= {"prefill_tokens_per_second": pace.prefill, "decode_tokens_per_second": pace.decode}


def _print(before: dict[str, Any], after: dict[str, Any]) -> None:
    rows = []
    for key, title, form in _ROWS:
        if key in after:
            old, new = before.get(key), after[key]
            change = f"{new / old - 1:+.1%}" if old else ""
            rows.append([title, "" if old is None else form(old), form(new), change])
    print_table(["", "before", "after", "change"], rows, right=(1, 2, 3))


def _decimals(count: int) -> Any:
    return lambda value: f"{value:.{count}f}"


_ROWS: tuple[tuple[str, str, Any], ...] = (
    ("parameters", "parameters", count_text),
    ("nonzero", "not zero", count_text),
    ("bytes", "size", bytes_text),
    ("flops_per_token", "FLOPs a token", count_text),
    ("bits_per_byte", "bits per byte", _decimals(4)),
    ("same_best_token", "same best token", lambda value: f"{value:.1%}"),
    ("divergence", "KL, nats a token", _decimals(5)),
    ("prefill_tokens_per_second", "prefill, tokens/s", lambda value: f"{value:,.0f}"),
    ("decode_tokens_per_second", "decode, tokens/s", lambda value: f"{value:,.0f}"),
)
