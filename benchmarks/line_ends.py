"""Words that the end of a line cut in two: how often they are put together as they were written.

Of each document, words are broken one at a time, the rest of the text as it is: whole words (lower case, seven letters
or more) between two consonants, as hyphenation mostly does, and compounds at their own hyphen ("well-known"). Right is
the word as it was. A rule that asks nothing has all of one kind and none of the other. Intervals are Wilson's.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

from seedbed.documents.readers.hyphens import with_whole_words

WHOLE = re.compile(r"(?<![\w-])[a-z]{7,}(?![\w-])")
COMPOUND = re.compile(r"(?<![\w-])([a-z]{2,})-([a-z]{2,})(?![\w-])")
SYLLABLE = re.compile(r"(?<=[aeiou][bcdfghjklmnpqrstvwxz])(?=[bcdfghjklmnpqrstvwxz][aeiouy])")


def whole_words(text: str) -> Iterator[tuple[int, int]]:
    """Yield the place of a word and that of its break."""
    for word in WHOLE.finditer(text):
        breaks = [place for found in SYLLABLE.finditer(word[0]) if 2 <= (place := found.start()) <= len(word[0]) - 3]
        if breaks:
            yield word.start(), word.start() + breaks[0]


def compounds(text: str) -> Iterator[tuple[int, int]]:
    """Yield the place of a compound and that of its second part."""
    return ((word.start(), word.start(2)) for word in COMPOUND.finditer(text))


def is_right(text: str, start: int, cut: int) -> bool:
    """Tell whether a word that is broken at ``cut`` becomes what it was; the text before it has no broken words."""
    hyphen = "" if text[cut - 1] == "-" else "-"
    broken = f"{text[:cut]}{hyphen}\n{text[cut:]}"
    joined, _ = with_whole_words(broken)
    return joined[start : start + 40] == text[start : start + 40]


def wilson(right: int, count: int) -> tuple[float, float, float]:
    """Return a share and its 95 % interval."""
    share, z = right / count, 1.96
    centre, spread = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    whole = 1 + z * z / count
    return round(share, 4), round((centre - spread) / whole, 4), round((centre + spread) / whole, 4)


def main() -> None:
    """Print the shares of one file of texts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", default="pretrain/textbooks-01.jsonl.xz", help="in the folder SEEDBED_DATA")
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--each", type=int, default=10, help="words of each kind of a document")
    options = parser.parse_args()
    rng = random.Random(0)
    with lzma.open(Path(os.environ["SEEDBED_DATA"]) / options.texts, "rt") as lines:
        texts = [json.loads(line)["text"][:20_000] for _, line in zip(range(options.documents), lines, strict=False)]
    counts = {}
    for name, find in (("whole words", whole_words), ("compounds", compounds)):
        tried = [(text, *place) for text in texts for place in sample(list(find(text)), options.each, rng)]
        right = sum(is_right(*one) for one in tried)
        counts[name] = {"tried": len(tried), "right (95 %)": wilson(right, len(tried))}
    print(json.dumps(counts, indent=1))


def sample(found: list[tuple[int, int]], most: int, rng: random.Random) -> list[tuple[int, int]]:
    """Return at most so many of some places, by chance."""
    return found if len(found) <= most else rng.sample(found, most)


if __name__ == "__main__":
    main()
