"""Questions made from documents: what each kind of document gives, uniqueness across splits, and determinism."""

from __future__ import annotations

import ast
import json
import sysconfig
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CorruptError, DataError
from seedbed.corpus.answers import Pair, is_useful, shortened
from seedbed.corpus.build import build_corpus
from seedbed.corpus.document import SPLITS, CorpusDocument
from seedbed.corpus.questions import QuestionSettings, build_questions, conversations, read_questions
from seedbed.corpus.settings import CorpusSettings, SourceSettings
from seedbed.documents.python_modules import module_documents
from seedbed.documents.sentences import sentences

STDLIB = Path(sysconfig.get_paths()["stdlib"])
PAGE = """# shapes.flat

Areas of flat shapes. Lengths are in metres.

## shapes.flat.Square

A square, which knows its side and nothing else.

## shapes.flat.Square.area(self, scale: float=1.0, *, digits=None)

Return the area of this square.

With an example:

    >>> Square(3).area()
    9

    >>> Square(4).area()
    16

## shapes.flat.origin()

Return the point at which both axes begin.

## shapes.flat.circle(radius, /, *more, **options)

See the module for all there is to know.
"""
MANUAL = """# Watering

Water in the morning. The sun is low then. Leaves dry soon.

## How much

- a table of litres
- by plant

Give each plant *two* litres, see [the table](table.md), and **never** more.

```
# not a heading
```

Tools
-----

A can with a fine rose is best for seedlings and for nothing else.
"""
NOVEL = "\n\n".join(
    f"On day {day} the captain wrote {day * 7} lines in the log. Nobody read them! The crew slept, as Mr. Finch did."
    for day in range(40)
)


def _document(text: str, path: str = "a.md", kind: str = "prose") -> CorpusDocument:
    return CorpusDocument(text, "source", path, path, kind, "CC0-1.0")  # type: ignore[arg-type]


def _asked(text: str, path: str = "a.md", **settings: float) -> dict[str, str]:
    found = conversations(_document(text, path), QuestionSettings(**settings))  # type: ignore[arg-type]
    return {pair.question: pair.answer for conversation in found for pair in conversation}


def _by_type(text: str, path: str, **settings: float) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {}
    for conversation in conversations(_document(text, path), QuestionSettings(**settings)):  # type: ignore[arg-type]
        for pair in conversation:
            found.setdefault(pair.type, []).append(pair)
    return found


def test_an_api_page_gives_each_type_of_question() -> None:
    found = _by_type(PAGE, "shapes/flat.py#docs", follow_up_share=0.0)
    assert {kind: [pair.answer for pair in pairs] for kind, pairs in found.items()} == {
        "module": ["Areas of flat shapes. Lengths are in metres."],
        "purpose": [
            "A square, which knows its side and nothing else.",
            "Return the area of this square.",
            "Return the point at which both axes begin.",
        ],
        "signature": [
            "`shapes.flat.Square.area(scale: float=1.0, *, digits=None)`",
            "`shapes.flat.origin()`",
            "`shapes.flat.circle(radius, /, *more, **options)`",
        ],
        "parameters": [
            "`shapes.flat.Square.area` takes `scale` and `digits`.",
            "`shapes.flat.circle` takes `radius`, `*more` and `**options`.",
        ],
        "usage": ["```python\n>>> Square(3).area()\n9\n```"],
        "defined": [
            "`Square` is defined in the module `shapes.flat`.",
            "`origin` is defined in the module `shapes.flat`.",
            "`circle` is defined in the module `shapes.flat`.",
        ],
    }
    for pairs in found.values():
        for pair in pairs:
            assert pair.type == "module" or any(name in pair.question for name in ("Square", "origin", "circle"))


def test_two_turns_ask_for_the_signature_after_the_purpose() -> None:
    found = conversations(_document(PAGE, "p.py#docs"), QuestionSettings(follow_up_share=1.0))
    turns = [conversation for conversation in found if len(conversation) == 2]
    assert [(first.answer, second.answer) for first, second in turns] == [
        ("Return the area of this square.", "`shapes.flat.Square.area(scale: float=1.0, *, digits=None)`"),
        ("Return the point at which both axes begin.", "`shapes.flat.origin()`"),
    ]
    assert all("signature" in second.question for _, second in turns)


def test_signatures_are_those_of_the_running_python() -> None:
    """Every signature asked about is, but for self, what ``ast`` reads from the source."""
    data = (STDLIB / "textwrap.py").read_bytes()
    page = next(iter(module_documents(data, "textwrap.py")))
    expected = {}
    for node in ast.parse(data).body:
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) and not node.name.startswith("_"):
            expected[f"textwrap.{node.name}"] = f"`textwrap.{node.name}({ast.unparse(node.args)})`"
    answers = [pair.answer for pair in _by_type(page.text, page.path)["signature"]]
    assert expected
    assert {answer for answer in answers if answer.count(".") == 1} == set(expected.values())


def test_code_is_not_asked_about() -> None:
    assert conversations(_document(PAGE, "p.py", kind="code"), QuestionSettings()) == []


def test_sections_of_markdown_and_restructured_text() -> None:
    asked = _asked(MANUAL)
    assert sorted(asked.values()) == [
        "A can with a fine rose is best for seedlings and for nothing else.",
        "Give each plant *two* litres, see the table, and never more.",
        "Water in the morning. The sun is low then. Leaves dry soon.",
    ]
    by_answer = {answer: question for question, answer in asked.items()}
    assert "Tools" in by_answer["A can with a fine rose is best for seedlings and for nothing else."]
    assert "Watering" in by_answer["Water in the morning. The sun is low then. Leaves dry soon."]


def test_prose_without_headings_is_continued() -> None:
    asked = _asked(NOVEL)
    assert len(asked) == 40
    assert asked["Continue: On day 3 the captain wrote 21 lines in the log."] == (
        "Nobody read them! The crew slept, as Mr. Finch did."
    )


def test_one_document_gives_no_more_than_its_cap() -> None:
    few, all_of_them = _asked(NOVEL, per_document=7), _asked(NOVEL)
    assert len(few) == 7
    assert few.items() <= all_of_them.items()
    assert list(few) == [question for question in all_of_them if question in few]


@given(st.text(st.sampled_from('ab.!? \n`)"AB'), max_size=200), st.integers(1, 80))
def test_answers_are_whole_sentences_within_the_limit(text: str, limit: int) -> None:
    answer = shortened(text, limit)
    assert len(answer) <= limit
    plain = " ".join(text.replace("``", "`").split())
    assert plain.startswith((answer, answer.removesuffix(".")))
    assert " ".join(sentences(plain)) == plain


def test_a_first_sentence_that_is_too_long_gives_no_answer() -> None:
    assert shortened("This sentence is far too long to be an answer. Short.", 30) == ""
    assert shortened("Return a list of:", 40) == "Return a list of."


@pytest.mark.parametrize(
    ("question", "answer", "useful"),
    [
        ("What does `a.b` do?", "See the base class for what it does.", False),
        ("What does `a.b` do?", "Deprecated since version three.", False),
        ("What is `tool.box` for?", "What is the tool box for?", False),
        ("What does `a.b` do?", "Does it.", False),
        ("What does `a.b` do?", "Seeks to a position in the stream.", True),
    ],
)
def test_useless_answers_are_told(question: str, answer: str, useful: bool) -> None:
    assert is_useful(Pair("purpose", question, answer)) is useful


def _corpus(library: Library, folder: Path, files: dict[str, str]) -> Artifact:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    source = SourceSettings(name="texts", path=str(folder), licence="CC0-1.0")
    return build_corpus(CorpusSettings(sources=(source,), near_duplicate=0, min_chars=1), library, workers=1)


def _manuals(count: int) -> dict[str, str]:
    """Manuals of two sections each: one heading is its own, one is in all of them."""
    page = (
        "# Plant {0}\n\nPlant {0} likes shade and rain above all.\n\n## Care {0}\n\nCut plant {0} back in spring {0}.\n"
    )
    shared = "\n# Safety\n\nWear gloves with plant {0}, which has thorns.\n"
    return {f"{number}.md": (page + shared).format(number) for number in range(count)}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "home")


def test_splits_are_the_corpus_own_and_no_question_is_asked_twice(library: Library, tmp_path: Path) -> None:
    from seedbed.corpus.store import Corpus

    corpus = _corpus(library, tmp_path / "texts", _manuals(40))
    made = build_questions(corpus, library, QuestionSettings(), name="asked")
    assert (made.kind, made.manifest.parents) == ("questions", (corpus.id,))
    assert sorted(made.manifest.files) == ["test.jsonl", "train.jsonl", "valid.jsonl"]
    asked: Counter[str] = Counter()
    for split in SPLITS:
        sources = {document.path for document in Corpus.open(corpus).documents(split)}
        records = list(read_questions(made, split))
        assert records
        assert {record["source"] for record in records} <= sources
        assert sum(made.manifest.metrics[split].values()) == len(records)
        for record in records:
            assert [message["role"] for message in record["messages"]] == ["user", "assistant"]
            asked[record["messages"][0]["content"]] += 1
    assert max(asked.values()) == 1
    assert not any(question == "What does the text say about Safety?" for question in asked)
    assert sum("Care" in question for question in asked) == 40


def test_the_same_corpus_gives_the_same_questions(library: Library, tmp_path: Path) -> None:
    corpus = _corpus(library, tmp_path / "texts", _manuals(12))
    first = build_questions(corpus, library, QuestionSettings())
    second = build_questions(corpus, Library(tmp_path / "other"), QuestionSettings())
    assert first.id == second.id


def test_damaged_questions_are_refused(library: Library, tmp_path: Path) -> None:
    made = build_questions(_corpus(library, tmp_path / "texts", _manuals(12)), library, QuestionSettings())
    path = made.file("train.jsonl")
    path.write_text(path.read_text().replace("shade", "light", 1))
    with pytest.raises(CorruptError):
        list(read_questions(made, "train"))


def test_a_corpus_without_any_question_is_refused_and_nothing_is_stored(library: Library, tmp_path: Path) -> None:
    files = {f"{number}.txt": f"{number} {number * 31} {number * 17}\n" * 20 for number in range(10)}
    corpus = _corpus(library, tmp_path / "texts", files)
    with pytest.raises(DataError, match="no question can be made"):
        build_questions(corpus, library, QuestionSettings(), name="asked")
    assert library.all("questions") == []
    assert "asked" not in library.names()


def test_a_single_novel_gives_questions_in_every_split(library: Library, tmp_path: Path) -> None:
    made = build_questions(_corpus(library, tmp_path / "texts", {"log.txt": NOVEL}), library, QuestionSettings())
    kinds = {record["type"] for split in SPLITS for record in read_questions(made, split)}
    assert kinds == {"continue"}
    assert all(list(read_questions(made, split)) for split in SPLITS)


def test_lines_are_chat_messages(library: Library, tmp_path: Path) -> None:
    made = build_questions(_corpus(library, tmp_path / "texts", _manuals(12)), library, QuestionSettings())
    for line in made.file("test.jsonl").read_text(encoding="utf-8").splitlines():
        assert set(json.loads(line)) == {"messages", "source", "type"}
