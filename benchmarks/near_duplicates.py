"""Near-duplicates: the share of edited copies and excerpts that is found, and of unrelated documents wrongly found.

Documents are passages of 60 to 1,500 words of the texts named (JSON Lines with a ``text``, under
``$SEEDBED_DATA/pretrain``), one of each text; of an article at three levels of difficulty, one. Each gets a copy with a
share of its words changed here and there (replaced by a word of the text, dropped, or a word put in), or an excerpt
(30 to 70 % of it, at least 40 words), verbatim or with one word in twenty changed. Two columns: found by similarity
alone (MinHash, from 0.8), and with containment. A pair of different documents is wrong: the documents in one are
counted, and ``--show`` prints them.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from seedbed.corpus.comparison import Comparison, ComparisonWriter
from seedbed.corpus.minhash import shingles, signature
from seedbed.corpus.overlap import sample

THRESHOLD = 0.8
Words = list[str]


def main() -> None:
    """Measure the files named, print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="such as simple-00")
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--show", action="store_true", help="print wrong pairs")
    options = parser.parse_args()
    folder = Path(os.environ.get("SEEDBED_DATA", Path(__file__).parents[2] / "shared" / "data")) / "pretrain"
    for name in options.files:
        originals = list(islice(passages(folder / f"{name}.jsonl.xz"), options.documents))
        print(f"\n{name}: {len(originals)} documents, {np.median([len(one) for one in originals]):.0f} words (median)")
        print(f"{'':32s}  similarity   and containment   documents wrongly paired")
        for label, make in VARIANTS.items():
            print(f"{label:32s}  {row(originals, make, options.show)}")


def passages(path: Path) -> Iterator[Words]:
    """Yield a passage of each text that is long enough."""
    chance, seen = random.Random(0), set[str]()
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            found = json.loads(line)
            words, name = found["text"].split(), found["id"].rpartition("/")[2].removeprefix("WNL ")
            if len(words) >= 60 and (name not in seen or not found["id"].startswith("onestop/")):
                seen.add(name)
                length = min(len(words), int(60 * 25 ** chance.random()))
                at = chance.randrange(len(words) - length + 1)
                yield words[at : at + length]


def edited(share: float) -> Callable[[Words, random.Random], Words]:
    """Return a function that changes a share of the words."""

    def change(words: Words, chance: random.Random) -> Words:
        made: Words = []
        for word in words:
            kind = chance.random() / share
            made += [word] if kind >= 1 else [chance.choice(words)] if kind < 0.6 else []
            made += [word, chance.choice(words)] if 0.8 <= kind < 1 else []
        return made

    return change


def excerpt(words: Words, chance: random.Random) -> Words:
    """Return 30 to 70 % of the words, in one piece."""
    length = max(40, int(len(words) * chance.uniform(0.3, 0.7)))
    at = chance.randrange(len(words) - length + 1)
    return words[at : at + length]


VARIANTS: dict[str, Callable[[Words, random.Random], Words]] = {
    **{f"{share:.0%} of the words changed": edited(share) for share in (0.02, 0.05, 0.1, 0.15, 0.2)},
    "excerpt": excerpt,
    "excerpt, 5% changed": lambda words, chance: edited(0.05)(excerpt(words, chance), chance),
}


def row(originals: Sequence[Words], make: Callable[[Words, random.Random], Words], show: bool) -> str:
    """Return the figures of one kind of copies."""
    chance, count = random.Random(1), len(originals)
    texts = [" ".join(words) for words in [*originals, *(make(words, chance) for words in originals)]]
    with tempfile.TemporaryDirectory() as folder:
        compared = comparison(texts, Path(folder))
        everything = np.ones(len(texts), dtype=bool)
        near = {tuple(sorted(pair)) for some in compared.near.near_pairs(everything) for pair in some.tolist()}
        both = near | {tuple(sorted(pair)) for pair in compared.overlap.contained(everything).tolist()}
    mine = {(place, place + count) for place in range(count)}
    wrong = {place for pair in both - mine if pair[0] % count != pair[1] % count for place in pair}
    for pair in sorted(both - mine) if show else ():
        print(f"  {texts[pair[0]][:150]!r}\n  {texts[pair[1]][:150]!r}")
    return f"{len(near & mine) / count:10.1%}   {len(both & mine) / count:15.1%}   {len(wrong)}"


def comparison(texts: Sequence[str], folder: Path) -> Comparison:
    """Return the comparison of texts."""
    hashed = [shingles(text) for text in texts]
    with ComparisonWriter(folder, THRESHOLD) as writer:
        writer.add(np.stack([signature(one) for one in hashed]), sample(hashed))
    return writer.comparison


if __name__ == "__main__":
    main()
