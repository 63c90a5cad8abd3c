"""Golden questions with short answers, made from a corpus's held-out text, and questions that no document tells.

Asked of documented code: a default value, the exception that is raised, the name that a sentence describes, the only
parameter. Asked of prose: the name or number that is missing in a sentence, and the thing that a sentence defines.
An answer has at most :data:`LONGEST` words, so that a short reply can hold it; one that stands in its own question is
left out, and so is a question with two answers. Kinds of questions take turns, and a hash chooses within a kind. Left
out: questions that would need a model to phrase. They are easier than people's: most share their words with a passage.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest

from seedbed.core.artifacts import Artifact
from seedbed.corpus.answers import fraction
from seedbed.corpus.api_questions import is_api_page
from seedbed.corpus.document import CorpusDocument, Split
from seedbed.corpus.passage_questions import passage_questions
from seedbed.corpus.questions import QuestionSettings
from seedbed.corpus.store import Corpus
from seedbed.documents.headings import markdown_headings, sections
from seedbed.documents.sentences import sentences
from seedbed.evaluation.right_answers import normal

LONGEST = 5
"""Words of an answer at most."""
_PER_DOCUMENT = 20
_CALL = re.compile(r"([A-Za-z_][\w.]*\.[\w.]+)\((.*)\)")
_RAISES = re.compile(
    r"(?:raises?|throws?) (?:an? |the )?`{0,2}(\w+(?:Error|Exception|Iteration|Interrupt|Warning))`{0,2}"
    r"(?: exception)? (if|when|unless) ([^.;()]{12,120})[.;(]",
    re.IGNORECASE,
)
_DEFINES = re.compile(
    r"(?:The |An? )?([A-Z][\w-]+(?: [\w-]+){0,3}?) (is|are|was|were) ((?:an?|the) [^“”\"]{25,160})[.;]"
)
_NO_SUBJECT = re.compile(
    r"(?:this|that|these|those|there|it|he|she|they|we|you|i|one|what|which|here|note|if|when|in|on|at|for|to|as|but|and"
    r"|such|all|some|most|each|every|its|his|her|their|my|our|so|no|not|nothing|default|another|other|now|also|any"
    r"|the (?:former|latter|following|first|second|same|other|above|result|reason|goal|idea))\b",
    re.IGNORECASE,
)
_PLAIN = {"None", "True", "False", "''", '""', "()", "[]", "{}"}
"""Defaults so common that a guess finds them."""
_DESCRIPTION = range(30, 200)

PLACES = (
    ("In which year was the {} bridge opened?", "Orsomund", "Pellavar"),
    ("Who wrote the third volume of the {} chronicle?", "Veldtgard", "Ostermane"),
    ("What does the {} protocol say about lantern oil?", "Quillan", "Braskett"),
    ("How many islands belong to the {} archipelago?", "Tharne", "Molvane"),
    ("Which river flows through the town of {}?", "Emberlow", "Harthusk"),
    ("What is the capital of the duchy of {}?", "Savrenne", "Karrowfell"),
    ("How tall is the {} lighthouse?", "Mirrowick", "Dunsteeple"),
    ("Who discovered the mineral {}?", "belvanite", "quorrite"),
    ("What colour is the flag of the {} league?", "Ostrand", "Vintarra"),
    ("When did the siege of {} end?", "Grellport", "Ashumber"),
    ("Which instrument did {} play?", "Ysolde Marrable", "Tobin Quaverley"),
    ("How long is the {} tunnel?", "Pellingore", "Straithmoor"),
    ("What is the {} theorem about?", "Lindqvar", "Oppenwald-Thrace"),
    ("Who was the second wife of King {}?", "Aldemar of Vost", "Rhuvain the Lame"),
    ("Which plant gives {} dye?", "morrowblue", "sandrel"),
    ("In which city is the {} museum?", "Hallowmere", "Brandiwell"),
    ("What did the {} treaty forbid?", "Corvenna", "Melisport"),
    ("How many strings has a {}?", "zarithon", "pellophone"),
    ("What does the function `{}` return?", "quillfold.unbraid", "marrow.sift_lantern"),
    ("Which exception does `{}` raise?", "lanternio.BrassReader.flip", "osmund.weave"),
    ("What is the default of `depth` in `{}`?", "thornpath.descend", "veldt.crawl_archive"),
    ("Which module defines `{}`?", "UnbraidedQueue", "LanternPolicy"),
    ("What is the class `{}` for?", "HushedSocket", "TharneEncoder"),
    ("Who lives in the house called {}?", "Cobblewick End", "Tansy Hollow"),
    ("What is {} made of?", "harrowbread", "Velmish glass"),
)
UNANSWERABLE = tuple(form.format(name) for form, *names in PLACES for name in names)
"""Questions about things that do not exist: no document tells."""


@dataclass(frozen=True)
class Golden:
    """A question with its right answer, "" where the documents do not tell; ``also``: other forms of the answer."""

    question: str
    answer: str
    also: tuple[str, ...] = ()
    kind: str = ""


def golden_questions(corpus: Artifact, count: int, split: Split = "test") -> list[Golden]:
    """Return at most ``count`` questions made from a split."""
    found: dict[str, set[Golden]] = defaultdict(set)
    for document in Corpus.open(corpus).documents(split):
        for one in _of_document(document):
            found[one.question].add(one)
    kinds: dict[str, list[Golden]] = defaultdict(list)
    for question in sorted(found, key=fraction):
        (first, *others) = found[question]
        if not others:
            kinds[first.kind].append(first)
    turns = zip_longest(*(kinds[kind] for kind in sorted(kinds)))
    return [one for one in chain.from_iterable(turns) if one is not None][:count]


def unanswerable(count: int) -> list[Golden]:
    """Return at most ``count`` questions about things that do not exist."""
    return [Golden(question, "", kind="invented") for question in sorted(UNANSWERABLE, key=fraction)[:count]]


def _of_document(document: CorpusDocument) -> Iterator[Golden]:
    """Yield the fitting questions of a document; of a kind at most some, chosen by hash."""
    if document.kind == "code":
        return
    made: Iterable[Golden] = chain(_gaps(document), _raised(document.text), _defined(document.text))
    if is_api_page(document.text, document.path):
        made = chain(made, _of_calls(document.text))
    kinds: dict[str, list[Golden]] = defaultdict(list)
    for one in made:
        if _fits(one):
            kinds[one.kind].append(one)
    for several in kinds.values():
        yield from sorted(several, key=lambda one: fraction(one.question))[:_PER_DOCUMENT]


def _fits(one: Golden) -> bool:
    answer, question = normal(one.answer), normal(one.question)
    short = len(one.answer.split()) <= LONGEST and not re.search("['’]", one.answer)  # I've, she's
    return bool(answer) and short and f" {answer} " not in f" {question} "


def _gaps(document: CorpusDocument) -> Iterator[Golden]:
    for one in passage_questions(document, QuestionSettings(per_document=_PER_DOCUMENT)):
        if "____" in one.question:
            yield Golden(one.question, one.answer, kind="gap")


def _raised(text: str) -> Iterator[Golden]:
    for found in _RAISES.finditer(" ".join(text.split())):
        error, word, condition = found.groups()
        yield Golden(f"Which exception is raised {word.lower()} {condition.strip()}?", error, kind="exception")


def _defined(text: str) -> Iterator[Golden]:
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in sentences(" ".join(paragraph.split())):
            found = _DEFINES.fullmatch(sentence)
            if found and not _NO_SUBJECT.match(found[1]):
                yield Golden(f"What {found[2]} {found[3]}?", found[1], kind="definition")


def _of_calls(text: str) -> Iterator[Golden]:
    """Yield questions on the calls of an API page: defaults, a single parameter, the name behind a description."""
    for heading, body in sections(text, markdown_headings(text)):
        call = _CALL.fullmatch(heading)
        if call is None:
            continue
        name, arguments = call.groups()
        yield from _arguments(name, arguments)
        first = next(iter(sentences(" ".join(body.split()))), "")
        if len(first) in _DESCRIPTION and not first.startswith((">>>", name.rpartition(".")[2])):
            local = name.rpartition(".")[2]
            yield Golden(f"Which function is described by “{first}”?", local, (name,), kind="name")


def _arguments(name: str, arguments: str) -> Iterator[Golden]:
    try:
        (definition,) = ast.parse(f"def f({arguments}): ...").body
    except (SyntaxError, ValueError):
        return
    assert isinstance(definition, ast.FunctionDef)
    given = definition.args
    named = [one.arg for one in (*given.posonlyargs, *given.args)]
    if len(named) == 1 and named[0] not in ("self", "cls") and not (given.vararg or given.kwarg or given.kwonlyargs):
        yield Golden(f"Which parameter does `{name}` take?", named[0], kind="parameter")
    pairs = [*zip(reversed(named), reversed(given.defaults), strict=False)]
    pairs += [(one.arg, value) for one, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value]
    for parameter, value in pairs:
        written = ast.unparse(value)
        if written not in _PLAIN:
            question = f"What is the default of the parameter `{parameter}` of `{name}`?"
            yield Golden(question, written, kind="default")
