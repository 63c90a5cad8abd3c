"""Try a foreign tokenizer out in a capped child before it is used in this process.

The child reads the files as we will and encodes texts that are slow or large for a bad one; a tokenizer that crashes,
panics, hangs or fills its memory there is refused with the reason, and nothing of it has run here. ``bounds.py`` holds
what a table must keep without being tried. Chat templates are tried in the child that they are always rendered in.

The probes cannot find every slow expression: one may need a text that no probe is like. The library stops each search
after ten million steps (0.1 s), and such a text is refused when it comes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from seedbed.core import sandbox
from seedbed.core.errors import CapacityError, DataError
from seedbed.core.sandboxed import tightened
from seedbed.tokenizers.bounds import all_steps
from seedbed.tokenizers.chat_template import DEFAULT_TEMPLATE, check_budget
from seedbed.tokenizers.sentencepiece_model import damaged_tokenizer
from seedbed.tokenizers.tokenizer import Tokenizer

BUDGET = sandbox.Budget(seconds=60.0, memory_bytes=2_000_000_000)
"""Of reading and trying one, the start of its child included; 262,144 pieces with 515,000 merges: 5 s, 0.7 GB."""
_PROBE_MEMORY = 384_000_000  # bytes that the probes may take beyond what the tokenizer itself holds
_RUN, _PATTERN_RUN = 20_000, 100_000  # characters of a probe; of one made of what the tokenizer replaces
_MOST_PATTERNS = 24
_BREAK = "\x01"  # ends a run by what no expression waits for: then it goes back over all ways to match the run
_PROBES = (
    "The cats aren't sitting beside 12,345 other cats, are they?\n\t",
    "naïve Ünï ﷺ ﬁ İ e\u0301 漢字 かな 한국어 \u1112\u1161\u11ab العربية हिन्दी 🌱👩‍👩‍👧 ",
    "".join(map(chr, range(1, 0x250))),
    " ",
    "a",
    "0",
    "\n",
    "▁",
)


def require_usable(target: str, order: Mapping[str, Any], origin: str) -> None:
    """Raise where a tokenizer cannot be used; ``target`` reads that of an order and gives it to :func:`exercise`.

    Raises:
        CapacityError: it takes more time or memory than one may.
        CorruptError: it crashes or fails. SeedbedError: what reading it raises.
    """
    try:
        _child(target).ask(order)
    except DataError as error:
        raise damaged_tokenizer(origin, f"it fails at a text: {error.why}") from error
    except sandbox.OutOfBudget as error:
        if error.cause in ("seconds", "memory"):
            what, fix = f"the tokenizer of {origin} was tried out and cannot be used", "use another model's"
            raise CapacityError(what, why=error.why, fix=fix) from error
        raise damaged_tokenizer(origin, error.why) from error


def try_templates(tokenizer: Tokenizer) -> Tokenizer:
    """Return a tokenizer; raise UsageError where one of its chat templates breaks its budget on a plain chat."""
    for template in tokenizer.chat_templates.values():
        check_budget(template)
    return tokenizer


def open_file(path: Path) -> Tokenizer:
    """Load a foreign ``tokenizer.json`` as :meth:`Tokenizer.from_file` does, after it was tried out."""
    require_usable(f"{__name__}:try_file", {"path": str(path)}, str(path))
    return try_templates(Tokenizer.from_file(path))


def try_file(path: str) -> None:
    """Try a ``tokenizer.json`` out; for the child."""
    exercise(Tokenizer.from_file(Path(path)))


def exercise(tokenizer: Tokenizer) -> None:
    """Do all that is ever done with a tokenizer; for the child. Raises what the tokenizer raises."""
    tokenizer.chat_template = DEFAULT_TEMPLATE  # a foreign one is no matter of this child
    found = (tokenizer.hash, tokenizer.unk_id, tokenizer.is_lossless, tokenizer.wrap_ids, tokenizer.special_ids)
    assert found
    with tightened(_PROBE_MEMORY):
        for text in _probes(tokenizer.table):
            ids = tokenizer.encode(text)
            tokenizer.decode(ids)
            tokenizer.pieces(ids[:1000])
        tokenizer.encode_chat([{"role": "user", "content": _PROBES[0]}])
        for token in range(tokenizer.vocab_size):
            tokenizer.token_bytes(token)


def _probes(table: Mapping[str, Any]) -> Iterator[str]:
    for text in _PROBES:
        yield text * (_RUN // len(text))
    for text in list(dict.fromkeys(_own_texts(table)))[:_MOST_PATTERNS]:
        yield text * (_PATTERN_RUN // len(text) + 1) + _BREAK


def _own_texts(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a tokenizer is likely to work on: texts that it replaces or splits at, letters of its expressions."""
    for key in ("normalizer", "pre_tokenizer"):
        for step in all_steps(table, key):
            pattern = step.get("pattern") or {}
            if text := pattern.get("String"):
                yield text[:1000]
            yield from re.sub(r"\\.", "", pattern.get("Regex") or "")[:200]
    longest = sorted(table["model"]["vocab"], key=lambda entry: -len(entry if isinstance(entry, str) else entry[0]))[:2]
    yield from (entry if isinstance(entry, str) else entry[0] for entry in longest)


@functools.cache
def _child(target: str) -> sandbox.KeptChild:
    return sandbox.KeptChild(target, BUDGET)
