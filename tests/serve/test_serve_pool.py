"""Several models: loaded when asked for, the longest unused one leaves when memory is needed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from serving import SMALL, Live, add_model

from seedbed.core.artifacts import Library

ROOM = 20 << 20  # for one model and its cache of 16 MiB


def ask(live: Live, model: str, **body: object) -> int:
    return live.post("/v1/completions", model=model, prompt="x", max_tokens=1, **body).status_code


def test_models_are_loaded_when_asked_for(start: Callable[..., Live]) -> None:
    live = start()
    assert live.state.pool.stats() == {}
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda name: ask(live, name), ["tiny", "other"] * 8)) == {200}
    assert set(live.state.pool.stats()) == {"tiny", "other"}


def test_the_longest_unused_model_makes_room(start: Callable[..., Live]) -> None:
    live = start(replace(SMALL, memory_bytes=ROOM))
    for name in ("tiny", "other", "tiny"):
        assert ask(live, name) == 200
        assert set(live.state.pool.stats()) == {name}


def test_of_two_models_the_longer_unused_leaves(start: Callable[..., Live], library: Library) -> None:
    """By use, not by loading: first the one that was loaded first goes, then the one that was loaded last."""
    add_model(library, "third", 9)
    live = start(replace(SMALL, memory_bytes=2 * ROOM))
    for name in ("tiny", "other", "tiny", "other", "third"):
        assert ask(live, name) == 200
    assert set(live.state.pool.stats()) == {"other", "third"}
    for name in ("third", "other", "tiny"):
        assert ask(live, name) == 200
    assert set(live.state.pool.stats()) == {"other", "tiny"}
    (library.root / "refs" / "third").unlink()


def test_a_model_in_use_stays(start: Callable[..., Live]) -> None:
    live = start(replace(SMALL, memory_bytes=ROOM))
    body = {"model": "tiny", "prompt": "x", "max_tokens": 400, "ignore_eos": True, "stream": True}
    with live.client.stream("POST", "/v1/completions", json=body) as response:
        lines = response.iter_lines()
        next(lines)
        refused = live.post("/v1/completions", model="other", prompt="x")
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "no_memory"
        assert list(lines)[-2] == "data: [DONE]"
    live.until(lambda: ask(live, "other") == 200)


def test_a_model_that_never_fits_is_refused(start: Callable[..., Live]) -> None:
    live = start(replace(SMALL, memory_bytes=1 << 20))
    assert [ask(live, "tiny"), ask(live, "tiny")] == [503, 503]


def test_only_named_models_are_served(start: Callable[..., Live]) -> None:
    live = start(models=("other",))
    assert [model["id"] for model in live.client.get("/v1/models").json()["data"]] == ["other"]
    assert (ask(live, "other"), ask(live, "tiny")) == (200, 404)


def test_a_name_that_moves_is_followed(start: Callable[..., Live], library: Library) -> None:
    live, moved = start(), "moving"
    add_model(library, moved, 5)
    first = live.ok("/v1/completions", model=moved, prompt="x", seed=1, temperature=0)
    add_model(library, moved, 6)
    second = live.ok("/v1/completions", model=moved, prompt="x", seed=1, temperature=0)
    other = live.ok("/v1/completions", model="other", prompt="x", seed=1, temperature=0)
    (library.root / "refs" / moved).unlink()
    assert second["choices"] == other["choices"]
    assert first["system_fingerprint"] != second["system_fingerprint"] == other["system_fingerprint"]
