"""Facts in which a sentence and its source must agree, whatever words they share: a check for citations.

Numbers with their units, names, "not" and its kind, and opposites ("before", "after") are compared. A number must be
there, of the same unit; a name must be there, or in the heading, or before a pronoun that stands for it; a "not" must
stand with the same words; two names may not have changed their places. Rules, not a model: a rounded number and a name
in another language are taken for wrong, a verb of another meaning is not seen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from seedbed.rag.facts import WORD, Facts, Name, facts
from seedbed.rag.lexicon import CLAUSE_END, DENIED_WITHIN, OPPOSITES, PRONOUNS, TITLES
from seedbed.rag.quantities import Quantity
from seedbed.vectors.words import stemmed, terms

_LISTING = ("and", "or", "the", "of", "a", "an", "as", "by")
_PREFIXES = ("un", "in", "im", "ir", "il", "dis", "non", "mis")
_DEMONYM = re.compile(r"(n|ns|an|ians?|ish|ese|i|ic|er|ers)$")
_SUBJECT = 5
"""Characters; a name that begins so far at most is its sentence's subject, for which a pronoun may stand."""
_COMMON = re.compile(r"(s|ing|ed|ly|ion|ment|ness|ity|er|ance|ence|ism|age|al|ware|thing|body|one)$")


@dataclass(frozen=True)
class Place:
    """A part of a source that may support a sentence.

    Attributes:
        text: that is cited.
        before: what precedes it in its passage; a pronoun may stand for a name there.
        heading: above it.
        rows: the other rows, where it is a row of a table.
        asked: the words of the question.
    """

    text: str
    before: str = ""
    heading: str = ""
    rows: tuple[str, ...] = ()
    asked: frozenset[str] = frozenset()


def disagreement(said: str, place: Place) -> str:
    """Return the first fact of a sentence that its source does not tell, or tells otherwise; "" where all agree."""
    one, two = facts(said), facts(place.text)
    checks = (_row, _number, _name, _negation, _opposite, _swap)
    return next((found for check in checks if (found := check(one, two, place))), "")


def held(said: str, source: str, heading: str = "") -> list[str]:
    """Return the terms of a source and its heading, and what :func:`told` has that is there in another spelling."""
    one, two, above = facts(said), facts(source), facts(heading)
    numbers = [*two.quantities, *above.quantities]
    marks = [f"#{at}" for at, number in enumerate(one.quantities) if any(number.agrees(other) for other in numbers)]
    words = set(two.words)
    names = [part for name in one.names for part in name.parts if _has(part, words) or _abbreviates(part, two.names)]
    return [*two.terms, *above.terms, *stemmed(names), *marks]


def told(said: str) -> list[str]:
    """Return the terms of a sentence, and a mark for each of its numbers."""
    one = facts(said)
    return [*one.terms, *(f"#{at}" for at in range(len(one.quantities)))]


def mixes(said: str, one: str, two: str) -> bool:
    """Tell whether a sentence may mix two neighbours that speak of two things alike, instead of drawing on both.

    It may where one adds little to the other, or names and numbers alone, or where both hold more of it than one adds
    ("the red line costs 5", "the blue line costs 7"), and where the number of one is not the only one of its kind.
    """
    first, second = (set(held(said, text)).intersection(told(said)) for text in (one, two))
    named = {part for name in facts(said).names for part in stemmed(name.parts)}
    if any(not any(word[0] != "#" and word not in named for word in only) for only in (first - second, second - first)):
        return True
    added = min(len(first - second), len(second - first))
    if added < max(2, len(first & second), len(told(said)) / 4):
        return True
    numbers = facts(said).quantities
    for mark, text in [*((mark, two) for mark in first - second), *((mark, one) for mark in second - first)]:
        if mark.startswith("#"):
            rivals = (other for other in facts(text).quantities if not any(other.agrees(number) for number in numbers))
            if any(_of_a_kind(numbers[int(mark[1:])], other) for other in rivals):
                return True
    return False


def outdone(said: str, source: str, other: str) -> bool:
    """Tell whether another statement speaks of more that a sentence names, and tells another number of it.

    Then the number was taken from the wrong one: "the bridge was opened in 1988", where tolls ended in 1988.
    """
    one, numbers = set(facts(said).terms), facts(said).quantities
    if len(one.intersection(facts(other).terms)) <= len(one.intersection(facts(source).terms)):
        return False
    rivals = [number for number in facts(other).quantities if not any(mine.agrees(number) for mine in numbers)]
    taken = [mine for mine in numbers if not any(mine.agrees(number) for number in facts(other).quantities)]
    return any(_of_a_kind(mine, rival) for mine in taken for rival in rivals)


def _of_a_kind(one: Quantity, two: Quantity) -> bool:
    kinds = [{dimension for dimension, _ in number.measures} for number in (one, two)]
    return bool(kinds[0] & kinds[1]) or not (kinds[0] or kinds[1] or one.noun or two.noun)


def _row(said: Facts, source: Facts, place: Place) -> str:
    """Return a word that another row of the table has, and this one not: it says what the other row is about."""
    if not place.rows:
        return ""
    others = set[str]().union(*(facts(row).stems for row in place.rows[1:] if row))
    return next(
        iter(sorted((said.stems & others) - source.stems - facts(place.rows[0]).stems - facts(place.heading).stems)), ""
    )


def _number(said: Facts, source: Facts, place: Place) -> str:
    there = [*source.quantities, *facts(place.heading).quantities]
    for one in said.quantities:
        same = [two for two in there if one.agrees(two)]
        if not same:
            return _quoted(said.text, one)
        counted = [two for two in source.quantities if one.noun and stemmed([two.noun]) == stemmed([one.noun])]
        if counted and not any(one.agrees(two) for two in counted) and all(two.noun in said.words for two in same):
            return _quoted(said.text, one)  # "7 cats and 5 dogs" for "5 cats and 7 dogs"
    return ""


def _quoted(text: str, one: Quantity) -> str:
    return " ".join(text[one.span[0] :].split()[:2])


def _name(said: Facts, source: Facts, place: Place) -> str:
    there, heading = set(source.words), set(facts(place.heading).words)
    initials = {"".join(part[0] for part in one.parts) for one in source.names}
    refers = not PRONOUNS.isdisjoint(there)
    before = facts(place.before)
    for name in said.names:
        missing = [part for part in name.parts if not _has(part, there | heading) and part not in TITLES]
        missing = [part for part in missing if part not in initials and not _abbreviates(part, source.names)]
        if _may_be_common(name, before) or (
            not missing and _together(name, source.words, len(there & set(name.parts)))
        ):
            continue
        stated = all(_has(part, set(before.words)) for part in missing)
        whole = len(missing) == len(name.parts)
        stands = refers and (name.place < _SUBJECT or all(part in place.asked for part in missing))
        if stated and (stands if whole else not _is_another(name, source.names)):
            continue
        return " ".join(missing or name.parts)
    return ""


def _together(name: Name, words: Sequence[str], count: int) -> bool:
    """Tell whether the parts of a name that are among words stand near each other there."""
    if count < 2:
        return True
    places = [at for at, word in enumerate(words) if word in name.parts]
    windows = (set(words[at : at + 3 * count]).intersection(name.parts) for at in places)
    return any(len(window) >= count for window in windows)


def _has(part: str, words: set[str]) -> bool:
    """Tell whether a word is among others, also as the name of its people ("Italy", "Italian"), or in the plural."""
    if part in words or f"{part}s" in words or part.rstrip("s") in words:
        return True
    return any(_same_people(part, word) or _same_people(word, part) for word in words if word[:3] == part[:3])


def _same_people(land: str, people: str) -> bool:
    return (
        len(land) > 4
        and people.startswith(land[:-1])
        and people != land
        and bool(_DEMONYM.search(people))
        and len(people) <= len(land) + 4
    )


def _abbreviates(part: str, names: Sequence[Name]) -> bool:
    return any(
        len(one.parts) > 1 and "".join(word[0] for word in one.parts if word not in ("of", "the")) == part
        for one in names
    )


def _is_another(name: Name, names: Sequence[Name]) -> bool:
    """Tell whether a shared part belongs to another name: "Hillside Depot" is not "Harbour Depot"."""
    return any(set(one.parts) & set(name.parts) and not set(one.parts) <= set(name.parts) for one in names)


def _negation(said: Facts, source: Facts, place: Place) -> str:
    for scope, instead in source.denied:
        head = scope if instead else scope[:2]
        meant = all(one in said.stems for one in head) if instead else any(one in said.stems for one in head)
        if head and meant and not _is_denied(scope, said):
            return f"not {head[0]}"
    for scope, _ in said.denied:
        if not _is_denied(scope, source):
            return " ".join(["not", *scope[:1]])
    return _denied_within(said.text, source.text) or _prefixed(said, source) or _prefixed(source, said)


def _denied_within(said: str, source: str) -> str:
    """Return the denial that only one has of a clause and the source's nearest to it, where words hold denials."""
    if not DENIED_WITHIN.search(said + source):
        return ""
    there = [(set(terms(one)), DENIED_WITHIN.search(one)) for one in CLAUSE_END.split(source) if one.strip()]
    for clause in filter(str.strip, CLAUSE_END.split(said)):
        words, here = set(terms(clause)), DENIED_WITHIN.search(clause)
        shared, other = max(((len(words & found), sign) for found, sign in there), key=lambda one: one[0])
        sign = here or other
        if shared and sign is not None and (here is None or other is None):
            return sign[0]
    return ""


def _is_denied(scope: Sequence[str], other: Facts) -> bool:
    """Tell whether another text denies one of the words too, or denies in words of its own."""
    if any(set(scope) & set(one) for one, _ in other.denied) or not other.doubted.isdisjoint(scope):
        return True
    denying = {word.removesuffix("less") for word in other.words if word.endswith("less")}
    denying |= {word[len(prefix) :] for word in other.words for prefix in _PREFIXES if word.startswith(prefix)}
    return not set(scope).isdisjoint(stemmed(denying))


def _prefixed(one: Facts, two: Facts) -> str:
    """Return a word of the first that the second has without "un-", or with "-ful" for "-less"."""
    if two.denied:
        return ""
    there = set(two.words)
    for word in set(one.words) - there:
        base = next((word[len(prefix) :] for prefix in _PREFIXES if word.startswith(prefix)), "")
        if (len(base) > 3 and base in there) or (word.endswith("less") and f"{word[:-4]}ful" in there):
            return word
    return ""


def _opposite(said: Facts, source: Facts, place: Place) -> str:
    mine, theirs = Counter(said.words), Counter(source.words)
    for word in mine:
        if mine[word] > theirs[word] and any(theirs[one] > mine[one] for one in OPPOSITES.get(word, ())):
            return word
    return ""


def _swap(said: Facts, source: Facts, place: Place) -> str:
    """Return two names that stand in each other's place, or two words around "than"."""
    mine, theirs = _surroundings(said), _surroundings(source)
    both = [one for one in mine if one in theirs]
    for at, one in enumerate(both):
        for two in both[at + 1 :]:
            sides = _words_of if mine[one][0] | mine[two][0] != theirs[one][0] | theirs[two][0] else _unchanged
            kept = [sides(mine[name][1]) & sides(theirs[name][1]) for name in (one, two)]
            crossed = [sides(mine[one][1]) & sides(theirs[two][1]), sides(mine[two][1]) & sides(theirs[one][1])]
            if all(crossed) and sum(map(len, crossed)) > sum(map(len, kept)):
                return f"{one}, {two}"
            first, second = (one, two) if mine[one][2] < mine[two][2] else (two, one)
            if mine[second][0] and not (mine[first][0] or theirs[one][0] or theirs[two][0]):
                wrong = theirs[first][2] < theirs[second][2]  # "Bob was beaten by Ann", and Bob beat Ann
            else:
                wrong = theirs[second][0] and not (theirs[first][0] or mine[one][0] or mine[two][0])
            if wrong and _acts_between(said.text, mine[first][2], mine[second][2]):
                return f"{first}, {second}"
    return _compared(said, source)


def _surroundings(text: Facts) -> dict[str, tuple[bool, set[tuple[str, str]], int]]:
    """Return for each name's last word: does "by" stand before it, the words around it with their sides, its place."""
    found: dict[str, tuple[bool, set[tuple[str, str]], int]] = {}
    for name in text.names:
        before, after = name.around
        around = {*(("<", one) for one in stemmed(before)), *((">", one) for one in stemmed(after))}
        found.setdefault(name.parts[-1], (before[-1:] == ("by",), around, name.place))
    return found


def _acts_between(text: str, one: int, two: int) -> bool:
    """Tell whether a verb may stand between two names: a word that is not among those of a list."""
    between = text[min(one, two) : max(one, two)]
    small = {word for word in WORD.findall(between) if word.islower()}.difference(_LISTING)
    return bool(small) and "," not in between


def _words_of(sides: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return {("", word) for _, word in sides}


def _unchanged(sides: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return sides


def _compared(said: Facts, source: Facts) -> str:
    if "than" not in said.words or "than" not in source.words:
        return ""
    (less, more), (less_there, more_there) = (_around_than(one.words) for one in (said, source))
    crossed = less & more_there - less_there, more & less_there - more_there
    return ", ".join(next(iter(one)) for one in crossed) if all(crossed) else ""


def _around_than(words: Sequence[str]) -> tuple[set[str], set[str]]:
    at = words.index("than")
    return set(terms(" ".join(words[:at]))), set(terms(" ".join(words[at + 1 :])))


def _may_be_common(name: Name, before: Facts) -> bool:
    """Tell whether a word that begins a sentence need not be a name: by its ending, unless it is one elsewhere."""
    if name.sure or any(name.parts[0] in one.parts for one in before.names if one.sure):
        return False
    return bool(_COMMON.search(name.parts[0])) or name.parts[0] in before.words
