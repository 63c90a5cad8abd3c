"""Units of measure by their spellings, as (dimension, factor to its base unit); a spelling may stand for several.

Exact factors only: a month has no fixed number of days, so months and years are a dimension of their own.
"""

from __future__ import annotations

Unit = tuple[str, float]
_TABLE = """
length 0.001: mm millimetre millimeter
length 0.01: cm centimetre centimeter
length 1: m metre meter
length 1000: km kilometre kilometer
length 0.0254: inch inches
length 0.3048: ft foot feet
length 0.9144: yd yard
length 1609.344: mi mile
mass 0.001: g gram gramme
mass 0.000001: mg milligram
mass 1: kg kilo kilogram kilogramme
mass 1000: t tonne
mass 907.18474: ton
mass 0.45359237: lb lbs pound
mass 0.028349523125: oz ounce
volume 0.001: ml millilitre milliliter
volume 0.01: cl centilitre centiliter
volume 1: l litre liter
volume 3.785411784: gallon
area 10000: ha hectare
area 4046.8564224: acre
time 0.001: ms millisecond
time 1: s sec secs seconds
time 60: min mins minute
time 3600: h hr hrs hour
time 86400: day
time 604800: week
time 1209600: fortnight
calendar 1: month
calendar 12: yr yrs year
calendar 120: decade
calendar 1200: century centuries
celsius 1: °c ℃ celsius centigrade
fahrenheit 1: °f ℉ fahrenheit
celsius 1: ° degree
fahrenheit 1: ° degree
angle 1: ° degree
kelvin 1: kelvin
euro 1: € eur euro
dollar 1: $ usd dollar
sterling 1: £ gbp pound quid
yen 1: ¥ jpy yen
crown 1: kr sek nok dkk czk crown krona kronor krone kroner
franc 1: chf franc
rupee 1: ₹ inr rupee
euro 0.01: cent
dollar 0.01: cent
sterling 0.01: pence penny
share 0.01: % percent
share 0.001: ‰ permille
byte 1: byte
byte 1000: kb kilobyte
byte 1000000: mb megabyte
byte 1000000000: gb gigabyte
byte 1000000000000: tb terabyte
byte 1024: kib
byte 1048576: mib
byte 1073741824: gib
power 1: w watt
power 1000: kw kilowatt
power 1000000: mw megawatt
power 1000000000: gw gigawatt
energy 1: kwh
energy 1000: mwh
voltage 1: v volt
frequency 1: hz hertz
frequency 1000: khz kilohertz
frequency 1000000: mhz megahertz
frequency 1000000000: ghz gigahertz
pressure 1: bar
"""
_SPEEDS: dict[str, tuple[str, str]] = {"kph": ("km", "h"), "kmh": ("km", "h"), "mph": ("mi", "h"), "knots": ("mi", "h")}


def _units() -> dict[str, frozenset[Unit]]:
    found: dict[str, set[Unit]] = {}
    for line in _TABLE.strip().splitlines():
        head, spellings = line.split(": ")
        dimension, factor = head.split(" ")
        for one in spellings.split():
            found.setdefault(one, set()).add((dimension, float(factor)))
            if len(one) > 2 and one.isascii() and not one.endswith("s"):
                found.setdefault(f"{one}s", set()).add((dimension, float(factor)))
    return {spelling: frozenset(units) for spelling, units in found.items()}


UNITS = _units()
"""The meanings of each spelling, in lower case."""


def unit_of(words: tuple[str, ...]) -> tuple[frozenset[Unit], int]:
    """Return the meanings of the unit that words begin with, and how many words it has; nothing where none is one."""
    if not words:
        return frozenset(), 0
    first = words[0]
    if first in _SPEEDS:
        above, below = _SPEEDS[first]
        return _divided(UNITS[above], UNITS[below]), 1
    if first in ("square", "sq", "cubic") and len(words) > 1 and words[1] in UNITS:
        power = 3 if first == "cubic" else 2
        return _powers(UNITS[words[1]], power), 2
    if first == "per" and words[1:2] == ("cent",):
        return UNITS["percent"], 2
    if (
        first in ("degrees", "degree", "°")
        and words[1:2]
        and words[1] in ("c", "f", "celsius", "centigrade", "fahrenheit")
    ):
        return UNITS["celsius" if words[1][0] == "c" else "fahrenheit"], 2
    if first not in UNITS:
        return frozenset(), 0
    if len(words) > 2 and words[1] in ("per", "a", "an", "/", "each", "every") and words[2] in UNITS:
        return _divided(UNITS[first], UNITS[words[2]]), 3
    if len(words) > 1 and words[1] in ("²", "³"):
        return _powers(UNITS[first], 2 if words[1] == "²" else 3), 2
    return UNITS[first], 1


def _divided(above: frozenset[Unit], below: frozenset[Unit]) -> frozenset[Unit]:
    return frozenset((f"{one}/{other}", factor / part) for one, factor in above for other, part in below)


def _powers(units: frozenset[Unit], power: int) -> frozenset[Unit]:
    names = {("length", 2): "area", ("length", 3): "volume"}
    scale = 1000.0 if power == 3 else 1.0  # a volume's base is the litre
    return frozenset((names.get((one, power), f"{one}^{power}"), factor**power * scale) for one, factor in units)
