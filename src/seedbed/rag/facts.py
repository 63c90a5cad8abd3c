"""Facts of a text as a citation compares them: its words, numbers, names, and the words after each "not"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from unicodedata import combining, normalize

from seedbed.rag.lexicon import DOUBTS, GERMAN, NEGATORS, PLAIN_STARTS
from seedbed.rag.quantities import NUMBER_WORDS, Quantity, quantities, without_quantities
from seedbed.vectors.words import terms

_EXEMPT = re.compile(
    r"\b(not only|not just|not merely|no (?=\d|\.)|(?:no|not) (?=(?:more|less|fewer|later|earlier|sooner) than))", re.I
)
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_BREAK = re.compile(r"[.,;:()!?—–\n]")
_DEPENDS = re.compile(r",|\s+(?:to|of|in|on|at|for|from|with|than|as|by|the|a|an|that|some|all)\b")
"""Continuations of an adverb or a noun, rather than of a name, that begins a sentence."""
_CODE = re.compile(
    r"(?!\d+(?:st|nd|rd|th|s|k|m|bn|mn|km|kg|am|pm|cm|mm|g|l|ml|h|min|ft|kb|mb|gb|kwh|kw|hz|ghz)$)(?=.*\d)(?=.*[^\W\d_]).+",
    re.I,
)


@dataclass(frozen=True)
class Name:
    """A run of capitalised words, folded; not ``sure`` where it may only begin a sentence.

    Attributes:
        around: the two words before it and the two after it, without articles.
    """

    parts: tuple[str, ...]
    around: tuple[tuple[str, ...], tuple[str, ...]]
    place: int
    sure: bool = True


class Facts:
    """The facts of a text, each found when it is asked for."""

    def __init__(self, text: str) -> None:
        text = re.sub(r"\[\d+\]", " ", normalize("NFC", text))
        text = re.sub(r"\b([A-Z])\.(?=[A-Z]\b)", r"\1", text)  # U.S.
        self.text = re.sub(r"(?i)(?<=\w)n['’]t\b", " not", text).replace("cannot", "can not")

    @cached_property
    def quantities(self) -> list[Quantity]:
        """Its numbers."""
        return quantities(self.text)

    @cached_property
    def terms(self) -> list[str]:
        """The stems of its words that carry meaning, without numbers, units and each "not"."""
        return [one for one in terms(self._plain) if one not in NEGATORS]

    @cached_property
    def words(self) -> list[str]:
        """Its words in lower case."""
        return [fold(one) for one in WORD.findall(self.text)]

    @cached_property
    def stems(self) -> set[str]:
        """The stems of its words that carry meaning."""
        return set(terms(self.text))

    @cached_property
    def names(self) -> list[Name]:
        """Its names."""
        return list(_names(self._plain))

    @cached_property
    def denied(self) -> list[tuple[list[str], bool]]:
        """The stems after each "not" in its clause, four at most, and whether "but" follows them."""
        return list(_scopes(_EXEMPT.sub(" ", self.text)))

    @cached_property
    def doubted(self) -> set[str]:
        """The stems near a word that denies without a "not"."""
        found = terms(self.text)
        near = (found[max(0, at - 3) : at + 4] for at, one in enumerate(found) if one in DOUBTS)
        return {one for some in near for one in some}

    @cached_property
    def _plain(self) -> str:
        return without_quantities(self.text)


@lru_cache(maxsize=4096)
def facts(text: str) -> Facts:
    """Return the facts of a text; those of texts seen before are kept."""
    return Facts(text)


def fold(word: str) -> str:
    """Return a word in lower case, without accents and possessive endings."""
    plain = "".join(one for one in normalize("NFKD", word.casefold()) if not combining(one))
    return re.sub(r"['’]s?$", "", plain)


def _scopes(text: str) -> Iterator[tuple[list[str], bool]]:
    for clause in _BREAK.split(text):
        words = [fold(one) for one in WORD.findall(clause)]
        for at, word in enumerate(words):
            if word in NEGATORS:
                after = words[at + 1 :]
                stop = next((n for n, one in enumerate(after) if one in ("but", *NEGATORS)), len(after))
                scope = terms(" ".join(after[:stop]))[:4]
                if scope:
                    yield scope, stop < len(after) and after[stop] == "but"


def _names(text: str) -> Iterator[Name]:
    """Yield runs of capitalised words; none in German, which writes all nouns so."""
    tokens = list(WORD.finditer(text))
    plain = [one[0].lower() for one in tokens]
    if sum(one in GERMAN for one in plain) > sum(one in ("the", "and", "of", "a", "to") for one in plain):
        return
    at = 0
    while at < len(tokens):
        begins = at == 0 or _ends(text[tokens[at - 1].end() : tokens[at].start()])
        if not _is_name(tokens[at][0], begins):
            at += 1
            continue
        end = at + 1
        while end < len(tokens) and text[tokens[end - 1].end() : tokens[end].start()].strip(".") in (
            " ",
            "-",
            ". ",
            "",
        ):
            if not _is_name(tokens[end][0], False):
                break
            end += 1
        around = tuple(
            tuple(one for one in some if one not in ("the", "a", "an"))
            for some in (plain[max(0, at - 3) : at][-2:], plain[end : end + 3][:2])
        )
        word = tokens[at][0]
        if begins and end == at + 1 and _DEPENDS.match(text[tokens[at].end() :]):
            at = end
            continue
        sure = not begins or end > at + 1 or (word.isupper() and len(word) > 1) or not word.isalpha()
        yield Name(tuple(fold(one[0]) for one in tokens[at:end]), (around[0], around[1]), tokens[at].start(), sure)
        at = end


def _ends(gap: str) -> bool:
    return bool(re.search(r"[.!?:;\n\"“”]", gap))


def _is_name(word: str, begins: bool) -> bool:
    """Tell whether a word is written as a name: with a capital, or as a code of letters and figures."""
    if _CODE.fullmatch(word):
        return True
    if not word[0].isupper() or fold(word) in NUMBER_WORDS or (len(word) == 1 and word in "AIO"):
        return False
    return not (begins and fold(word) in PLAIN_STARTS)
