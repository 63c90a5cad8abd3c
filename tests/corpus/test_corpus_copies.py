"""Copies and near-copies in whole corpora: one is kept, in any script, and boilerplate is not mistaken for one."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.core.artifacts import Library
from seedbed.corpus.build import build_corpus
from seedbed.corpus.document import SPLITS
from seedbed.corpus.settings import CorpusSettings, SourceSettings
from seedbed.corpus.store import Corpus

VOCABULARY = [f"{one}{other}" for one in ("sea", "land", "sky", "wind", "fire", "moon") for other in "abcdefghijklmnop"]
HAN = [chr(code) for code in range(0x4E00, 0x4E00 + 600)]
KANA = [chr(code) for code in range(0x3042, 0x3090)]
THAI = [chr(code) for code in range(0x0E01, 0x0E2F)]
HANGUL = [chr(code) for code in range(0xAC00, 0xAC00 + 500, 5)]


def article(seed: int) -> str:
    chance = random.Random(seed)
    paragraphs = (" ".join(chance.choices(VOCABULARY, k=40)) + "." for _ in range(5))
    return "\n\n".join(paragraphs) + "\n"


def built(tmp_path: Path, texts: dict[str, str], **others: object) -> Corpus:
    source = tmp_path / "texts"
    source.mkdir()
    for name, text in texts.items():
        (source / name).write_text(text, encoding="utf-8")
    settings = CorpusSettings(sources=(SourceSettings("texts", str(source)),), **others)  # type: ignore[arg-type]
    return Corpus.open(build_corpus(settings, Library(tmp_path / "home")))


def kept(corpus: Corpus) -> dict[str, str]:
    return {document.path: document.text for split in SPLITS for document in corpus.documents(split)}


@pytest.mark.parametrize(
    "copy",
    [
        lambda number: article(0),
        lambda number: article(0).replace("\n", "\r\n") if number % 2 else article(0) + "\n\n",
        lambda number: f"Copy {number}\n\n" + article(0),  # too short to stay alone
        lambda number: article(0) + f"\nSent to the branch office of street number {number} in May.\n",
    ],
    ids=["exact", "newlines", "title", "last line"],
)
def test_of_copies_of_an_article_one_is_kept(tmp_path: Path, copy: Callable[[int], str]) -> None:
    texts = {f"copy{number:02}.txt": copy(number) for number in range(12)}
    texts |= {f"other{number:02}.txt": article(number + 1) for number in range(18)}
    found = kept(built(tmp_path, texts))
    assert set(found) == {"copy00.txt", *(name for name in texts if name.startswith("other"))}
    assert all(line in found["copy00.txt"] for line in article(0).splitlines())


def test_copies_of_a_text_are_counted_once(tmp_path: Path) -> None:
    """Half of it are lines too short for boilerplate, so that enough would be left without the others."""
    text = "\n".join(part for line in article(0).splitlines() for part in (line, *line.split()[:20])) + "\n"
    texts = {f"copy{number:02}.txt": text for number in range(12)}
    texts |= {f"other{number:02}.txt": article(number + 1) for number in range(18)}
    assert kept(built(tmp_path, texts))["copy00.txt"].split() == text.split()


def test_of_identical_files_one_is_kept(tmp_path: Path) -> None:
    corpus = built(tmp_path, {f"{number:02}.txt": article(0) for number in range(20)})
    assert "".join(text for text in kept(corpus).values()) == article(0)  # cut into the three splits


def test_boilerplate_of_different_documents_still_goes(tmp_path: Path) -> None:
    notice = "This notice stands under every page of the handbook."
    texts = {f"{number:02}.txt": f"{article(number)}\n{notice}\n" for number in range(30)}
    texts |= {f"copy{number}.txt": texts["00.txt"] for number in range(9)}
    found = kept(built(tmp_path, texts))
    assert len(found) == 30
    assert not any(notice in text for text in found.values())


def test_no_share_leaves_lines_alone(tmp_path: Path) -> None:
    notice = "This notice stands under every page of the handbook."
    texts = {f"{number:02}.txt": f"{article(number)}\n{notice}\n" for number in range(30)}
    assert all(notice in text for text in kept(built(tmp_path, texts, boilerplate_share=0.0)).values())


@pytest.mark.parametrize("letters", [HAN, KANA, THAI, HANGUL], ids=["han", "kana", "thai", "hangul"])
def test_near_duplicates_of_scripts_without_spaces(tmp_path: Path, letters: list[str]) -> None:
    """Texts that are 98 % the same: one of each pair is kept; those that share only letters all stay."""
    gap = " " if letters is HANGUL else ""  # Korean has spaces

    def text(seed: int, changed: float = 0.0) -> str:
        chance, change = random.Random(seed), random.Random(seed + 1000)
        words = ["".join(chance.choices(letters, k=3)) for _ in range(250)]
        return gap.join(change.choice(letters) + word[1:] if change.random() < changed else word for word in words)

    texts = {f"a{number:02}.txt": text(number) for number in range(12)}
    texts |= {f"b{number:02}.txt": text(number, 0.02) for number in range(6)}
    assert set(kept(built(tmp_path, texts))) == {f"a{number:02}.txt" for number in range(12)}
