"""Encoder–decoders that write, against transformers' generate on the same random weights, through files on disk."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import PreTrainedModel

from seedbed.chat.messages import Delta
from seedbed.chat.reply_builder import ReplyBuilder, deltas_of
from seedbed.core.artifacts import Library
from seedbed.core.errors import CapacityError, UsageError
from seedbed.formats.importing import import_model
from seedbed.inference.parameters import Grammar, Sampling
from seedbed.inference.seq2seq import Rules, Seq2Seq
from seedbed.models.config import EncoderDecoderConfig, ModelConfig
from seedbed.models.encoder_decoder import EncoderDecoder
from seedbed.models.store import load_any, save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

TOKENIZER = train_tokenizer(["seeds in a bed of seeds, größer 🌱"] * 4, TokenizerSettings(kind="byte"))
BOS, END, PAD = TOKENIZER.bos_id, TOKENIZER.end_id, TOKENIZER.pad_id
IDS = {"vocab_size": TOKENIZER.vocab_size, "bos_token_id": BOS, "eos_token_id": END, "pad_token_id": PAD}
HALVES = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 4, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 40, "decoder_ffn_dim": 48, "max_position_embeddings": 64,
}  # fmt: skip
T5 = {"d_model": 32, "d_kv": 12, "num_heads": 3, "d_ff": 40, "num_layers": 2, "num_decoder_layers": 2}
PAIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": ("T5", {**T5, "decoder_start_token_id": PAD, "relative_attention_num_buckets": 8}),
    "flan": (
        "T5",
        {**T5, "decoder_start_token_id": PAD, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "bart": ("Bart", {**HALVES, "decoder_start_token_id": END, "forced_bos_token_id": BOS, "forced_eos_token_id": END}),
    "marian": (
        "Marian",
        {**HALVES, "decoder_start_token_id": PAD, "forced_eos_token_id": END, "activation_function": "swish"},
    ),
}  # fmt: skip
CLASSES = {"T5": "T5ForConditionalGeneration", "Bart": "BartForConditionalGeneration", "Marian": "MarianMTModel"}
SOURCE = "translate: seeds in a bed"
GREEDY = Sampling(temperature=0, max_tokens=24)


def parts(ours: Seq2Seq, sampling: Sampling) -> list[Delta]:
    """The target of the source text, as it is written."""
    return list(deltas_of(ours.stream(ours.source(SOURCE), sampling), ReplyBuilder(TOKENIZER, sampling.stop)))


def random_pair(kind: str) -> PreTrainedModel:
    """Weights large enough that predictions differ; ending is likely, so that beams end at different lengths."""
    name, shape = PAIRS[kind]
    torch.manual_seed(len(kind))
    config = getattr(transformers, f"{name}Config")(**IDS, **shape)
    model: PreTrainedModel = getattr(transformers, CLASSES[name])(config).eval()
    for key, parameter in model.named_parameters():
        if parameter.ndim > 1 and "embed_positions" not in key:
            parameter.data.normal_(0.0, 0.4 if "relative" not in key else 1.0)
    model.generation_config.bad_words_ids = [[PAD]]
    return model


@pytest.fixture(scope="module", params=list(PAIRS))
def twins(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, Seq2Seq]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp(request.param)
    theirs = random_pair(request.param)
    theirs.save_pretrained(folder / request.param)
    TOKENIZER.save(folder / request.param)
    return theirs, Seq2Seq(load_any(import_model(Library(folder / "home"), folder / request.param, "pair")))


def generated(model: PreTrainedModel, source: list[int], **options: Any) -> list[int]:
    """A target by transformers, without its start."""
    ids: list[int] = model.generate(torch.tensor([source]), do_sample=False, **options)[0].tolist()[1:]
    return ids


def written(ours: Seq2Seq, source: list[int], sampling: Sampling) -> list[int]:
    return [token.id for token in ours.stream(source, sampling)]


@pytest.mark.parametrize("text", [SOURCE, "größer 🌱", "a"])
def test_greedy_targets_are_theirs(twins: tuple[PreTrainedModel, Seq2Seq], text: str) -> None:
    theirs, ours = twins
    source = ours.source(text)
    assert written(ours, source, GREEDY) == generated(theirs, source, max_new_tokens=24, num_beams=1)
    expected = generated(theirs, source, max_new_tokens=24, num_beams=1, repetition_penalty=3.0)
    assert written(ours, source, replace(GREEDY, repetition_penalty=3.0)) == expected
    assert len(expected) == 24 or expected[-1] == END
    assert len(set(expected)) > min(4, len(expected) - 1)  # random weights repeat themselves without the penalty


@pytest.mark.parametrize(("beams", "length", "penalty"), [(2, 8, 1.0), (4, 16, 0.5), (3, 16, 2.0), (5, 3, 1.0)])
def test_beams_are_theirs(twins: tuple[PreTrainedModel, Seq2Seq], beams: int, length: int, penalty: float) -> None:
    theirs, ours = twins
    for text in (SOURCE, "bed", "of seeds, in"):
        source = ours.source(text)
        options = {"num_beams": beams, "max_new_tokens": length, "length_penalty": penalty, "early_stopping": False}
        sampling = Sampling(temperature=0, max_tokens=length, beams=beams, length_penalty=penalty)
        assert written(ours, source, sampling) == generated(theirs, source, **options)


def test_log_probabilities_are_those_of_a_whole_forward(twins: tuple[PreTrainedModel, Seq2Seq]) -> None:
    theirs, ours = twins
    source = ours.source(SOURCE)
    for sampling in (GREEDY, Sampling(temperature=0, max_tokens=12, beams=3), Sampling(max_tokens=12, seed=4)):
        tokens = list(ours.stream(source, sampling))
        target = [ours.rules.start, *(token.id for token in tokens)]
        with torch.no_grad():
            logits = theirs(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([target])).logits[0]
        expected = [float(row.log_softmax(-1)[one]) for row, one in zip(logits, target[1:], strict=False)]
        assert [token.logprob for token in tokens] == pytest.approx(expected, abs=1e-4)
        assert [token.finish for token in tokens[:-1]] == [None] * (len(tokens) - 1)
        assert tokens[-1].finish == ("end" if tokens[-1].id == END else "length")


def test_drawing_is_reproducible_and_follows_the_temperature(twins: tuple[PreTrainedModel, Seq2Seq]) -> None:
    _, ours = twins
    source = ours.source(SOURCE)
    drawn = [written(ours, source, Sampling(temperature=2.0, max_tokens=16, seed=seed)) for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len({tuple(one) for one in drawn}) == 3
    assert PAD not in set(itertools.chain(*drawn))
    assert written(ours, source, Sampling(top_k=1, max_tokens=24, seed=7)) == written(ours, source, GREEDY)


def test_text_comes_in_pieces_and_ends_at_a_stop(twins: tuple[PreTrainedModel, Seq2Seq]) -> None:
    _, ours = twins
    sampling = Sampling(temperature=3.0, seed=5, max_tokens=24, ignore_end=True)
    pieces = parts(ours, sampling)
    ids = written(ours, ours.source(SOURCE), sampling)
    text = "".join(piece.text for piece in pieces)
    assert text == TOKENIZER.decode(ids)
    assert (len(pieces), pieces[-1].token.finish) == (24, "length")
    stop = text[2:4]
    stopped = "".join(piece.text for piece in parts(ours, replace(sampling, stop=(stop,))))
    assert stopped == text[: text.index(stop)]


def test_going_past_the_end(twins: tuple[PreTrainedModel, Seq2Seq]) -> None:
    _, ours = twins
    tokens = list(ours.stream(ours.source(SOURCE), Sampling(temperature=1.5, seed=0, max_tokens=30, ignore_end=True)))
    assert (len(tokens), tokens[-1].finish) == (30, "length")


def test_what_cannot_be_read_is_refused(twins: tuple[PreTrainedModel, Seq2Seq]) -> None:
    theirs, ours = twins
    with pytest.raises(UsageError, match="empty"):
        ours.stream([], GREEDY)
    with pytest.raises(UsageError, match="vocabulary"):
        ours.stream([TOKENIZER.vocab_size], GREEDY)
    with pytest.raises(UsageError, match="grammar"):
        ours.stream([1], replace(GREEDY, grammar=Grammar("regex", "a+")))
    long = [5] * 700
    if theirs.config.model_type == "t5":  # relative positions have no end
        assert written(ours, long, GREEDY) == generated(theirs, long, max_new_tokens=24, num_beams=1)
    else:
        with pytest.raises(CapacityError):
            ours.stream(long, GREEDY)


def test_a_forced_token_stands_alone_and_the_last_place_wins() -> None:
    rules = Rules(0, frozenset([1]), first=2, last=1, never=(3,))
    scores = torch.randn(2, 5)
    for written_so_far, limit, forced in ((0, 9, 2), (8, 9, 1), (0, 1, 1)):
        found = rules.adjust(scores, written_so_far, limit)
        assert found[:, forced].tolist() == [0, 0]
        assert torch.isinf(found).sum() == 8
    found = rules.adjust(scores, 4, 9)
    assert torch.isinf(found[:, 3]).all()
    assert torch.equal(found[:, [0, 1, 2, 4]], scores[:, [0, 1, 2, 4]])


def store(library: Library, published: dict[str, Any] | None = None) -> Seq2Seq:
    """One of ours, as training would store it."""
    half = {"vocab_size": TOKENIZER.vocab_size, "d_model": 16, "n_layers": 1, "n_heads": 2, "max_length": 32}
    encoder = ModelConfig(causal=False, head="none", **half)
    model = EncoderDecoder(EncoderDecoderConfig(encoder, ModelConfig(cross=True, **half)))
    model.initialise(1)
    with library.writing("model", name="own") as draft:
        save_model(draft.path, model, TOKENIZER, published=published)
    return Seq2Seq(load_any(draft.result))


def test_a_model_of_ours_starts_and_ends_as_its_tokenizer_says(tmp_path: Path) -> None:
    ours = store(Library(tmp_path))
    assert ours.rules == Rules(BOS, frozenset([END]))
    assert len(written(ours, ours.source("seeds"), replace(GREEDY, max_tokens=500))) <= 32


def test_generation_config_comes_before_config(tmp_path: Path) -> None:
    config = {"decoder_start_token_id": 3, "eos_token_id": 4, "forced_bos_token_id": 5}
    generation = {
        "decoder_start_token_id": 6,
        "eos_token_id": [7, 8],
        "bad_words_ids": [[9], [1, 2]],
        "suppress_tokens": [2],
    }
    ours = store(Library(tmp_path), {"config": config, "generation": generation})
    assert ours.rules == Rules(6, frozenset([7, 8]), first=5, never=(2, 9))


def test_rules_with_tokens_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="decoder_start_token_id is 999999"):
        store(Library(tmp_path), {"config": {"decoder_start_token_id": 999999}})
    with pytest.raises(UsageError, match="eos_token_id is 'x'"):
        store(Library(tmp_path), {"config": {"eos_token_id": "x"}})


def test_other_models_are_refused(tmp_path: Path) -> None:
    from serving import add_model

    library = Library(tmp_path)
    add_model(library, "decoder", 1)
    with pytest.raises(UsageError, match="does not write one text from another"):
        Seq2Seq(load_any(library.get("decoder")))
