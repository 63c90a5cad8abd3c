"""Words of any script, folded to one form; what is written without spaces is cut into overlapping pieces.

Chinese, Japanese, Thai, Lao, Khmer, Burmese and their kin put no spaces between words, and Korean writes particles on
to them. No dictionary is used: pairs of neighbouring characters stand for words (Nie et al. 2000); with them the single
characters of Chinese, and whole words in Korean. In South East Asia signs are letters: pairs and triples of a letter
with its marks. Left out: word boundaries themselves; traditional and simplified characters are two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal
from unicodedata import category, decimal, normalize

Script = Literal["spaced", "han", "hangul", "syllables"]
"""The ways to cut: at spaces; Chinese and Japanese; Korean; the scripts of South East Asia."""

_PLAIN = re.compile(
    r"[\x00-\xa9\xab\xac\xae-\xb1\xb4\xb6-\xb8\xbb\xbf-\xde\xe0-\u012f\u0131\u0134-\u013e\u0141-\u0148\u014a-\u017e"
    r"\u0180-\u01c3\u01cd-\u01ef\u0400-\u0481\u048a-\u04ff"
    r"\u2000-\u200b\u2010-\u2016\u2018-\u2023\u2025-\u2029\u202f-\u2032\u2035\u2038-\u203b\u20ac"
    r"\u0391-\u03a1\u03a4-\u03a9\u03b1-\u03c1\u03c3-\u03c9\u2190-\u23f3\u2500-\u26ff\u2701-\u2775\u2798-\u27af\u27c0-\u2a0b\u2a77-\u2adb\u2add-\u2b4c]*"
)
_HAN = "\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_KANA = "\u3041-\u309f\u30a1-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff"
_HANGUL = "\u1100-\u11ff\uac00-\ud7ff\ua960-\ua97f"
_SYLLABLES = (  # Thai, Lao; Burmese; Khmer; Tai scripts; Balinese, Javanese; Burmese and Tai letters
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\ua9ff\uaa60-\uaadf"
)
_RUN = re.compile(
    f"(?P<han>[{_HAN}{_KANA}]+)|(?P<hangul>[{_HANGUL}]+)|(?P<syllables>[{_SYLLABLES}]+)"
    f"|(?P<spaced>[^{_HAN}{_KANA}{_HANGUL}{_SYLLABLES}]+)"
)
_HAN_CHARACTER = re.compile(f"[{_HAN}]")
_PARTICLES = "은는이가을를의에로와과도만"  # Korean: a noun of one syllable with one of them is two syllables
_STACKERS = "\u1039\u17d2\u1a60"  # the next letter is written below the one before
_ACCENTS = re.compile(  # marks of scripts that are read without them, and the stroke that lengthens Arabic words
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed\u08d3-\u08ff"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f]"
)
_BASE_LETTERS = re.compile("[\u0370-\u03ff\u1f00-\u1fff\u0620-\u06ff]")  # Greek and Arabic: without accent or hamza
_SIGNS = re.compile("[™℠]")  # are no letters of the word that they follow


class _Characters(dict[int, str]):
    """Each character as a part of a word: itself, its digit, its base letter, nothing, or a space between words."""

    def __missing__(self, code: int) -> str:
        self[code] = found = self._of(chr(code))
        return found

    @staticmethod
    def _of(character: str) -> str:
        kind = category(character)
        if _ACCENTS.match(character) or (kind == "Cf" and character != "\u200b"):
            return ""
        if kind == "Nd":
            return str(decimal(character))
        if kind[0] not in "LNM":
            return " "
        return normalize("NFD", character)[0] if _BASE_LETTERS.match(character) else character


_CHARACTERS = _Characters()


def is_plain(text: str) -> bool:
    """Return whether the full-text index sees the words of a text as it stands."""
    return text.isascii() or _PLAIN.fullmatch(text) is not None


def fold(text: str) -> str:
    """Return a text in the form in which words are compared.

    Compatibility forms (full width, half width, presentation forms, ligatures) and case are one; digits are ASCII;
    soft hyphens, vowel points and accents of scripts that are read without them are gone; a space stands for what is
    no part of a word.
    """
    cased = normalize("NFKC", _SIGNS.sub(" ", text)).casefold()
    return normalize("NFKC", cased).translate(_CHARACTERS)


def runs(text: str) -> Iterator[tuple[Script, str]]:
    """Yield the runs of one script in each word of a text, in order, folded."""
    for word in fold(text).split():
        for found in _RUN.finditer(word):
            yield found.lastgroup, found[0]  # type: ignore[misc]  # the groups are the scripts


def units(script: Script, run: str) -> list[str]:
    """Return the smallest parts of a run that are compared: its characters, its syllables, or the run."""
    if script == "han":
        return list(run)
    return _CLUSTER.findall(run) if script == "syllables" else [run]


def pieces(script: Script, run: str) -> list[str]:
    """Return a run's pieces for the index: a word; or characters, pairs and triples as its script needs them."""
    if script == "hangul" and len(run) == 2:
        return [run, run[0]] if run[1] in _PARTICLES else [run]
    if script == "hangul" and len(run) > 2:
        return [run, *_grams(run, 2)]
    if script == "syllables" and len(found := units(script, run)) > 2:
        return [*_grams(found, 2), *_grams(found, 3)]
    return telling_pieces(script, run)


def telling_pieces(script: Script, run: str) -> list[str]:
    """Return those of a run's pieces that tell most of what it means: one kind a script, but two for Chinese.

    Triples of syllables and Korean pairs (of a run that is shorter: itself); Chinese characters and pairs; words.
    """
    if script == "han" and len(run) > 1:
        return [part for at in range(len(run)) for part in _character_and_pair(run[at : at + 2])]
    if script == "hangul" and len(run) > 1:
        return _grams(run, 2)
    if script == "syllables" and len(found := units(script, run)) > 2:
        return _grams(found, 3)
    return [run]


def _character_and_pair(two: str) -> Iterator[str]:
    """Yield the first of two characters, unless it is kana, and both."""
    if _HAN_CHARACTER.match(two):
        yield two[0]
    if len(two) == 2:
        yield two


def _grams(parts: Sequence[str], size: int) -> list[str]:
    return ["".join(parts[at : at + size]) for at in range(len(parts) - size + 1)]


def _marks() -> str:
    """Return the signs that belong to the letter before them, in the scripts that are cut by syllables."""
    blocks = (block.split("-") for block in re.findall(".-.", _SYLLABLES))
    every = (chr(code) for first, last in blocks for code in range(ord(first), ord(last) + 1))
    return "".join(one for one in every if category(one)[0] == "M")


_CLUSTER = re.compile(f".[{_marks()}]*(?:(?<=[{_STACKERS}]).[{_marks()}]*)*")
