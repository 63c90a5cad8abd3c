"""LongRoPE on both sides of its threshold and across it, as transformers: short factors first, then all of it anew."""

from __future__ import annotations

import pytest
import torch
import transformers

from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.formats.importing import import_model
from seedbed.inference.engine import Engine
from seedbed.inference.engine_client import EngineClient
from seedbed.inference.parameters import Sampling
from seedbed.inference.runner import Runner
from seedbed.inference.runners.cpu import CpuRunner
from seedbed.inference.runners.torch import TorchRunner
from seedbed.models.store import LoadedModel, load_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

ORIGINAL, WINDOW = 70, 256  # a threshold that no block ends at
TOKENIZER = train_tokenizer(["seeds in a bed of seeds"] * 4, TokenizerSettings(kind="byte"))
Theirs = transformers.Phi3ForCausalLM


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Theirs, LoadedModel]:
    """Factors so far apart that a position with the wrong ones changes the best token."""
    folder = tmp_path_factory.mktemp("longrope")
    torch.manual_seed(0)
    scaling = {"rope_type": "longrope", "short_factor": [1.0, 1.1, 1.3, 1.5], "long_factor": [1.5, 2.0, 3.0, 4.0]}
    config = transformers.Phi3Config(
        vocab_size=TOKENIZER.vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=WINDOW, original_max_position_embeddings=ORIGINAL,
        rope_parameters={**scaling, "rope_theta": 10000.0, "original_max_position_embeddings": ORIGINAL},
        pad_token_id=0, bos_token_id=0, eos_token_id=None, sliding_window=None,
    )  # fmt: skip
    theirs = Theirs(config).eval()
    for parameter in theirs.parameters():
        if parameter.ndim == 2:
            parameter.data.normal_(0.0, 0.3)
    theirs.save_pretrained(folder)
    TOKENIZER.save(folder)
    return theirs, load_model(import_model(Library(folder / "home"), folder, "long"))


def prompt(length: int, seed: int = 0) -> list[int]:
    return torch.randint(10, 250, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def runner(kind: str, loaded: LoadedModel) -> Runner:
    if kind == "kernel":
        return CpuRunner(loaded.model)
    return TorchRunner(loaded.model, rows=1 if kind == "torch" else None)


def expected(theirs: Theirs, ids: list[int], count: int) -> list[int]:
    with torch.no_grad():
        found = theirs.generate(torch.tensor([ids]), max_new_tokens=count, do_sample=False, eos_token_id=None)
    return [int(one) for one in found[0, len(ids) :]]


def written(client: EngineClient, ids: list[int], count: int) -> list[int]:
    sampling = Sampling(temperature=0, max_tokens=count, ignore_end=True)
    return [token.id for token in client.stream(ids, sampling)]


@pytest.mark.parametrize("length", [1, ORIGINAL - 1, ORIGINAL, ORIGINAL + 1, 200])
def test_logits_are_those_of_transformers(models: tuple[Theirs, LoadedModel], length: int) -> None:
    theirs, loaded = models
    ids = torch.tensor([prompt(length)])
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids)[0], theirs(ids).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["kernel", "torch", "torch in batches"])
@pytest.mark.parametrize("length", [20, ORIGINAL - 5, ORIGINAL, ORIGINAL + 1, 150])
def test_replies_are_those_of_transformers_below_across_and_above(
    models: tuple[Theirs, LoadedModel], kind: str, length: int
) -> None:
    """20 + 30 tokens stay below, 65 + 30 cross; the same again, from what prefixes the engine has kept."""
    theirs, loaded = models
    client, ids = EngineClient(Engine(runner(kind, loaded), ())), prompt(length)
    wanted = expected(theirs, ids, 30)
    assert written(client, ids, 30) == wanted
    assert written(client, ids, 30) == wanted


@pytest.mark.parametrize("kind", ["kernel", "torch", "torch in batches"])
def test_sequences_on_both_sides_are_computed_together_and_share_only_their_own_keys(
    models: tuple[Theirs, LoadedModel], kind: str
) -> None:
    """One long text and the short one it begins with: their first blocks hold other keys for the same tokens."""
    theirs, loaded = models
    client, text = EngineClient(Engine(runner(kind, loaded), ())), prompt(150)
    prompts = [text, text[:66], text[:30], text[:69]]
    sampling = Sampling(temperature=0, max_tokens=20, ignore_end=True)
    for _ in range(2):
        streams = [client.stream(ids, sampling) for ids in prompts]
        found: list[list[int]] = [[] for _ in prompts]
        for _ in range(20):
            for place, stream in enumerate(streams):
                found[place].append(next(stream).id)
        assert found == [expected(theirs, ids, 20) for ids in prompts]


@pytest.mark.parametrize("kind", ["kernel", "torch"])
def test_scores_and_vectors_take_the_factors_of_the_whole_text(models: tuple[Theirs, LoadedModel], kind: str) -> None:
    theirs, loaded = models
    client = EngineClient(Engine(runner(kind, loaded), ()))
    for length in (ORIGINAL, ORIGINAL + 3):
        ids = prompt(length)
        with torch.no_grad():
            out = theirs(torch.tensor([ids]), output_hidden_states=True)
        rows = out.logits[0].log_softmax(-1)[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        assert client.prompt_logprobs(ids) == pytest.approx(rows.tolist(), abs=1e-3)
        torch.testing.assert_close(client.embed(ids), out.hidden_states[-1][0].mean(0), rtol=1e-4, atol=1e-4)


def test_guesses_do_not_cross_the_threshold(models: tuple[Theirs, LoadedModel]) -> None:
    """A text that repeats itself invites guesses of many tokens at once."""
    theirs, loaded = models
    ids = prompt(8) * 8
    assert written(EngineClient(Engine(CpuRunner(loaded.model), ())), ids, 30) == expected(theirs, ids, 30)


def test_beams_that_would_cross_are_refused(models: tuple[Theirs, LoadedModel]) -> None:
    _, loaded = models
    client = EngineClient(Engine(CpuRunner(loaded.model), ()), decoder=loaded.model)
    with pytest.raises(UsageError, match="beams") as refused:
        client.stream(prompt(ORIGINAL - 5), Sampling(beams=2, max_tokens=30, temperature=0))
    assert "at most 6 tokens" in refused.value.fix
    assert list(client.stream(prompt(ORIGINAL - 5), Sampling(beams=2, max_tokens=6, temperature=0)))
