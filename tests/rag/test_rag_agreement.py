"""A citation needs agreement of facts: numbers, units, names and each "not", in sentences by hand."""

from __future__ import annotations

import pytest
from answering import chunks_of

from seedbed.documents.document import Chunk
from seedbed.rag.passages import cite, passages_of

LEASE = "The deposit of 800 euros is returned within a month. The notice period is 3 months for both sides."
DEPOTS = (
    "The Harbour depot opens at six in the morning and has room for forty buses.\n\n"
    "The Hillside depot opens at eight in the morning and has room for twelve buses."
)
PRICES = "| Name | Price |\n|---|---|\n| Camera | 9,000 crowns |\n| Lens | 12,000 crowns |"
WORD_ROWS = "Name | Price\nCamera | 9,000 crowns\nLens | 12,000 crowns"
COLOURS = "| Name | Colour |\n|---|---|\n| Camera | black |\n| Lens | red |"
PUMP = "The Nimbus pump moves 24 litres a minute. It comes with a guarantee of 27 months."
BRIDGE = "The bridge was opened in 1932 by the governor. Tolls ended in 1988."
LINES = "The red line costs 5 euros. The blue line costs 7 euros."
GUARANTEE = "How long is the guarantee?"


def supported(source: str, said: str, question: str = "") -> bool:
    citations, unsupported = cite(said, passages_of(chunks_of(source)), question=question)
    return bool(citations) and not unsupported


DENIALS = {
    "员工不可以在周末加班。": "员工可以在周末加班。",
    "日曜日は営業していません。": "日曜日は営業しています。",
    "ไปรษณีย์ไม่อนุญาตให้นำสัตว์เข้า": "ไปรษณีย์อนุญาตให้นำสัตว์เข้า",
    "고양이는 들어갈 수 없습니다.": "고양이는 들어갈 수 있습니다.",
    "Поезд не ходит по воскресеньям.": "Поезд ходит по воскресеньям.",
    "لا يسمح بالتدخين في الغرف.": "يسمح بالتدخين في الغرف.",
    "Il museo non è aperto di lunedì.": "Il museo è aperto di lunedì.",
}


@pytest.mark.parametrize("source", DENIALS)
def test_a_lost_denial_is_marked_in_any_language(source: str) -> None:
    assert supported(source, source)
    assert not supported(source, DENIALS[source])
    assert not supported(DENIALS[source], source)


def test_a_denial_of_another_clause_denies_nothing_here() -> None:
    assert supported("员工可以在周末加班，但不可以在夜间加班。", "员工可以在周末加班。")
    assert supported("日曜日は営業しています。月曜日は営業していません。", "日曜日は営業しています。")


@pytest.mark.parametrize(
    ("source", "false", "question"),
    [
        (LEASE, "The deposit of 900 euros is returned within a month.", ""),
        (LEASE, "The notice period is 6 months for both sides.", ""),
        (LEASE, "The deposit is 800 dollars.", "How much is the deposit?"),
        (LEASE, "The deposit is 3 months.", "How long is the deposit kept?"),  # another thing's number
        (LEASE, "The deposit is returned within a week.", ""),
        (LEASE, "The deposit is not returned.", ""),
        (DEPOTS, "The Harbour depot opens at eight in the morning.", "When does the Harbour depot open?"),
        (DEPOTS, "The Hillside depot has room for forty buses.", "How many buses fit into the Hillside depot?"),
        (PRICES, "The camera costs 12,000 crowns.", "What does the camera cost?"),  # the next row's price
        (WORD_ROWS, "The camera costs 12,000 crowns.", "What does the camera cost?"),
        (COLOURS, "The camera is red.", "What colour is the camera?"),  # no number that tells
        (PUMP, "24 months.", GUARANTEE),
        (PUMP, "The guarantee is 24 months.", GUARANTEE),
        (PUMP, "It moves 24 litres an hour.", ""),
        (BRIDGE, "The bridge was opened in 1988.", "When was the bridge opened?"),
        (BRIDGE, "The bridge was opened.", "When was the bridge opened?"),  # an echo
        (BRIDGE, "Yes, the bridge was opened.", "Was the bridge opened?"),
        (LINES, "The red line costs 7 euros.", "What does the red line cost?"),
        ("Dogs are not allowed on the beach.", "Dogs are allowed on the beach.", "Are dogs allowed?"),
        ("Dogs are allowed on the beach.", "Dogs aren't allowed on the beach.", ""),
        ("Dogs are allowed on the beach.", "No dogs are allowed on the beach.", ""),
        ("The door is unlocked at night.", "The door is locked at night.", ""),
        ("The paint is harmless to cats.", "The paint is harmful to cats.", ""),
        ("Entry is possible without a ticket.", "Entry is possible with a ticket.", ""),
        ("The final was won when Anna beat Bob.", "The final was won when Bob beat Anna.", ""),
        ("It was seen that Anna beat Bob there.", "It was seen that Anna was beaten by Bob there.", ""),
        ("The letter went from Anna to Bob.", "The letter went from Bob to Anna.", ""),
        ("The red line is longer than the blue line.", "The blue line is longer than the red line.", ""),
        ("The shop opens after nine.", "The shop opens before nine.", ""),
        ("The train runs at 120 km/h.", "The train runs at 120 mph.", ""),
        ("On 3 March 1999 the hall was opened.", "The hall was opened on 3 May 1999.", ""),
        ("The farm has 5 cats and 7 dogs.", "The farm has 7 cats and 5 dogs.", ""),
        ("Smith designed the hall in Vienna.", "The hall in Venice was designed by Smith.", ""),
        ("The Hillside Depot sells tickets. The Harbour Depot is old.", "The Harbour Depot sells tickets.", ""),
        ("Use version A4 of the form.", "Use version B4 of the form.", ""),
        ("Das Tor ist nicht offen.", "Das Tor ist offen.", ""),
    ],
)
def test_a_false_fact_is_marked(source: str, false: str, question: str) -> None:
    assert not supported(source, false, question)


@pytest.mark.parametrize(
    ("source", "true", "question"),
    [
        (LEASE, "The notice period is three months.", ""),
        (LEASE, "The deposit is 800 EUR.", "How much is the deposit?"),
        (LEASE, "The deposit is returned within one month.", ""),
        (DEPOTS, "The Harbour depot opens at 6 am.", "When does the Harbour depot open?"),
        (DEPOTS, "The Hillside depot has room for 12 buses.", "How many buses fit into the Hillside depot?"),
        (PRICES, "The camera costs 9.000 crowns.", "What does the camera cost?"),
        (PRICES, "The lens costs 12000 kr.", "What does the lens cost?"),
        (WORD_ROWS, "The lens costs 12 000 crowns.", "What does the lens cost?"),
        (COLOURS, "The lens is red.", "What colour is the lens?"),
        (PUMP, "27 months.", GUARANTEE),
        (PUMP, "It moves 24 l/min.", ""),
        (BRIDGE, "It was opened in 1932.", "When was the bridge opened?"),
        ("Dogs are not allowed on the beach.", "No, dogs aren't allowed on the beach.", "Are dogs allowed?"),
        ("The train runs at 120 km/h.", "The train runs at 120 kilometres per hour.", ""),
        ("The rate rose by 5 percent.", "The rate rose by 5 %.", ""),
        ("The rate rose by 5 per cent.", "The rate rose by five percent.", ""),
        ("On 3 March 1999 the hall was opened.", "The hall opened on March 3rd, 1999.", ""),
        ("It takes two years.", "It takes 24 months.", ""),
        ("The lake covers 19.31 % of the area.", "The lake covers 19 % of the area.", ""),
        ("Members pay €1,250.50 a year.", "Members pay 1250.50 euros a year.", ""),
        ("Members pay 1.250,50 € a year.", "Members pay €1,250.50 per year.", ""),
        ("Doors close at 9 pm.", "The doors close at 21:00.", ""),
        ("The Harbour Bridge is old. It was opened in 1932.", "The Harbour Bridge was opened in 1932.", ""),
        ("Francis gave it to the United Nations.", "Francis gave it to the UN.", ""),
        ("Austria and Italy signed.", "The Italian and the Austrian side signed.", ""),
        ("Opened in 1932, it is not only long but wide.", "It is long and wide.", ""),
        ("Das Tor öffnet um 9 Uhr.", "Das Tor öffnet um neun Uhr.", ""),
    ],
)
def test_a_true_fact_in_another_spelling_is_left(source: str, true: str, question: str) -> None:
    assert supported(source, true, question)


def test_a_heading_may_hold_the_name_and_the_year() -> None:
    text = "The harbour was dredged in May."
    chunk = Chunk("a.md", 0, len(text), text, heading="Port of Ystad, 2023")
    assert cite("The harbour of Ystad was dredged in May 2023.", passages_of([chunk]))[1] == ()
    assert cite("The harbour of Malmo was dredged in May 2023.", passages_of([chunk]))[0] == ()


def test_a_row_is_cited_and_not_the_table() -> None:
    (citation,), _ = cite("The lens costs 12,000 crowns.", passages_of(chunks_of(PRICES)))
    assert citation.quote == "| Lens | 12,000 crowns |"
