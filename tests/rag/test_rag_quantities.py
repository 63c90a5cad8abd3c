"""Numbers in all their spellings, read by hand."""

from __future__ import annotations

import pytest

from seedbed.rag.quantities import quantities, without_quantities
from seedbed.rag.units import UNITS, unit_of


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("12,000", {12.0, 12000.0}),
        ("12.000", {12.0, 12000.0}),
        ("12 000 people", {12.0, 12000.0}),
        ("12’500", {12500.0}),
        ("1.234.567", {1234567.0}),
        ("1.234,5", {1234.5}),
        ("1,234.5", {1234.5}),
        ("0.125", {0.125}),
        ("twenty-seven", {27.0}),
        ("two hundred and fifty", {250.0}),
        ("1.5 million", {1500000.0}),
        ("half a million", {500000.0}),
        ("half a dozen", {6.0}),
        ("12k users", {12000.0}),
        ("the third time", {3.0}),
        ("the 21st", {21.0}),
        ("-5", {-5.0}),
        ("minus five", {5.0}),
    ],
)
def test_a_number_has_the_values_that_it_can_be_read_as(text: str, values: set[float]) -> None:
    (found,) = quantities(text)
    assert {abs(one) for one in found.values} == {abs(one) for one in values}


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("60 minutes", "an hour", True),
        ("24 months", "two years", True),
        ("1 km", "1,000 metres", True),
        ("1 km", "1 mile", False),
        ("50 km/h", "50 kilometres per hour", True),
        ("50 km/h", "50 km", False),
        ("9 pm", "21:00", True),
        ("9 pm", "9 am", False),
        ("nine o'clock", "9", True),
        ("$5m", "5 million dollars", True),
        ("5 °C", "5 degrees Celsius", True),
        ("5 °C", "5 degrees Fahrenheit", False),
        ("30 km²", "30 square kilometres", True),
        ("1 hectare", "10,000 square metres", True),
        ("a cubic metre", "1,000 litres", True),
        ("12,000 crowns", "12 000", True),
        ("27 months", "27 buses", False),
        ("5-year", "five years", True),
        ("4.5 miles", "4.54 miles", True),
        ("4.5 miles", "4.54 km", False),
    ],
)
def test_two_quantities_agree_in_value_and_unit(one: str, two: str, same: bool) -> None:
    (first,), (second,) = quantities(one), quantities(two)
    assert first.agrees(second) is same


def test_a_date_has_three_numbers_and_a_code_none() -> None:
    assert [set(one.values) for one in quantities("2024-03-12")] == [{2024.0}, {3.0}, {12.0}]
    assert quantities("form A4, the last one, RC4") == []
    assert without_quantities("It takes 27 months, say.").split() == ["It", "takes", ",", "say."]


def test_units_follow_their_definitions() -> None:
    assert UNITS["mile"] == {("length", 1609.344)}  # the international mile
    assert unit_of(("mph",))[0] == {("length/time", 1609.344 / 3600)}
    assert {dimension for dimension, _ in UNITS["pounds"]} == {"mass", "sterling"}
