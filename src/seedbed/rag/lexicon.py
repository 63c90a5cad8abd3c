"""Words that tell facts apart: denials, opposites, pronouns, titles, words that begin a sentence and are no names."""

from __future__ import annotations

import re

from seedbed.vectors.words import stemmed


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEGATORS = _set(
    """
    not no never none nobody nothing nowhere neither nor without cannot hardly scarcely nicht kein keine keinen keiner
    ohne nie niemals niemand ne pas jamais sans nunca senza ikke inte niet geen nem non nao sem bez degil
    не ни нет без никогда لا لم لن ليس ليست غير بدون לא אין
    """
)
"""English words that deny, and the commonest of some other languages."""
DENIED_WITHIN = re.compile("[不没沒未無无非别]|ない|ません|なかっ|ไม่|มิได้|않|못|없|아니")
"""Signs that deny inside a word or a run of text without spaces: Chinese, Japanese, Thai, Korean."""
CLAUSE_END = re.compile(r"[，。、；！？,.;!?\n]+")
PRONOUNS = _set(
    """
    it he she they him her them his its their hers theirs this that these those who which
    """
)
"""Words that stand for a name."""
TITLES = _set(
    """
    mr mrs ms dr sir lord lady st saint king queen president captain general prof professor the
    """
)
"""Words before a name that may be left out."""
GERMAN = _set(
    """
    der die das und ist ein eine den dem wird mit von auf im nicht zu sich werden sind
    """
)
"""Words that tell a text as German, which writes all nouns with a capital."""
PLAIN_STARTS = _set(
    """
    the a an this that these those it he she they we you i his her its their our my your there here in on at by for from
    of to with as after before during since when while where if although though because and but or so yes no not all
    some many most more few each every both one two other another such what which who how why however also then thus
    according about over under between through until unlike like despite among within without only even once today now
    later first second next finally additionally furthermore moreover instead rather several any nobody nothing none
    never neither people use see please note answer sure based passage around approximately nearly almost roughly yet
    still just much very too perhaps maybe usually often sometimes originally initially currently recently eventually
    """
)
"""Words with a capital at the beginning of a sentence that are no names."""
DOUBTS = frozenset(
    stemmed(
        _set(
            """
    fail lack refuse stop unable except avoid prevent few fewer little rarely seldom deny reject absent missing cease
    empty exclude forbid forbidden prohibit ban only instead rather free impossible abolish
    """
        )
    )
)
"""Stems of words that deny without a "not"."""
_PAIRS = """
before/after earlier/later early/late more/less most/least more/fewer many/few higher/lower highest/lowest high/low
larger/smaller largest/smallest large/small bigger/smaller biggest/smallest big/small longer/shorter
longest/shortest older/younger oldest/youngest older/newer oldest/newest faster/slower fastest/slowest above/below
over/under upper/lower top/bottom first/last maximum/minimum increase/decrease increased/decreased
increases/decreases increasing/decreasing rise/fall rose/fell rises/falls won/lost wins/loses win/lose always/never
open/closed opens/closes opened/closed allowed/forbidden allowed/prohibited permitted/forbidden permitted/prohibited
accepted/rejected include/exclude included/excluded includes/excludes north/south northern/southern east/west
eastern/western northeast/southwest northwest/southeast left/right inside/outside indoors/outdoors bought/sold
buy/sell buys/sells cheaper/dearer hot/cold hotter/colder warm/cold true/false true/untrue positive/negative
start/end starts/ends started/ended begins/ends began/ended arrives/departs arrived/departed arrival/departure
morning/evening day/night male/female public/private possible/impossible mandatory/optional required/optional
better/worse best/worst heavier/lighter wider/narrower deeper/shallower nearest/farthest with/without up/down
inbound/outbound majority/minority odd/even internal/external married/divorced guilty/innocent alive/dead born/died
summer/winter spring/autumn add/remove added/removed adds/removes gain/loss entrance/exit import/export
imports/exports
"""


def _opposites() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for pair in _PAIRS.split():
        one, two = pair.split("/")
        found.setdefault(one, set()).add(two)
        found.setdefault(two, set()).add(one)
    return found


OPPOSITES = _opposites()
"""The opposites of a word."""
