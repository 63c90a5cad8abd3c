"""A set of conversations from a data set's rows, stored as what fine-tuning reads: an artifact of kind "questions".

``train.jsonl``, ``valid.jsonl`` and ``test.jsonl`` as :mod:`seedbed.corpus.questions` writes them; a row with a
context keeps it and the question apart too (a stage of kind "reading" shows it as a passage). The split follows the
hash of the first question, so that one question never stands on two sides; a conversation that occurs again is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import DataError, NotFoundError, UsageError
from seedbed.core.files import canonical_json, disk_errors
from seedbed.core.progress import say, track
from seedbed.corpus.answers import fraction
from seedbed.corpus.columns import Columns, find_columns
from seedbed.corpus.conversation import read_conversation
from seedbed.corpus.document import SPLITS
from seedbed.corpus.tables import Row, TableRows
from seedbed.corpus.tally import Tally, UnreadRow
from seedbed.corpus.turns import Message

HELD_OUT = 0.1
"""Share of the distinct questions for validation, and as much for testing."""
_FEWEST = 3
_LOOKED_AT = 100


def _too_few(found: _Gathered, columns: Columns) -> DataError:
    """Return the error of a data set with too few different questions, and why it has no more."""
    why = f"{found.counts['rows']:,} rows gave {len(found.asked)} different questions with an answer"
    if found.asked:
        why += f", and {_FEWEST} are needed: one each for training, validation and test"
        fix = f"give at least {_FEWEST} conversations that begin with different questions"
    else:
        why += f"; the columns used are {', '.join(columns.used) or 'none'}"
        fix = "change these rows, or name other columns with --prompt-column, --reply-column or --messages-column"
    why += "".join(f"; {line}" for line in found.left_out.lines()[:3])
    return DataError("no conversations can be made of this data set", why=why, fix=fix)


def build_pairs(
    rows: Iterable[tuple[str, Row]],
    columns: Columns,
    library: Library,
    name: str | None = None,
    *,
    source: Mapping[str, Any] | None = None,
    licence: str = "unknown",
) -> Artifact:
    """Store the conversations of rows.

    Args:
        rows: where each row stands, and the row.
        source: where the files came from, for the manifest.

    Raises:
        DataError: fewer than three distinct questions can be made.
        CapacityError: the disk is full.
    """
    config = {"columns": {key: value for key, value in vars(columns).items() if value}, "source": dict(source or {})}
    with library.writing("questions", config=config, name=name) as draft, disk_errors(library.root):
        candidates = draft.path / "candidates"
        found = _gather(rows, columns, candidates)
        found.say()
        if len(found.asked) < _FEWEST:
            raise _too_few(found, columns)
        reasons = {"left_out": found.left_out.to_dict(), "remarks": found.remarks.to_dict()}
        draft.metrics = {**found.counts, **_divide(candidates, draft.path, sorted(found.asked)), **reasons}
        draft.licence = licence
        candidates.unlink()
    return draft.result


@dataclass
class _Gathered:
    """The questions' places in [0, 1), and what was counted."""

    asked: set[float] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=lambda: {"rows": 0, "unusable": 0, "repeated": 0})
    left_out: Tally = field(default_factory=Tally)
    remarks: Tally = field(default_factory=Tally)

    def say(self) -> None:
        """Print what was left out and what was changed."""
        self.left_out.say(f"{self.counts['unusable']:,} of {self.counts['rows']:,} rows are left out")
        if self.counts["repeated"]:
            say(f"{self.counts['repeated']:,} rows repeat another and are left out")
        self.remarks.say("of the rows that are read")


def _gather(rows: Iterable[tuple[str, Row]], columns: Columns, path: Path) -> _Gathered:
    """Write every distinct conversation."""
    seen: set[bytes] = set()
    found = _Gathered()
    with path.open("w", encoding="utf-8") as file:
        for place, row in track(rows, "reading rows", unit="rows"):
            found.counts["rows"] += 1
            try:
                read = read_conversation(row, columns)
            except UnreadRow as reason:
                found.counts["unusable"] += 1
                found.left_out.add(str(reason), place)
                continue
            digest = sha256(canonical_json(read.messages).encode("utf-8", "replace")).digest()[:16]
            if digest in seen:
                found.counts["repeated"] += 1
                continue
            seen.add(digest)
            found.remarks.add_all(read.remarks, place)
            found.asked.add(_place(read.messages))
            file.write(json.dumps(_record(read.messages, place, row, columns)) + "\n")
    return found


def _record(messages: list[Message], place: str, row: Row, columns: Columns) -> dict[str, Any]:
    kind = "pair" if len(messages) < 4 else "conversation"
    record = {"messages": messages, "source": place, "type": kind}
    if columns.context and row.get(columns.context) and not columns.messages:
        record |= {"question": str(row[columns.prompt]), "context": str(row[columns.context])}
    return record


def pairs_of_files(
    library: Library, paths: Sequence[Path], name: str, told: Columns, licence: str = "unknown"
) -> Artifact:
    """Store the conversations of files on this disk: JSON Lines, JSON, CSV, TSV or Parquet.

    Raises:
        NotFoundError: a file does not exist.
        UsageError: no column holds a prompt or a reply.
        DataError: a file is damaged, or there are too few conversations.
    """
    require_files(paths)
    whole = [path.absolute() for path in paths]
    rows = TableRows(whole, Path(os.path.commonpath([path.parent for path in whole])))
    columns, names = choose_columns(rows, told)
    if not columns.has_pairs:
        raise UsageError(
            "no columns hold pairs",
            why=f"the columns are {', '.join(names)}",
            fix="name them with --prompt-column and --reply-column, or --messages-column"
            + ("; of plain text make a corpus: `seedbed corpus build FILE`" if columns.text else ""),
        )
    return build_read(rows, columns, names, library, name, {"files": [str(path) for path in paths]}, licence)


def require_files(paths: Sequence[Path]) -> None:
    """Raise NotFoundError for the first path that is no file."""
    for path in paths:
        if not path.is_file():
            raise NotFoundError(f"there is no file {path}", why=f"{path.absolute()} is none", fix="check the path")


def choose_columns(rows: TableRows, told: Columns) -> tuple[Columns, list[str]]:
    """Return the columns to read, told or found by name in the first rows, and the names of all."""
    seen = {key: None for _, row in islice(rows, _LOOKED_AT) for key in row}
    rows.bad = Tally()
    return find_columns(seen, told), list(seen)


def build_read(
    rows: TableRows,
    columns: Columns,
    names: Sequence[str],
    library: Library,
    name: str,
    source: Mapping[str, Any],
    licence: str,
) -> Artifact:
    """Store the conversations of files, and say which columns are read, which are not, and which lines are no rows."""
    used = columns.used
    say(f"conversations from column {used[0]}" if columns.messages else f"pairs from {', '.join(used)}")
    if unread := [name for name in names if name not in (*used, columns.rejected)]:
        say(f"columns that are not read: {', '.join(unread)}")
    artifact = build_pairs(rows, columns, library, name, source=source, licence=licence)
    rows.say_bad()
    return artifact


def _divide(candidates: Path, folder: Path, places: list[float]) -> dict[str, int]:
    """Write each conversation into its split; the questions with the lowest places are held out."""
    held = max(1, round(len(places) * HELD_OUT))
    limits = (places[held - 1], places[2 * held - 1])
    counts = dict.fromkeys(SPLITS, 0)
    paths = {split: folder / f"{split}.jsonl" for split in SPLITS}
    with ExitStack() as stack, candidates.open(encoding="utf-8") as lines:
        files = {split: stack.enter_context(path.open("w", encoding="utf-8")) for split, path in paths.items()}
        for line in lines:
            place = _place(json.loads(line)["messages"])
            split = SPLITS[1] if place <= limits[0] else SPLITS[2] if place <= limits[1] else SPLITS[0]
            files[split].write(line)
            counts[split] += 1
    return {str(split): count for split, count in counts.items()}


def _place(messages: list[Message]) -> float:
    """Return a number in [0, 1) that follows from the first question."""
    question = next(message["content"] for message in messages if message["role"] == "user")
    return fraction(" ".join(question.lower().split()))
