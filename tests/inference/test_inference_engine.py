"""The engine over a pure function of the tokens: whatever arrives when, every reply is what it would be alone."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hash_runner import VOCABULARY, HashRunner, run_all, solo, tokens_of
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.core.errors import CapacityError, NotFoundError, UsageError
from seedbed.inference.engine import Engine, EngineLimits
from seedbed.inference.parameters import Grammar, Sampling
from seedbed.inference.request import DeadlineError, QueueFull, Request
from seedbed.inference.runner import BLOCK

ENDS = [3]
GREEDY = Sampling(temperature=0, max_tokens=20)
ENGINES = [
    pytest.param({"exact": True}, id="exact"),
    pytest.param({"exact": False}, id="inexact"),
    pytest.param({"exact": False, "paged": False}, id="recurrent"),
]


def ids(count: int, seed: int) -> tuple[int, ...]:
    return tuple(random.Random(seed).choices(range(VOCABULARY), k=count))


def some_sampling(pick: random.Random, most: int = 80) -> Sampling:
    """Any options."""
    return Sampling(
        max_tokens=pick.randint(1, most),
        temperature=pick.choice([0, 0, 0.7, 1.5]),
        top_k=pick.choice([0, 5]),
        top_p=pick.choice([1.0, 0.8]),
        min_p=pick.choice([0.0, 0.05]),
        repetition_penalty=pick.choice([1.0, 1.2]),
        frequency_penalty=pick.choice([0.0, 0.3]),
        presence_penalty=pick.choice([0.0, -0.3]),
        logit_bias=pick.choice([(), ((5, 3.0), (6, -100.0))]),
        top_logprobs=pick.choice([0, 0, 3]),
        ignore_end=pick.choice([False, True]),
        seed=pick.randrange(1000),
    )


def some_request(pick: random.Random, name: str) -> Request:
    """Prompts begin alike, so that prefixes are shared, at the edges of blocks too."""
    shared = ids(pick.choice([0, 63, 64, 65, 128, 150]), seed=1)
    prompt = shared + ids(pick.choice([0, 1, 30, 64]) or (not shared), seed=pick.randrange(3))
    adapter = pick.choice([None, None, "tuned"])
    salt, owner = pick.choice(["", "key"]), pick.choice("abc")
    return Request(name, prompt, some_sampling(pick), salt=salt, adapter=adapter, owner=owner)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([{"exact": True}, {"exact": False}, {"exact": False, "paged": False}]))
def test_replies_do_not_depend_on_arrivals_aborts_and_preemptions(seed: int, kind: dict[str, bool]) -> None:
    pick = random.Random(seed)
    runner = HashRunner(**kind, block_count=pick.choice([5, 7, 12, 40]), memory=pick.choice([3, 10_000]))
    limits = EngineLimits(max_running=pick.choice([1, 3, 8]), step_tokens=pick.choice([80, 300]))
    engine = Engine(runner, ENDS, limits=limits)
    requests = [some_request(pick, str(name)) for name in range(10)]
    arrivals = sorted((pick.randint(0, 60), request.id) for request in requests)
    aborts = {request.id: pick.randint(0, 80) for request in requests if pick.random() < 0.2}
    events: dict[str, list] = {request.id: [] for request in requests}
    step = 0
    while arrivals or not engine.idle:
        while arrivals and arrivals[0][0] <= step:
            engine.add(requests[int(arrivals.pop(0)[1])])
        for event in engine.step():
            events[event.request_id].append(event)
        for name in [name for name, when in aborts.items() if when == step]:
            engine.abort(name)
        step += 1
        assert step < 20_000, "nothing goes on"
    for request in requests:
        expected, got = solo(runner, request, ENDS), tokens_of(events[request.id])
        assert got == expected[: len(got)]
        assert len(got) == len(expected) or request.id in aborts
    assert engine.stats().free_blocks == runner.block_count
    assert not runner.states


@pytest.mark.parametrize("kind", ENGINES)
def test_a_full_cache_preempts_the_youngest_and_changes_nothing(kind: dict[str, bool]) -> None:
    runner = HashRunner(**kind, block_count=6)
    engine = Engine(runner, [])
    requests = [Request(str(n), ids(40, seed=n), Sampling(max_tokens=150, seed=n)) for n in range(3)]
    for request in requests:
        engine.add(request)
    events = run_all(engine)
    assert engine.stats().preemptions > 0
    for request in requests:
        assert tokens_of(events[request.id]) == solo(runner, request)
    finished = list(events)  # in order of their first token, which is the order of arrival
    assert finished == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("kind", "reply", "hits"),
    [({"exact": True}, 70, 192), ({"exact": True}, 62, 128), ({"exact": False}, 70, 128)],
)
def test_a_conversation_goes_on_from_its_cached_beginning(kind: dict[str, bool], reply: int, hits: int) -> None:
    """Reply positions are shared only where their bits reproduce, and the last token of a reply is never computed."""
    runner = HashRunner(**kind)
    engine = Engine(runner, [])
    first = Request("a", ids(130, seed=1), Sampling(max_tokens=reply, seed=0))
    engine.add(first)
    said = [token.id for token in tokens_of(run_all(engine)["a"])]
    second = Request("b", (*first.prompt, *said, *ids(9, seed=2)), GREEDY)
    engine.add(second)
    assert tokens_of(run_all(engine)["b"]) == solo(runner, second)
    assert engine.stats().prefix_hits == hits


def test_a_prompt_that_is_cached_whole_still_computes_its_last_block() -> None:
    engine = Engine(HashRunner(exact=False), [])
    for name in "ab":
        engine.add(Request(name, ids(128, seed=1), GREEDY))
        run_all(engine)
    assert engine.stats().prefix_hits == 64


@pytest.mark.parametrize("other", [{"salt": "theirs"}, {"adapter": "tuned"}])
def test_other_keys_and_adapters_share_nothing(other: dict[str, str]) -> None:
    engine = Engine(HashRunner(exact=True), [])
    request = Request("a", ids(200, seed=1), GREEDY)
    engine.add(request)
    run_all(engine)
    engine.add(replace(request, id="b", **other))
    run_all(engine)
    assert engine.stats().prefix_hits == 0


@pytest.mark.parametrize("other", [{"salt": "another"}, {"owner": "another"}, {"owner": "another", "salt": "3"}])
def test_one_key_cannot_starve_another(other: dict[str, str]) -> None:
    engine = Engine(HashRunner(exact=True), [], limits=EngineLimits(max_running=2))
    for name in range(10):
        engine.add(Request(f"many{name}", ids(5, seed=name), Sampling(temperature=0, max_tokens=10)))
    engine.add(Request("few", ids(5, seed=99), GREEDY, **other))
    ended = []
    while not engine.idle:
        ended += [event.request_id for event in engine.step() if event.token and event.token.finish]
    assert ended.index("few") <= 3  # it came eleventh
    assert [name for name in ended if name != "few"] == [f"many{name}" for name in range(10)]


def test_running_replies_go_on_while_a_long_prompt_is_read() -> None:
    runner = HashRunner(exact=True)
    engine = Engine(runner, [], limits=EngineLimits(max_running=2, step_tokens=100), speculate=False)
    engine.add(Request("short", ids(5, seed=1), Sampling(temperature=0, max_tokens=30)))
    engine.step()
    engine.add(Request("long", ids(900, seed=2), GREEDY))
    names = [[event.request_id for event in engine.step()] for _ in range(11)]
    assert names[:9] == [["short"]] * 9
    assert names[9] == ["short", "long"]  # 99 rows a step are left for 900 tokens


def test_readers_of_replies_do_not_wait_for_whole_prompts() -> None:
    """Alone, a prompt of 900 tokens takes two steps of 512; beside a reply, 128 of its tokens a step."""
    for beside, steps in ((False, 2), (True, 8)):
        engine = Engine(HashRunner(exact=True), [], limits=EngineLimits(max_running=2), speculate=False)
        if beside:
            engine.add(Request("short", ids(5, seed=1), Sampling(temperature=0, max_tokens=30)))
            engine.step()
        engine.add(Request("long", ids(900, seed=2), GREEDY))
        names = [{event.request_id for event in engine.step()} for _ in range(steps)]
        assert ["long" in step for step in names] == [False] * (steps - 1) + [True]
        assert all("short" in step for step in names) == beside


def test_echo_gives_the_prompts_own_log_probabilities() -> None:
    runner = HashRunner(exact=True)
    engine = Engine(runner, [])
    request = Request("a", ids(150, seed=4), Sampling(temperature=0, max_tokens=3, top_logprobs=2), echo=True)
    for name in "ab":  # the second time the prompt is cached, and must be read all the same
        engine.add(replace(request, id=name))
    events = run_all(engine)
    for name in "ab":
        first, *rest = events[name]
        assert first.prompt_logprobs[0] is None
        assert len(first.prompt_logprobs) == 150
        assert all(event.prompt_logprobs is None for event in rest)
        assert tokens_of(events[name]) == solo(runner, request)
    everything = Sampling(temperature=0, max_tokens=1, top_logprobs=20)
    seen = 0
    for place in range(1, 150):
        top = solo(runner, replace(request, prompt=request.prompt[:place], sampling=everything))[0].top
        assert first.prompt_top[place - 1] == top[:2]
        if request.prompt[place] in dict(top):
            seen += 1
            assert first.prompt_logprobs[place] == dict(top)[request.prompt[place]]
    assert seen > 50


def test_echo_survives_preemption_half_way() -> None:
    """The older reply takes the spare block, and when it needs another one the long prompt is not read to its end."""
    runner = HashRunner(exact=True, block_count=81, max_length=6000, memory=3)
    engine = Engine(runner, [], speculate=False)
    older = Request("older", ids(62, seed=1), Sampling(temperature=0, max_tokens=150))
    long = Request("long", ids(5000, seed=2), Sampling(temperature=0, max_tokens=2), echo=True)
    for request in (older, long):
        engine.add(request)
    events = run_all(engine)
    assert engine.stats().preemptions == 1
    assert len(events["long"][0].prompt_logprobs) == 5000
    assert tokens_of(events["older"]) == solo(runner, older)
    assert tokens_of(events["long"]) == solo(runner, long)


def test_a_full_window_ends_a_reply_that_repeats_itself() -> None:
    """Guesses must not reach beyond the window either; the runner of this test refuses positions outside."""
    runner = HashRunner(exact=True, memory=1, max_length=150)
    engine = Engine(runner, [])
    request = Request("a", ids(20, seed=1), Sampling(temperature=0, max_tokens=1000))
    engine.add(request)
    assert tokens_of(run_all(engine)["a"]) == solo(runner, request)
    assert engine.stats().accepted > 0


def test_a_reply_past_its_deadline_ends_with_an_error_and_frees_everything() -> None:
    runner = HashRunner(exact=True)
    engine = Engine(runner, [])
    engine.add(Request("late", ids(100, seed=1), GREEDY, deadline=time.monotonic() - 1))
    engine.add(Request("well", ids(100, seed=2), GREEDY, deadline=time.monotonic() + 1000))
    events = run_all(engine)
    assert [type(event.error) for event in events["late"]] == [DeadlineError]
    assert len(tokens_of(events["well"])) == 20
    assert engine.stats().free_blocks == runner.block_count


@pytest.mark.parametrize("after", [0, 1, 5])
def test_an_abort_frees_the_blocks(after: int) -> None:
    runner = HashRunner(exact=True)
    engine = Engine(runner, [])
    engine.add(Request("a", ids(200, seed=1), GREEDY))
    for _ in range(after):
        engine.step()
    assert (engine.stats().free_blocks < runner.block_count) == (after > 0)
    engine.abort("a")
    engine.abort("never seen")
    assert engine.idle
    assert engine.step() == []
    assert engine.stats().free_blocks == runner.block_count


@pytest.mark.parametrize(("length", "hits"), [(2 * BLOCK - 1, BLOCK), (2 * BLOCK, BLOCK), (2 * BLOCK + 1, 2 * BLOCK)])
def test_of_a_known_prompt_at_least_one_token_is_computed(length: int, hits: int) -> None:
    """Its logits are what the reply begins with; a prompt of whole blocks is the case that could lack them."""
    engine = Engine(HashRunner(exact=True, block_count=60), [])
    for name in "ab":
        engine.add(Request(name, ids(length, seed=3), GREEDY))
        assert tokens_of(run_all(engine)[name])
    assert engine.stats().prefix_hits == hits


def test_who_is_preempted_goes_on_before_who_waited() -> None:
    """Seven blocks hold two texts up to 192 tokens; the third, which would fit, came after the second."""
    engine = Engine(HashRunner(exact=True, block_count=7), [], limits=EngineLimits(max_running=2), speculate=False)
    long = Sampling(temperature=0, max_tokens=100)
    for name, length in (("a", 2 * BLOCK), ("b", 2 * BLOCK), ("c", 20)):
        engine.add(Request(name, ids(length, seed=ord(name)), long))
    order = [event.request_id for _ in range(400) for event in engine.step()]
    assert engine.stats().preemptions == 1
    last = len(order) - 1 - order[::-1].index("a")
    assert order.index("c") > last
    assert [order.count(name) for name in "abc"] == [100] * 3


def test_an_owner_has_half_of_the_queue_and_another_half_of_the_rest() -> None:
    engine = Engine(HashRunner(exact=True), [], limits=EngineLimits(max_waiting=8, max_waiting_tokens=200))

    def places(owner: str, length: int) -> int:
        count = 0
        with pytest.raises(QueueFull) as caught:  # noqa: PT012 (how many come before it is what is asked)
            for count in range(10):
                name, salt = f"{owner} {length} {count}", str(count)
                engine.add(Request(name, ids(length, seed=1), GREEDY, salt=salt, owner=owner))
        assert 1 <= caught.value.retry_after <= 60
        return count

    assert [places(owner, 1) for owner in "abc"] == [4, 2, 1]
    engine.step()  # all are admitted
    assert [places(owner, 40) for owner in "abc"] == [3, 1, 1]
    with pytest.raises(QueueFull, match="your share"):
        engine.add(Request("d", ids(1, seed=1), GREEDY, owner="d"))


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"prompt": ()}, UsageError, "empty"),
        ({"prompt": (1, VOCABULARY)}, UsageError, "token id 32"),
        ({"prompt": ids(129, seed=0)}, CapacityError, "129 tokens, 128 are allowed"),
        ({"adapter": "unknown"}, NotFoundError, "no adapter unknown"),
        ({"sampling": Sampling(beams=2, temperature=0)}, UsageError, "beams"),
        ({"sampling": Sampling(logit_bias=((VOCABULARY, 1.0),))}, UsageError, "token 32"),
        ({"sampling": Sampling(grammar=Grammar("regex", "a"))}, UsageError, "no grammars"),
    ],
)
def test_what_cannot_be_honoured_is_refused_at_once(changes: dict, error: type[Exception], said: str) -> None:
    engine = Engine(HashRunner(exact=True, block_count=2), [])
    with pytest.raises(error, match=said):
        engine.add(replace(Request("a", (1, 2), GREEDY), **changes))
    assert engine.idle


def test_an_id_in_use_is_refused_and_free_again_afterwards() -> None:
    engine = Engine(HashRunner(exact=True), [])
    engine.add(Request("a", (1, 2), GREEDY))
    with pytest.raises(UsageError, match="running"):
        engine.add(Request("a", (1, 2), GREEDY))
    run_all(engine)
    engine.add(Request("a", (1, 2), GREEDY))


def test_the_cache_ends_a_reply_as_a_full_window_does() -> None:
    engine = Engine(HashRunner(exact=True, block_count=2), [])
    engine.add(Request("a", ids(120, seed=1), Sampling(temperature=0, max_tokens=1000)))
    tokens = tokens_of(run_all(engine)["a"])
    assert len(tokens) == 2 * BLOCK - 120 + 1
    assert tokens[-1].finish == "length"


def test_the_end_token_ends_unless_it_is_ignored() -> None:
    runner = HashRunner(exact=True)
    request = Request("a", ids(9, seed=1), Sampling(temperature=1, seed=3, max_tokens=100))
    plain = [token.id for token in solo(runner, request)]
    engine = Engine(runner, [plain[6]])
    engine.add(request)
    assert [token.id for token in tokens_of(run_all(engine)["a"])] == plain[: plain.index(plain[6]) + 1]
    engine.add(replace(request, sampling=replace(request.sampling, ignore_end=True)))
    assert [token.id for token in tokens_of(run_all(engine)["a"])] == plain


def test_top_logprobs_are_best_first_and_hold_the_token() -> None:
    engine = Engine(HashRunner(exact=True), [])
    engine.add(Request("a", (1, 2), Sampling(temperature=0, max_tokens=5, top_logprobs=4)))
    for token in tokens_of(run_all(engine)["a"]):
        assert token.top[0] == (token.id, token.logprob)
        assert len(token.top) == 4
        assert all(one[1] >= other[1] for one, other in pairwise(token.top))
