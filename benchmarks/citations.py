"""Citations: is a false sentence marked, and a true one left, when a model's words are linked to their source?

    SEEDBED_DATA=… python benchmarks/citations.py [--measure]

The sentences are like a model's: true ones reword a sentence of a passage, false ones are the same with one fact
planted: a number, a unit, a name, two names swapped, a lost or added "not", an opposite; or they echo the question. Two
sources: TurkCorpus, whose sentences eight people reworded each (a passage is the original among four others, without a
question), and XQuAD, whose questions are asked of their paragraph (the sentence with the answer, reworded by rules, or
the answer alone). No sentence is made by the code that judges it. Made anew each time, by a seed; nothing is stored.

Halves by the original sentence: developed on the first (the default), measured on the second with ``--measure``.
Intervals are Wilson's (1927), 95 %.
"""

from __future__ import annotations

import json
import lzma
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import click

from reader import tested
from seedbed.cli.common import print_json, print_table
from seedbed.corpus.answers import fraction
from seedbed.documents.document import Chunk
from seedbed.documents.sentences import sentence_spans
from seedbed.rag.passages import cite, passages_of
from seedbed.vectors.words import words

TURK = "tasks/simplification/turkcorpus_tune.jsonl.xz"
SET_SIZE = 200
"""True sentences of each source and half; as many false ones, shared among the kinds."""
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?![\w.,]\d)\b")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}(?: [A-Z][a-z]{2,})*\b")
_UNITS = (
    ("kilometres", "miles"), ("kilometers", "miles"), ("km", "miles"), ("miles", "kilometres"), ("metres", "feet"),
    ("feet", "metres"), ("meters", "feet"), ("years", "months"), ("months", "weeks"), ("days", "hours"),
    ("hours", "minutes"), ("minutes", "hours"), ("percent", "points"), ("%", " years"), ("million", "billion"),
    ("billion", "million"), ("km/h", "m/s"), ("kg", "g"), ("weeks", "days"), ("yards", "metres"), ("acres", "hectares"),
)  # fmt: skip
_OPPOSITES = (
    ("more", "less"), ("before", "after"), ("after", "before"), ("first", "last"), ("north", "south"),
    ("south", "north"), ("east", "west"), ("west", "east"), ("largest", "smallest"), ("higher", "lower"),
    ("increased", "decreased"), ("won", "lost"), ("early", "late"), ("with", "without"), ("always", "never"),
    ("most", "least"), ("above", "below"), ("oldest", "youngest"), ("many", "few"), ("northern", "southern"),
    ("eastern", "western"), ("highest", "lowest"), ("upper", "lower"), ("larger", "smaller"), ("later", "earlier"),
)  # fmt: skip
_ASKS = re.compile(r"^\W*(who|what|when|where|which|why|how( many| much| long| old)?|in what \w+)\b", re.I)
_SYNONYMS = (
    ("did not", "didn't"), ("was not", "wasn't"), ("is not", "isn't"), (" per cent", "%"), (" percent", "%"),
    ("large", "big"), ("began", "started"), ("however, ", ""), ("many", "a lot of"), (" km ", " kilometres "),
    ("approximately", "about"), ("Although", "Though"), ("such as", "like"),
)  # fmt: skip
_SPELLED = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


@dataclass(frozen=True)
class Labelled:
    """A sentence as a model might write it, and whether the passage says it."""

    said: str
    passage: str
    original: str
    question: str
    kind: str
    true: bool


def turk(data: Path, chance: random.Random) -> Iterator[Labelled]:
    """Yield human rewordings of sentences, each in a passage of five.

    Those with a word that nobody else writes are left out: errors of typing, most of them in names.
    """
    with lzma.open(data / TURK, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    originals = [joined(row["sentence"]) for row in rows]
    written_by_two = Counter(word for row in rows for word in {w for one in row["references"] for w in words(one)})
    known = {word for one in originals for word in words(one)} | {w for w, count in written_by_two.items() if count > 1}
    for original, row in zip(originals, rows, strict=True):
        reworded = [joined(re.sub(r"^(1 )?\. ", "", one)) for one in row["references"]]
        reworded = [one for one in reworded if one != original and 0.6 < len(one) / len(original) < 1.3]
        reworded = [one for one in reworded if len(sentence_spans(one)) == 1 and known.issuperset(words(one))]
        if reworded and len(sentence_spans(original)) == 1:
            around = chance.sample(originals, 4)
            around.insert(chance.randrange(5), original)
            said = chance.choice(reworded)
            yield Labelled(said, " ".join(around), original, "", "reworded by people", True)


def xquad(data: Path, chance: random.Random) -> Iterator[Labelled]:
    """Yield the sentence with the answer, reworded by rules, and now and then the answer alone."""
    for one in tested(data):
        place, passage = one["place"], one["passage"]
        start, end = next(span for span in sentence_spans(passage) if span[0] <= place < span[1])
        original, answer = passage[start:end], one["answers"][0]
        if len(sentence_spans(answer)) > 1:
            continue
        if chance.random() < 0.2:
            yield Labelled(f"{answer.rstrip('.')}.", passage, original, one["question"], "the answer alone", True)
        else:
            said = reworded(original, answer, chance)
            yield Labelled(said, passage, original, one["question"], "reworded by rules", True)


def joined(tokens: str) -> str:
    """Return a sentence whose words and marks are separated by spaces as people write it."""
    text = re.sub(r" ([.,;:!?%)\]])", r"\1", tokens.strip()).replace("( ", "(").replace(" n't", "n't")
    text = re.sub(r" ('s|'re|'ve|'ll|')(?=\W|$)", r"\1", text)
    text = re.sub(r'" ([^"]*?) "', r'"\1"', text)
    return text[:1].upper() + text[1:] if text.endswith((".", "!", '"')) else f"{text[:1].upper()}{text[1:]}."


def reworded(sentence: str, answer: str, chance: random.Random) -> str:
    """Return a sentence with a part left out, its beginning moved, and its figures written in another way."""
    text = (
        re.sub(r"\s*\([^)]*\)", "", sentence) if answer not in "".join(re.findall(r"\([^)]*\)", sentence)) else sentence
    )
    parts = text.rstrip(".").split(", ")
    if len(parts) > 2 and answer not in parts[1] and chance.random() < 0.5:
        parts = [parts[0], *parts[2:]]
    elif len(parts) == 2 and re.match(r"(In|On|At|After|During|By) ", parts[0]) and len(parts[0]) < 40:
        parts = [f"{parts[1][:1].upper()}{parts[1][1:]} {parts[0][0].lower()}{parts[0][1:]}"]
    text = ", ".join(parts) + "."
    for old, new in _SYNONYMS:
        text = re.sub(rf"(?<!\w){old}(?!\w)", new, text)
    return _NUMBER.sub(lambda found: written(found[0], chance), text)


def written(number: str, chance: random.Random) -> str:
    """Return a number in another spelling, or as it was."""
    if number.isdigit() and int(number) < len(_SPELLED):
        return _SPELLED[int(number)]
    if chance.random() < 0.5 and re.fullmatch(r"\d{1,3}(,\d{3})+", number):
        return number.replace(",", chance.choice(["", " ", "."]))
    if chance.random() < 0.5 and re.fullmatch(r"\d{5,}", number):
        return f"{int(number):,}"
    return number


def other_number(one: Labelled, chance: random.Random) -> str | None:
    """Plant another number, of the passage where it has one."""
    found = list(_NUMBER.finditer(one.said))
    if not found:
        return None
    old = chance.choice(found)
    there = {number for number in _NUMBER.findall(one.passage) if number not in one.original}
    fresh = re.sub(r"\d+$", lambda tail: str(int(tail[0]) + chance.choice([1, 2, 5, 10])).zfill(len(tail[0])), old[0])
    new = chance.choice(sorted(there)) if there and chance.random() < 0.5 else fresh
    return one.said[: old.start()] + new + one.said[old.end() :]


def other_unit(one: Labelled, chance: random.Random) -> str | None:
    """Plant another unit after a number."""
    for old, new in _UNITS:
        found = re.search(rf"(?<=\d)(\s?|-){re.escape(old)}(?!\w)", one.said)
        if found:
            return one.said[: found.start()] + " " * (new[0] != " ") + new + one.said[found.end() :]
    return None


def other_name(one: Labelled, chance: random.Random) -> str | None:
    """Plant another name, of the passage where it has one."""
    found = list(_NAME.finditer(one.said))
    there = sorted({name for name in _NAME.findall(one.passage) if name not in one.original and name not in one.said})
    if not found or not there:
        return None
    old = chance.choice(found)
    return one.said[: old.start()] + chance.choice(there) + one.said[old.end() :]


def swapped(one: Labelled, chance: random.Random) -> str | None:
    """Swap two names."""
    found = list(_NAME.finditer(f"{one.said}"))
    if len(found) < 2 or found[0][0] == found[1][0]:
        return None
    first, second = found[:2]
    between = one.said[first.end() : second.start()]
    if not re.search(r"\b(?!and\b|the\b|with\b)[a-z]{2,}", between) or re.search(r"\b(and|or)\b", between):
        return None  # "Ann and Bob" says the same as "Bob and Ann"
    return one.said[: first.start()] + second[0] + between + first[0] + one.said[second.end() :]


def negated(one: Labelled, chance: random.Random) -> str | None:
    """Add a "not", or take it away."""
    text, count = re.subn(r"(?<=\w)(n't| not)\b(?! only)", "", one.said, count=1)
    if count:
        return text
    new = chance.choice([" not", " never"])
    text, count = re.subn(r"\b(was|is|were|are|has|had|can|could|will|would|may)\b", rf"\1{new}", one.said, count=1)
    return text if count else None


def opposite(one: Labelled, chance: random.Random) -> str | None:
    """Plant the opposite of a word."""
    for old, new in chance.sample(_OPPOSITES, len(_OPPOSITES)):
        text, count = re.subn(rf"\b{old}\b", new, one.said, count=1)
        if count and not re.search(rf"\b{new}\b", one.original):
            return text
    return None


def echo(one: Labelled, chance: random.Random) -> str | None:
    """Return the question as a statement that answers nothing."""
    stem = re.sub(
        r"^\W*(who|what|when|where|which|why|how( many| much| long| old)?|in what \w+)\b", "", one.question, flags=re.I
    )
    return f"It is known {stem.strip(' ?')}." if one.question and len(stem.split()) > 3 else None


PLANTS: dict[str, Callable[[Labelled, random.Random], str | None]] = {
    "number": other_number, "unit": other_unit, "name": other_name, "names swapped": swapped, "not": negated,
    "opposite": opposite, "echo": echo,
}  # fmt: skip


def labelled(data: Path, measured: bool, seed: int = 1) -> list[Labelled]:
    """Return a half of the set, the same each time."""
    chosen = []
    for source in (turk, xquad):
        chance = random.Random(seed)
        true = [one for one in source(data, chance) if (fraction(one.original) >= 0.5) == measured]
        true = list({one.said: one for one in true}.values())
        chance.shuffle(true)
        chosen += true[:SET_SIZE]
        wanted = SET_SIZE // len(PLANTS) + 1
        for kind, plant in PLANTS.items():
            made = (
                (one, plant(one, chance))
                for one in true
                if one.kind != "the answer alone" or kind in ("number", "name")
            )
            false = [replace(one, said=said, kind=kind, true=False) for one, said in made if said and said != one.said]
            chosen += list({one.said: one for one in false}.values())[:wanted]
    return chosen


def marked(one: Labelled) -> bool:
    """Tell whether a sentence has a mark that no passage supports it."""
    passages = passages_of([Chunk("page.txt", 0, len(one.passage), one.passage)])
    citations, unsupported = cite(one.said, passages, question=one.question)
    return bool(unsupported) or not citations


def share(right: int, count: int) -> tuple[float, float, float]:
    """Return a share with Wilson's interval of 95 %."""
    z, p = 1.96, right / count
    middle, spread = p + z * z / (2 * count), z * (p * (1 - p) / count + z * z / (4 * count * count)) ** 0.5
    return p, (middle - spread) / (1 + z * z / count), (middle + spread) / (1 + z * z / count)


@click.command()
@click.option("--measure", is_flag=True, help="The second half, on which nothing was developed.")
@click.option("--wrong", is_flag=True, help="Print the sentences that are judged wrongly.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
def main(measure: bool, wrong: bool, as_json: bool) -> None:
    """Measure the marks of sentences that passages do not say."""
    chosen = labelled(Path(os.environ["SEEDBED_DATA"]), measure)
    judged = [(one, marked(one)) for one in chosen]
    if wrong:
        for one, mark in judged:
            if mark == one.true:
                print(f"{one.kind}: {one.said}\n    {one.original}\n    {one.question}")
    order = sorted(judged, key=lambda row: (row[0].true, row[0].kind))
    groups = [(kind, list(rows)) for kind, rows in groupby(order, key=lambda row: row[0].kind)]
    groups += [
        (f"all {name}", [row for row in judged if row[0].true == true])
        for name, true in (("false", False), ("true", True))
    ]
    figures = {
        kind: {
            "true": rows[0][0].true,
            "sentences": len(rows),
            "right": share(sum(mark != one.true for one, mark in rows), len(rows)),
        }
        for kind, rows in groups
    }
    if as_json:
        print_json(figures)
        return
    rows_shown = [
        [kind, str(f["sentences"]), "{:.3f} ({:.3f}–{:.3f})".format(*f["right"])] for kind, f in figures.items()
    ]
    print_table(["kind", "sentences", "judged rightly"], rows_shown)


if __name__ == "__main__":
    main()
