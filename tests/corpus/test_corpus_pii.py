"""Personal data: checksums, what is left alone, masking, and a public labelled set."""

from __future__ import annotations

import json
import lzma
import os
from collections import Counter
from pathlib import Path

import pytest

from seedbed.corpus.pii import excerpt, find_pii, mask_pii

DATA = Path(os.environ.get("SEEDBED_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
SYNTHETIC = DATA / "tasks" / "privacy" / "presidio_synth_pii_dev.jsonl.xz"


def kinds(text: str) -> list[tuple[str, str]]:
    return [(finding.kind, text[finding.start : finding.end]) for finding in find_pii(text)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("email", "ada.lovelace+math@analytical-engine.co.uk"),
        ("card", "4111 1111 1111 1111"),  # the issuers' published test numbers
        ("card", "5500-0000-0000-0004"),
        ("card", "378282246310005"),
        ("iban", "DE89 3704 0044 0532 0130 00"),  # examples of ISO 13616
        ("iban", "GB29NWBK60161331926819"),
        ("card", "30569309025904"),  # Diners Club
        ("card", "3056 930902 5904"),
        ("card", "6200000000000005"),  # UnionPay
        ("card", "2200000000000004"),  # Mir
        ("card", "6759649826438453"),  # Maestro
        ("ip", "93.184.216.34"),
        ("ip", "2606:2800:220:1:248:1893:25c8:1946"),
        ("ip", "2606:4700:4700::1111"),
        ("phone", "+41 (0)44 668 18 00"),
        ("phone", "(202) 456-1111"),
        ("phone", "202-456-1111"),
        ("phone", "+493012345678"),
        ("phone", "0151-23456789"),
        ("phone", "089/1234567"),
        ("phone", "(0151) 23456789"),
        ("phone", "0378 3549890"),
        ("phone", "06.12.34.56.78"),
        ("phone", "+55 (11) 91234-5678"),
        ("phone", "(212) 555-0187 ext. 42"),
        ("key", "AKIAIOSFODNN7EXAMPLE"),
        ("key", "ghp_" + "a1B2" * 9),
        ("key", "sk-proj-" + "Zx9k" * 8),
        ("key", "xoxb-123456789012-abcdefghij"),
        ("key", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"),
        ("key", "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\nabcd\n-----END RSA PRIVATE KEY-----"),
    ],
)
def test_each_kind_is_found_whole(kind: str, value: str) -> None:
    assert kinds(f"Write to {value} today.") == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # Luhn fails
        "DE88 3704 0044 0532 0130 00",  # mod 97 fails
        "127.0.0.1 192.168.1.7 10.0.0.1 203.0.113.9 ::1 fe80::1 2001:db8::7",
        "user@example.com someone@example.org root@localhost",
        "version 2.7.2.2 of 2024-10-31 12:34:56",
        "section 8.2.4.45, pages 1234-1240, 2019-2023",
        "x = [1234567890, 9876543210]; y = 3.14159265358979",
        "0x1234567890 1_000_000_000 +35236450.6 1,234,567,890",
        "ISBN 978-3-16-148410-0, RFC 2822, 1000000007",
        "@decorator def f(a: int) -> A[1::2]",
        "password = 'password'  secret_key = os.environ['SECRET_KEY']",
        "std::vector<int>::iterator 12:30:45:99",
        "git clone git@github.com:team/tool.git, then ssh://git@gitlab.org/team/tool.git",
        "scp plan.pdf marta@depot.firma.de:/srv and ssh root@db1.firma.de, sftp -P 22 jo@host.org",
        "the user is git@github.com and the remote jo@host.org:team/tool",
        "logo@2x.png, W@x.T.reshape(3), npm i @scope/pkg@1.2.3",
        "order 4111111111111111, IMEI 490154203237518, EAN 4006381333931, 6799990100000000019",
        "Part No. 0345-123456, part number 800-555-0199, id 415-555-0132, order 0345-123456",
        "10 000 000 people called 300 times; reached 1 234 567 users; the cell 12 345 678 divides",
        "the office is at 17031 2202 Rissik Street; office 365 2024 edition; home 2019-2020 season",
        "matrix = 300 400 5000, array [00 10 20 30 40 50], call 10 functions 20 30",
        "version 22.4.10.2, pip install a==12.3.4.5, Chrome/112.0.1.2, firmware: 15.1.2.3, section 12.4.3.2",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert kinds(text) == []


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Phone:\n555 0142", "Phone:\n<phone>"),
        ("Call us (+44 20 7946 0958) or write.", "Call us (<phone>) or write."),
        ("In Berlin (+49 30 901820) ask.", "In Berlin (<phone>) ask."),
        ("call me on 555 0142 99", "call me on <phone>"),
        ("Mobile no. 9876543210", "Mobile no. <phone>"),
        ("my number is 5550142", "my number is <phone>"),
        ("Rückruf unter Telefon 171 2345678 erbeten", "Rückruf unter Telefon <phone> erbeten"),
        ("llámeme al 912 345 678", "llámeme al <phone>"),
        ("T: 555 0142", "T: <phone>"),
        ("21 253 109 8211-Office, 555 0142 (fax)", "<phone>-Office, <phone> (fax)"),
        ('<a href="tel:+1-201-555-0123">', '<a href="tel:<phone>">'),
        ("IBAN DE89 3704 0044 0532 0130 00 with love", "IBAN <iban> with love"),
        ("IBAN NO93 8601 1117 947 and", "IBAN <iban> and"),
        ("write to jo@firma.de: it works", "write to <email>: it works"),
        ("debit card 6799990100000000019", "debit card <card>"),
        ("ping 8.8.8.8", "ping <ip>"),
    ],
)
def test_what_stands_beside_it_decides(text: str, masked: str) -> None:
    assert mask_pii(text, find_pii(text)) == masked


def test_a_secret_is_known_by_the_name_it_is_assigned_to() -> None:
    assert kinds('api_key = "q8Zt4LmN0pXw7RvY"') == [("key", "q8Zt4LmN0pXw7RvY")]
    assert kinds('"client-secret": "q8Zt4LmN0pXw7RvY"') == [("key", "q8Zt4LmN0pXw7RvY")]
    assert kinds('colour = "q8Zt4LmN0pXw7RvY"') == []
    assert kinds('api_key = "aaaaaaaaaaaaaaa1"') == []


def test_masking_replaces_exactly_what_was_found() -> None:
    text = "Ada (ada@engine.org) paid with 4111 1111 1111 1111."
    found = find_pii(text)
    assert mask_pii(text, found) == "Ada (<email>) paid with <card>."
    assert excerpt(text, found[1]) == "41…11 (19 characters)"
    assert find_pii(mask_pii(text, found)) == []


@pytest.mark.skipif(not SYNTHETIC.exists(), reason="the public data is not here")
def test_precision_and_recall_on_labelled_sentences() -> None:
    """Floors as measured; what is missed is bare local numbers, and cards of no known issuer."""
    names = {"PHONE_NUMBER": "phone", "CREDIT_CARD": "card", "IBAN_CODE": "iban", "EMAIL_ADDRESS": "email"}
    hits: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for row in map(json.loads, lzma.decompress(SYNTHETIC.read_bytes()).splitlines()):
        labelled = [
            (names[span["entity_type"]], span["start_position"], span["end_position"])
            for span in row["spans"]
            if span["entity_type"] in names
        ]
        there.update(kind for kind, _, _ in labelled)
        for found in find_pii(row["text"]):
            right = any(k == found.kind and found.start < end and start < found.end for k, start, end in labelled)
            (hits if right else wrong)[found.kind] += 1
    recall = {kind: hits[kind] / there[kind] for kind in there}
    assert not wrong
    assert recall["email"] == recall["iban"] == 1
    assert recall["card"] >= 0.98
    assert recall["phone"] >= 0.95
