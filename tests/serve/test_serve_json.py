"""Bodies: strict JSON in UTF-8, counted before it is parsed, the same under every spelling of its type."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from serving import SMALL, Live

from seedbed.serve import json_body
from seedbed.serve.errors import ApiError
from seedbed.serve.json_body import MOST_KEYS, MOST_NESTED, MOST_VALUES, BodyShares, read_json

ASK = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1, "seed": 1}
PLAIN = json.dumps(ASK).encode()
TYPES = ["application/json", "Application/JSON", "application/json; charset=utf-7", "text/plain; charset=UTF-16", ""]


@pytest.mark.parametrize("declared", TYPES)
@pytest.mark.parametrize(
    "body",
    [
        PLAIN.decode().encode("utf-16"),
        PLAIN.decode().encode("utf-16-le"),
        PLAIN.decode().encode("utf-32"),
        b"\xef\xbb\xbf" + PLAIN,
        PLAIN.replace(b"hi", b"\xed\xa0\x80"),
        PLAIN.replace(b"hi", b"\xed\xa0\xbd\xed\xb2\xa9"),
        PLAIN.replace(b"hi", b"\\ud800"),
        PLAIN.replace(b"hi", b"\xc0\x80"),
        b'{"model": "other", ' + PLAIN[1:],
        PLAIN.replace(b'"role"', b'"role": "system", "role"'),
        PLAIN.replace(b": 1", b": 1e999", 1),
        PLAIN.replace(b'{"model"', b'+AHs-"model"'),
    ],
    ids=range(12),
)
def test_no_spelling_of_the_type_lets_other_bytes_in(live: Live, declared: str, body: bytes) -> None:
    answer = live.client.post("/v1/chat/completions", content=body, headers={"Content-Type": declared})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"].startswith("the body is not JSON")


@pytest.mark.parametrize(
    "body",
    [
        "[" + ",".join(["[1]"] * MOST_NESTED) + "]",
        "[" + ",".join(["{}"] * MOST_NESTED) + "]",
        "[" + "1," * MOST_VALUES + "1]",
        "{" + ",".join(f'"k{one}":1' for one in range(MOST_KEYS)) + "}",
        '{"a\\"' + "[" * MOST_NESTED + '":[' + ",".join(["[1]"] * MOST_NESTED) + "]}",
    ],
    ids=["lists", "objects", "values", "keys", "beside a text"],
)
def test_parts_are_counted_before_any_is_made(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body.json, "loads", lambda *_, **__: pytest.fail("it was parsed"))
    with pytest.raises(ApiError, match="too many"):
        read_json(body.encode(), 64)


def test_signs_in_a_text_are_no_parts() -> None:
    text = '[{:,"\\' * MOST_VALUES
    assert read_json(json.dumps({"a": text, "b": [1, text[:9]]}).encode(), 64) == {"a": text, "b": [1, text[:9]]}


@pytest.mark.parametrize("unit", ['"', '\\"', '"\\', "\\", '"\\"', "[,"])
def test_counting_takes_time_with_the_length_only(unit: str) -> None:
    """Texts that do not end, and halves of escapes, once began a scan anew at each quotation mark."""
    body = ('[[,"' + unit * (4_000_000 // len(unit))).encode()
    began = time.process_time()
    with pytest.raises(ApiError):
        read_json(b"[" * MOST_NESTED + body, 64)
    assert time.process_time() - began < 5


def test_a_body_with_many_parts_does_not_hold_the_others(live: Live) -> None:
    flood = b"[" + b",".join([b"[1]"] * 600_000) + b"]"
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(live.client.post, "/tokenize", content=flood)
        with live.connect(live.key) as other:
            waits = []
            while not sent.done():
                began = time.perf_counter()
                assert other.get("/health").status_code == 200
                waits.append(time.perf_counter() - began)
    assert sent.result().status_code == 400
    assert max(waits, default=0) < 1


def test_an_owner_holds_half_of_the_bytes_and_another_half_of_the_rest() -> None:
    shares = BodyShares(80)
    assert [sum(shares.take(owner, 10) for _ in range(9)) for owner in "abc"] == [4, 2, 1]
    for _ in range(4):
        shares.give_back("a", 10)
    assert shares.take("b", 10)


def test_bodies_beyond_a_keys_share_are_refused_and_counted_no_longer_afterwards(start: Callable[..., Live]) -> None:
    live = start(replace(SMALL, bodies_bytes=10_000))
    assert live.client.post("/tokenize", content=b" " * 6_000).status_code == 429
    for _ in range(5):
        assert live.client.post("/tokenize", content=b" " * 4_000).status_code == 400
