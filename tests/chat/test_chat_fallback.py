"""The first model that works, the first whose window is long enough, and models by name or URL."""

from __future__ import annotations

import pytest
from chat_servers import ASK, CHAT, OK, Scripted, chunk

from seedbed.chat.failures import RemoteError
from seedbed.chat.fallback import Fallback
from seedbed.chat.local import LocalModel
from seedbed.chat.messages import Message
from seedbed.chat.open_model import first_that_fits, is_url, open_model
from seedbed.chat.remote import RemoteModel
from seedbed.chat.transport import Retries
from seedbed.core.artifacts import Library
from seedbed.core.errors import CapacityError, NotFoundError, SeedbedError, UsageError

ONCE = Retries(attempts=1)


@pytest.fixture
def down() -> RemoteModel:
    return RemoteModel("http://127.0.0.1:9", "down", window=99, retries=ONCE)


def test_the_next_model_answers_where_one_does_not(down: RemoteModel, local: LocalModel) -> None:
    both = Fallback([down, local])
    assert both.reply(ASK, max_tokens=5, seed=1) == local.reply(ASK, max_tokens=5, seed=1)
    assert list(both.stream(ASK, max_tokens=5, seed=1)) == list(local.stream(ASK, max_tokens=5, seed=1))
    assert both.name in ("down|tiny", "tiny")


def test_the_first_model_answers_where_it_does(scripted: Scripted, local: LocalModel) -> None:
    assert Fallback([scripted.says(OK).model(), local]).reply(ASK).text == "hi"


def test_a_model_that_failed_is_asked_last_for_a_while(scripted: Scripted, local: LocalModel) -> None:
    scripted.says((503, {}, b""))
    patient = Fallback([RemoteModel(scripted.url, "m", retries=ONCE), local], rest=3600)
    for _ in range(3):
        patient.reply(ASK, max_tokens=1)
    assert scripted.paths == [CHAT]
    hasty = Fallback([RemoteModel(scripted.url, "m", retries=ONCE), local], rest=0)
    for _ in range(3):
        hasty.reply(ASK, max_tokens=1)
    assert scripted.paths == [CHAT] * 4


def test_a_stream_falls_back_before_its_first_piece_only(scripted: Scripted, local: LocalModel) -> None:
    scripted.says((200, {}, [b'data: {"error": {"message": "broken"}}\n\n']), (200, {}, [chunk("o"), None]))
    both = Fallback([scripted.model(), local], rest=0)
    expected = [one.text for one in local.stream(ASK, max_tokens=5, seed=1)]
    assert [one.text for one in both.stream(ASK, max_tokens=5, seed=1)] == expected
    stream = both.stream(ASK, max_tokens=5)
    assert next(stream).text == "o"
    with pytest.raises(RemoteError):
        list(stream)


def test_the_caller_s_mistakes_are_told_at_once(scripted: Scripted, local: LocalModel) -> None:
    scripted.says(OK)
    both = Fallback([local, scripted.model()])
    with pytest.raises(UsageError, match="out of range"):
        both.reply(ASK, top_p=2)
    with pytest.raises(UsageError, match="there are no messages"):
        list(both.stream([]))
    assert scripted.asked == []


def test_a_prompt_that_is_too_long_for_one_goes_to_the_next(local: LocalModel, short: LocalModel) -> None:
    long = [Message("user", "x" * 500)]
    both = Fallback([short, local])
    assert both.reply(long, max_tokens=2, seed=1).model == "tiny"
    assert both.reply(ASK, max_tokens=2, seed=1).model == "short"  # it does not rest for that


def test_where_none_answers_all_reasons_are_told(down: RemoteModel, short: LocalModel, scripted: Scripted) -> None:
    long = [Message("user", "x" * 500)]
    with pytest.raises(SeedbedError) as mixed:
        Fallback([down, short]).reply(long)
    assert type(mixed.value) is SeedbedError
    assert "127.0.0.1:9" in mixed.value.why
    assert "256 are allowed" in mixed.value.why
    with pytest.raises(CapacityError, match="none of the models answers"):
        Fallback([short, short]).reply(long)
    with pytest.raises(RemoteError, match="does not answer"):
        Fallback([down]).reply(ASK)


def test_windows_and_counts_hold_for_whichever_answers(
    scripted: Scripted, local: LocalModel, short: LocalModel, down: RemoteModel
) -> None:
    rough = scripted.at("/tokenize", {}, 404).at("/v1/models", {"data": []}).model(window=300)
    three = Fallback([local, rough, short])
    assert three.context_window == 256
    assert three.count_tokens("abcdef") == 6  # a byte a token; the other guesses 2
    assert three.count_prompt(ASK) == local.count_prompt(ASK)
    assert three.name == "tiny|m|short"
    assert Fallback([down, local]).count_tokens("abc") == 3
    with pytest.raises(RemoteError):
        Fallback([down]).count_tokens("abc")


def test_a_list_without_models() -> None:
    with pytest.raises(UsageError):
        Fallback([])
    with pytest.raises(UsageError):
        first_that_fits([], ASK)


def test_the_first_window_that_holds_prompt_and_reply(local: LocalModel, short: LocalModel) -> None:
    both = [short, local]
    free = 256 - short.count_prompt(ASK)
    assert first_that_fits(both, ASK, free) is short
    assert first_that_fits(both, ASK, free + 1) is local
    with pytest.raises(CapacityError) as raised:
        first_that_fits(both, ASK, 1024)
    assert "short holds 256 of" in raised.value.why


def test_models_by_name_or_url(library: Library, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEEDBED_KEY", raising=False)
    assert isinstance(open_model("tiny", library), LocalModel)
    assert not is_url("tiny")
    scripted.says(OK).at("/v1/models", {"data": [{"id": "only"}]})
    named, alone = open_model(f"{scripted.url}#org/name", window=5), open_model(scripted.url, key="k")
    assert (named.name, named.context_window, alone.name) == ("org/name", 5, "only")
    assert scripted.asked[-1][1]["Authorization"] == "Bearer k"
    assert "Authorization" not in scripted.asked[0][1]
    with pytest.raises(NotFoundError):
        open_model("nobody", library)
    with pytest.raises(UsageError):
        open_model("ftp://host")
