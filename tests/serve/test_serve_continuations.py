"""A continuation is what the ids of prompt and reply together decode to beyond the prompt: its first space included."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from click.testing import CliRunner
from serving import SMALL, Live

from seedbed.chat.reply_builder import StreamDecoder
from seedbed.cli.main import cli
from seedbed.core.artifacts import Library
from seedbed.formats.huggingface.tokenizer import open_tokenizer
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer

LINES = ["the old mill stands by the river", "a river runs by the old mill", "the mill stands still by day"] * 9
PATH = "/v1/completions"


def oracle() -> sentencepiece.SentencePieceProcessor:
    """A model of LLaMA's kind: a space before the first word, bytes for unknown characters."""
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=made, vocab_size=310, model_type="bpe", byte_fallback=True,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())


@pytest.fixture(scope="module")
def theirs() -> sentencepiece.SentencePieceProcessor:
    return oracle()


@pytest.fixture(scope="module")
def tokenizer(theirs: sentencepiece.SentencePieceProcessor, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("sentencepiece")
    (folder / "tokenizer.model").write_bytes(theirs.serialized_model_proto())
    config = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return open_tokenizer(folder)


@pytest.fixture(scope="module")
def home(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with a decoder whose every next token follows from the last one alone: the next id."""
    root = tmp_path_factory.mktemp("home")
    size = tokenizer.vocab_size
    shape = {"d_model": 384, "n_layers": 1, "n_heads": 4, "max_length": 256, "tied": False}
    model = Decoder(ModelConfig(vocab_size=size, **shape)).eval()
    for parameter in model.parameters():
        parameter.data.zero_()
    model.norm.weight.data.fill_(1.0)
    model.embedding.weight.data[:, :size] = torch.eye(size)
    words = [one for one in range(size) if tokenizer.token_bytes(one).startswith(b" ") and one not in (0, 1, 2)]
    for place, word in enumerate(words):  # any token is followed by a word, and words by each other
        model.output.weight.data[words[(place + 1) % len(words)], word] = 1.0
    others = [one for one in range(size) if one not in words]
    model.output.weight.data[words[0], others] = 1.0
    with Library(root).writing("model", name="tiny") as draft:
        save_model(draft.path, model, tokenizer)
    return root


@pytest.fixture(scope="module")
def live(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    one = Live(Library(home), tmp_path_factory.mktemp("serve"), SMALL)
    yield one
    one.close()


@pytest.mark.parametrize("text", [LINES[0], "  two spaces", "naïve 日本 mill"])
def test_parts_of_a_text_join_to_what_sentencepiece_decodes(
    theirs: sentencepiece.SentencePieceProcessor, tokenizer: Tokenizer, text: str
) -> None:
    """Cut between any two words; cut inside a character of several bytes neither side has it whole."""
    ids = theirs.encode(text)
    assert tokenizer.encode(text) == ids
    for cut in range(1, len(ids)):
        before = theirs.decode(ids[:cut])
        decoder = StreamDecoder(tokenizer, [tokenizer.bos_id, *ids[:cut]])
        after = "".join(map(decoder.push, ids[cut:])) + decoder.flush()
        if "\ufffd" not in before:
            assert tokenizer.decode(ids[:cut]) == before
            assert before + after == theirs.decode(ids)


@pytest.mark.parametrize(("kind", "size"), [("wordpiece", 48), ("word", 18)])
def test_so_with_other_tokenizers_that_mark_first_words(kind: Any, size: int) -> None:
    tokenizer = train_tokenizer(LINES, TokenizerSettings(kind=kind, vocab_size=size))
    ids = tokenizer.encode(LINES[0])
    for cut in range(1, len(ids)):
        decoder = StreamDecoder(tokenizer, ids[:cut])
        assert tokenizer.decode(ids[:cut]) + "".join(map(decoder.push, ids[cut:])) == tokenizer.decode(ids)


def test_a_reply_s_own_beginning_has_no_space(tokenizer: Tokenizer) -> None:
    """After nothing, or after special tokens alone, a text begins."""
    word = tokenizer.encode("mill")
    for before in ((), [tokenizer.bos_id], [tokenizer.bos_id, tokenizer.end_id]):
        assert "".join(map(StreamDecoder(tokenizer, before).push, word)) == "mill"


def test_run_continues_with_the_space_between_words(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_HOME", str(home))
    found = CliRunner().invoke(cli, ["run", "tiny", "the old mill", "--temperature", "0", "--max-tokens", "3"])
    assert found.exit_code == 0
    assert found.stdout.startswith(" ")
    assert len(found.stdout.split()) >= 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("echo", [False, True])
def test_completions_continue_with_it_echoed_streamed_and_cut_by_a_stop_string(
    live: Live, theirs: sentencepiece.SentencePieceProcessor, tokenizer: Tokenizer, stream: bool, echo: bool
) -> None:
    prompt = "the old mill"
    body = {"prompt": prompt, "max_tokens": 4, "temperature": 0, "echo": echo, "logprobs": 0, "stream": stream}
    response = live.post(PATH, **body)
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
    choices = [one for part in (map(json.loads, lines) if stream else [response.json()]) for one in part["choices"]]
    text = "".join(choice["text"] for choice in choices)
    pieces = [one for choice in choices if choice["logprobs"] for one in choice["logprobs"]["tokens"]]
    offsets = [one for choice in choices if choice["logprobs"] for one in choice["logprobs"]["text_offset"]]
    reply = pieces[len(tokenizer.encode_prompt(prompt)) if echo else 0 :]
    assert text == (prompt if echo else "") + "".join(reply)
    assert reply[0].startswith(" ")
    for piece, offset in zip(reply, offsets[-len(reply) :], strict=True):
        assert text[offset : offset + len(piece)] == piece
    assert live.ok(PATH, **{**body, "stream": False, "stop": [" "], "echo": False})["choices"][0]["text"] == ""
