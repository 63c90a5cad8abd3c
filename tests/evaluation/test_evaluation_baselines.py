"""Baselines against the real `gzip` and `xz` programs and against counting by hand; the table's arithmetic."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from seedbed.corpus.pack import TokenSplit
from seedbed.evaluation import baselines
from seedbed.evaluation.baselines import text_rows, token_rows
from seedbed.evaluation.bits_per_byte import BitsPerByte
from seedbed.evaluation.kneser_ney import train_kneser_ney
from seedbed.evaluation.table import ResultRow, compare

TEXTS = [path.read_text(encoding="utf-8") for path in sorted(Path(baselines.__file__).parent.glob("*.py"))]
TEXTS += ["ä", "€" * 5000, "spam " * 3]
SIZES = np.array([len(text.encode()) for text in TEXTS])


def pack(documents: list[list[int]]) -> TokenSplit:
    """Documents of three bytes a token."""
    sizes = np.array([len(document) for document in documents])
    tokens = np.concatenate(documents).astype(np.uint16)
    return TokenSplit((tokens,), np.cumsum(sizes) - sizes, 3 * sizes)


def run(program: list[str], data: bytes) -> int:
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    return len(subprocess.run(program, input=data, stdout=subprocess.PIPE, check=True).stdout)


def test_xz_is_the_programs_to_the_byte() -> None:
    rows = {row.name: row for row in text_rows(TEXTS, TEXTS)}
    xz = ["xz", "-9", "-T1", "--stdout"]
    assert rows["xz -9"].document_bits is not None
    assert rows["xz -9"].document_bits.tolist() == [8 * run(xz, text.encode()) for text in TEXTS]
    whole = run(xz, "".join(TEXTS).encode())
    assert rows["xz -9, whole split"].bits_per_byte == pytest.approx(8 * whole / SIZES.sum())


def test_gzip_is_close_to_the_program() -> None:
    """GNU gzip has a deflate of its own, whose choices differ a little from zlib's."""
    rows = {row.name: row for row in text_rows(TEXTS, TEXTS)}
    gzip = ["gzip", "-9", "-n", "--stdout"]
    apart = sum(run(gzip, text.encode()) for text in TEXTS)
    assert rows["gzip -9"].bits_per_byte == pytest.approx(8 * apart / SIZES.sum(), rel=0.01)
    whole = run(gzip, "".join(TEXTS).encode())
    assert rows["gzip -9, whole split"].bits_per_byte == pytest.approx(8 * whole / SIZES.sum(), rel=0.01)


def test_bytes_by_hand() -> None:
    rows = {row.name: row for row in text_rows(["aab", "b"], ["ab", "z"])}
    assert rows["uniform over bytes"].bits_per_byte == 8
    total = 4 + 2 + 257  # bytes, ends, and one for each symbol
    wanted = -sum(map(math.log2, [3 / total, 3 / total, 3 / total, 1 / total, 3 / total]))  # a b end, z end
    assert rows["unigram over bytes"].bits_per_byte == pytest.approx(wanted / 3)


def test_tokens_by_hand() -> None:
    train, test = pack([[0, 5, 5, 6, 1], [0, 6, 1]]), pack([[0, 5, 1], [0, 7, 1]])
    rows = {row.name: row for row in token_rows(train, test, vocab_size=9)}
    assert rows["uniform over tokens"].bits_per_byte == pytest.approx(4 * math.log2(9) / 18)
    counts = Counter([5, 5, 6, 1, 6, 1])
    wanted = -sum(math.log2((counts[token] + 1) / (6 + 9)) for token in (5, 1, 7, 1))
    assert rows["unigram over tokens"].bits_per_byte == pytest.approx(wanted / 18)


def test_kneser_ney_learns_from_training_alone_and_from_a_sample_when_there_is_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(0)
    documents = [[0, *generator.integers(2, 6, size=8).tolist(), 1] for _ in range(40)]
    train = pack(documents)
    test = pack([[0, *generator.integers(2, 6, size=8).tolist(), 1] for _ in range(5)])

    def wanted(chosen: list[list[int]]) -> float:
        part = pack(chosen)
        model = train_kneser_ney(part.shards[0], part.starts, vocab_size=6)
        return float(-model.log2_probabilities(test.shards[0], test.starts).sum() / test.bytes.sum())

    whole = token_rows(train, test, vocab_size=6)[-1]
    assert whole.bits_per_byte == pytest.approx(wanted(documents))
    assert "% of" not in whole.note
    monkeypatch.setattr(baselines, "NGRAM_TOKENS", 100)
    part = token_rows(train, test, vocab_size=6)[-1]
    assert part.bits_per_byte == pytest.approx(wanted(documents[::4]))
    assert part.note.endswith("25% of the training split")


def test_the_table_pairs_documents() -> None:
    generator = np.random.default_rng(1)
    sizes = generator.integers(100, 9000, size=400)
    hardness = generator.normal(2, 0.5, size=400) * sizes
    model = BitsPerByte(hardness, sizes, 1)
    rows = [
        ResultRow("other", 2.5, "", hardness + 0.5 * sizes + generator.normal(0, 10, size=400)),
        ResultRow("this model", model.value, "", hardness, "model"),
        ResultRow("whole", 1.0, ""),
    ]
    whole, ours, other = compare(model, rows, ["prose"] * 100 + ["code"] * 300)
    assert (whole.name, ours.name, other.name) == ("whole", "this model", "other")
    assert whole.saved == pytest.approx(1.0 - model.value)
    assert (whole.standard_error, whole.saved_error, whole.by_kind) == (None, None, {})
    assert (ours.saved, ours.saved_error) == (None, None)
    assert ours.by_kind["prose"] == pytest.approx(hardness[:100].sum() / sizes[:100].sum())
    assert ours.by_kind["code"] == pytest.approx(hardness[100:].sum() / sizes[100:].sum())
    assert other.saved == pytest.approx(2.5 - model.value)
    assert other.saved_error is not None
    assert other.standard_error is not None
    assert other.saved_error < other.standard_error / 50  # all that the two differ by is a constant and little noise
