"""A set of conversations from a data set's rows, stored as what fine-tuning reads: an artifact of kind "questions".

``train.jsonl``, ``valid.jsonl`` and ``test.jsonl`` as :mod:`seedbed.corpus.questions` writes them; a row with a
context keeps it and the question apart too (a stage of kind "reading" shows it as a passage). The split follows the
hash of the first question, so that one question never stands on two sides; a conversation that occurs again is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import DataError
from seedbed.core.files import canonical_json, disk_errors
from seedbed.core.progress import track
from seedbed.corpus.answers import fraction
from seedbed.corpus.columns import Columns, Message, conversation
from seedbed.corpus.document import SPLITS
from seedbed.corpus.tables import Row

HELD_OUT = 0.1
"""Share of the distinct questions for validation, and as much for testing."""
_FEWEST = 3


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
        asked, counts = _gather(rows, columns, candidates)
        if len(asked) < _FEWEST:
            raise DataError(
                "no conversations can be made of this data set",
                why=f"{counts['rows']:,} rows gave {len(asked)} different questions with an answer; the columns used"
                f" are {config['columns'] or 'none'}",
                fix="name the columns with --prompt-column and --reply-column, or with --messages-column",
            )
        draft.metrics = counts | _divide(candidates, draft.path, sorted(asked))
        draft.licence = licence
        candidates.unlink()
    return draft.result


def _gather(rows: Iterable[tuple[str, Row]], columns: Columns, path: Path) -> tuple[set[float], dict[str, int]]:
    """Write every distinct conversation; returns the questions' places in [0, 1) and what was counted."""
    seen: set[bytes] = set()
    asked: set[float] = set()
    counts = {"rows": 0, "unusable": 0, "repeated": 0}
    with path.open("w", encoding="utf-8") as file:
        for place, row in track(rows, "reading rows", unit="rows"):
            counts["rows"] += 1
            messages = conversation(row, columns)
            if messages is None:
                counts["unusable"] += 1
                continue
            digest = sha256(canonical_json(messages).encode("utf-8", "replace")).digest()[:16]
            if digest in seen:
                counts["repeated"] += 1
                continue
            seen.add(digest)
            asked.add(_place(messages))
            record = {"messages": messages, "source": place, "type": "pair" if len(messages) < 4 else "conversation"}
            if columns.context and row.get(columns.context):
                record |= {"question": str(row[columns.prompt]), "context": str(row[columns.context])}
            file.write(json.dumps(record) + "\n")
    return asked, counts


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
