"""The edge: streamed text is the decoded reply, stop strings may span tokens, long conversations lose old turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.chat.local import LocalModel, continue_text
from seedbed.chat.memory import fit_window
from seedbed.chat.messages import Message
from seedbed.chat.rendering import PromptEncoder, plain_messages
from seedbed.chat.reply_builder import StopScanner
from seedbed.core.artifacts import Library
from seedbed.core.errors import CapacityError
from seedbed.inference.engine_client import end_ids
from seedbed.inference.parameters import Sampling
from seedbed.models.decoder import Decoder
from seedbed.models.store import LoadedModel
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer

TEXTS = ["Größe, naïve café, 日本語のテキスト, 🌱 seeds in a bed. " * 5]
ANY = Sampling(temperature=3.0, max_tokens=100, seed=0)


def _text(loaded: LoadedModel, prompt: str, sampling: Sampling) -> str:
    return "".join(part.text for part in continue_text(loaded, prompt, sampling))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, TokenizerSettings(kind="byte"))


@pytest.fixture
def loaded(tokenizer: Tokenizer, make_decoder: Callable[..., Decoder], tmp_path: Path) -> LoadedModel:
    with Library(tmp_path).writing("model") as draft:
        pass
    return LoadedModel(make_decoder(vocab_size=tokenizer.vocab_size), tokenizer, draft.result)


@pytest.mark.parametrize("seed", range(5))
def test_streamed_text_is_the_decode_of_all_ids(loaded: LoadedModel, seed: int) -> None:
    """Random bytes: most characters are cut or wrong, which streaming must show as decoding does."""
    pieces = list(continue_text(loaded, [0], Sampling(temperature=3.0, max_tokens=100, seed=seed)))
    ids = [piece.token.id for piece in pieces]
    assert "".join(piece.text for piece in pieces) == loaded.tokenizer.decode(ids)
    assert any(piece.text for piece in pieces)
    assert [piece.token.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].token.finish in ("end", "length")


def test_generate_text_continues_the_encoded_prompt(loaded: LoadedModel) -> None:
    ids = [loaded.tokenizer.bos_id, *loaded.tokenizer.encode("Größe")]
    assert loaded.tokenizer.encode_prompt("Größe") == ids
    pieces = continue_text(loaded, ids, ANY)
    assert _text(loaded, "Größe", ANY) == "".join(piece.text for piece in pieces)


def test_chat_reply_answers_the_rendered_conversation(loaded: LoadedModel) -> None:
    messages = [{"role": "user", "content": "日本"}]
    ids, _ = loaded.tokenizer.encode_chat(messages, add_generation_prompt=True)
    expected = "".join(piece.text for piece in continue_text(loaded, ids, ANY))
    assert expected
    assert LocalModel(loaded, sampling=ANY).reply([Message("user", "日本")]).text == expected


def test_a_stop_string_across_tokens_ends_the_reply_before_it(loaded: LoadedModel) -> None:
    sampling = Sampling(temperature=3.0, max_tokens=100, seed=0)
    whole = _text(loaded, "a", sampling)
    stop = whole[6:9]
    assert len(loaded.tokenizer.encode(stop)) > 1
    sampling = replace(sampling, stop=("never said", stop))
    pieces = list(continue_text(loaded, loaded.tokenizer.encode_prompt("a"), sampling))
    assert "".join(piece.text for piece in pieces) == whole[: whole.index(stop)]
    assert pieces[-1].token.finish == "stop"


def test_every_special_token_ends_a_reply(tokenizer: Tokenizer) -> None:
    assert end_ids(tokenizer) == tokenizer.special_ids
    words = train_tokenizer(
        ["some words in a text, and some more words"], TokenizerSettings("word", 16, min_frequency=1)
    )
    assert words.unk_id is not None
    assert end_ids(words) == words.special_ids - {words.unk_id}
    assert words.end_id in end_ids(words)


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.data())
def test_the_scanner_shows_what_comes_before_the_first_stop(text: str, stops: list[str], data: st.DataObject) -> None:
    cuts = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=10))})
    scanner, shown, stopped = StopScanner(stops), "", False
    for start, end in pairwise(cuts):
        piece, stopped = scanner.push(text[start:end])
        shown += piece
        if stopped:
            break
    shown += scanner.flush()
    # A stop string that ends first is found first; within one push the earliest beginning wins.
    endings = [text.find(stop) + len(stop) for stop in stops if stop in text]
    assert stopped == bool(endings)
    if stopped:
        assert any(text.startswith(shown + stop) for stop in stops)
        assert not any(stop in shown for stop in stops)
    else:
        assert shown == text


def test_the_scanner_holds_back_only_what_may_begin_a_stop() -> None:
    scanner = StopScanner(["</answer>"])
    assert scanner.push("yes </ans") == ("yes ", False)
    assert scanner.push("on 3 <") == ("</anson 3 ", False)
    assert scanner.flush() == "<"


def conversation(turns: int, system: str = "") -> list[Message]:
    said = [Message("system", system)] if system else []
    for turn in range(turns):
        said += [Message("user", f"q{turn} " * 5), Message("assistant", f"a{turn} " * 5)]
    return [*said, Message("user", "last")]


@pytest.mark.parametrize("system", ["", "be brief"])
def test_old_turns_are_left_out_until_the_rest_fits(tokenizer: Tokenizer, system: str) -> None:
    messages = conversation(6, system)
    first = 1 if system else 0
    prompts = PromptEncoder(tokenizer, 128)
    view = fit_window(messages, prompts, 20)
    ids, cut = prompts.encode(view.messages), view.left_out
    assert cut > 0
    assert cut % 2 == 0
    kept = messages[:first] + messages[first + cut :]
    assert ids == tokenizer.encode_chat(plain_messages(kept), add_generation_prompt=True)[0]
    assert len(ids) <= 108
    one_more = messages[:first] + messages[first + cut - 2 :]
    assert len(tokenizer.encode_chat(plain_messages(one_more), add_generation_prompt=True)[0]) > 108


def test_a_conversation_that_fits_is_whole(tokenizer: Tokenizer) -> None:
    messages = conversation(2)
    view = fit_window(messages, PromptEncoder(tokenizer, 400), 300)
    assert (view.messages, view.left_out) == (tuple(messages), 0)


def test_a_question_that_cannot_fit_says_so(tokenizer: Tokenizer) -> None:
    with pytest.raises(CapacityError, match=r"has \d+ tokens, 48 are allowed"):
        fit_window([Message("user", "x" * 60)], PromptEncoder(tokenizer, 64), 999)
