"""Published models round the rows of their embeddings up: ids that no token has are never drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seedbed.chat.local import continue_text
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.inference.beam import prefill
from seedbed.inference.engine_client import make_client
from seedbed.inference.parameters import Grammar, Sampling
from seedbed.inference.runners.making import known_ids
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import LoadedModel, load_model, save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer

PADDING = 10


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A model that would always choose an id beyond its tokenizer's."""
    tokenizer = train_tokenizer(["abc"], TokenizerSettings("byte"))
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size + PADDING, d_model=16, n_layers=1, n_heads=2, max_length=64, tied=False
    )
    model = Decoder(config)
    with torch.no_grad():
        model.output.weight[tokenizer.vocab_size :] = 50 * model.output.weight[:PADDING]
    with Library(tmp_path_factory.mktemp("library")).writing("model") as draft:
        save_model(draft.path, model, tokenizer)
    return load_model(draft.result)


SAMPLINGS = {
    "greedy": Sampling(max_tokens=20, temperature=0),
    "greedy with log-probabilities": Sampling(max_tokens=20, temperature=0, top_logprobs=5),
    "sampled": Sampling(max_tokens=20, temperature=2.0, top_p=1.0, top_k=0, min_p=0.0, seed=1),
    "beams": Sampling(max_tokens=6, temperature=0, beams=3),
    "a grammar": Sampling(max_tokens=20, temperature=1.0, seed=1, grammar=Grammar("regex", "[a-z]{3,9}")),
}


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", SAMPLINGS)
def test_only_ids_of_the_tokenizer_are_drawn(padded: LoadedModel, name: str, fast: bool) -> None:
    known = known_ids(padded)
    assert known == padded.tokenizer.vocab_size == padded.model.config.vocab_size - PADDING
    generator = make_client(padded, fast=fast)
    for prompt in ("a", "b", "xyz"):
        tokens = list(generator.stream(padded.tokenizer.encode_prompt(prompt), SAMPLINGS[name]))
        assert tokens
        assert all(token.id < known and token.logprob <= 0 for token in tokens)
        assert all(index < known for token in tokens for index, _ in token.top)
        assert all(isinstance(part.text, str) for part in continue_text(padded, prompt, SAMPLINGS[name], generator))


def test_without_a_limit_the_padding_would_be_drawn(padded: LoadedModel) -> None:
    model = padded.model
    logits, _ = prefill(model, padded.tokenizer.encode_prompt("a"), model.new_state(1, 64))
    assert int(logits[0].argmax()) >= padded.tokenizer.vocab_size


def test_ids_of_the_padding_are_no_prompt(padded: LoadedModel) -> None:
    with pytest.raises(UsageError, match="not in the model's vocabulary"):
        list(make_client(padded).stream([padded.tokenizer.vocab_size], SAMPLINGS["greedy"]))


def test_a_tokenizer_with_more_tokens_than_rows_is_refused(padded: LoadedModel, tmp_path: Path) -> None:
    small = Decoder(ModelConfig(vocab_size=100, d_model=16, n_layers=1, n_heads=2, max_length=64))
    with pytest.raises(UsageError, match="the tokenizer is not the model's"):
        save_model(tmp_path, small, padded.tokenizer)
    assert isinstance(padded.tokenizer, Tokenizer)
