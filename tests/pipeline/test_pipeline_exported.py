"""The whole chain: train, export, read with other programs, and write the same tokens greedily."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from seedbed.app.transfer import export_published, import_published
from seedbed.core.artifacts import Library
from seedbed.models.store import load_model
from seedbed.pipeline.recipe import load_recipe
from seedbed.pipeline.run import run_recipe

pytestmark = pytest.mark.slow
Logits = Callable[[list[int]], Tensor]
WORDS = "river boat light morning road letters house clock garden paints follows carries forgets and the a"
PROMPTS = ["The river", "seven letters", "A", "the clock forgets", "house", "morning light and the road"]
COUNT = 32


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A library with a model called story, trained until its tokens are not all alike."""
    folder, chance = tmp_path_factory.mktemp("text"), random.Random(3)
    words = WORDS.split()
    for number in range(30):  # rounds of the same words, each from another place: something to learn in a minute
        starts = [chance.randrange(len(words)) for _ in range(20)]
        rounds = [" ".join(words[start:] + words[:start]) + "." for start in starts]
        (folder / f"{number}.txt").write_text(" ".join(rounds))
    model = ("depth=2", "context=128", "d_model=128", "n_heads=1", "n_kv_heads=1")
    told = ["name=story", f'corpus.sources=[{{name = "stories", path = "{folder}"}}]', "corpus.near_duplicate=0.0"]
    told += ["tokenizer.vocab_size=320"]
    told += [f"pretrain.model.{one}" for one in model]
    training = ("steps=60", "batch=4", "evaluate_every=60", "evaluate_batches=2", "sample_seconds=0.0")
    told += [f"pretrain.{one}" for one in training]
    whole, made = load_recipe(None, told), Library(tmp_path_factory.mktemp("home"))
    needed = ("corpus", "tokenizer", "tokens", "pretrain")
    run_recipe(replace(whole, stage=tuple(one for one in whole.stage if one.title in needed)), made)
    return made


def greedy(logits: Logits, ids: list[int]) -> list[int]:
    found = list(ids)
    for _ in range(COUNT):
        found.append(int(logits(found).argmax()))
    return found[len(ids) :]


def ours(library: Library, path: Path) -> Logits:
    name, _ = import_published(library, path, "returned")
    model = load_model(library.get(name)).model
    return lambda ids: model(torch.tensor([ids]))[0][0, -1]


def theirs(library: Library, path: Path) -> Logits:
    where = {"gguf_file": path.name} if path.suffix else {}
    place = path.parent if path.suffix else path
    model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **where).eval()
    return lambda ids: model(torch.tensor([ids])).logits[0, -1]


def llama_cpp(library: Library, path: Path) -> Logits:
    api = pytest.importorskip("llama_cpp", reason="llama_cpp is not installed")
    # float32 keys and values, one thread
    model = api.Llama(str(path), n_ctx=128, n_threads=1, logits_all=True, type_k=0, type_v=0, verbose=False)

    def logits(ids: list[int]) -> Tensor:
        model.reset()
        model.eval(ids)
        return torch.from_numpy(model.scores[len(ids) - 1].copy())

    return logits


@pytest.mark.parametrize(
    ("reader", "form"), [(ours, "hf"), (ours, "gguf"), (theirs, "hf"), (theirs, "gguf"), (llama_cpp, "gguf")]
)
def test_what_was_trained_writes_the_same_tokens_elsewhere(
    library: Library, tmp_path: Path, reader: Callable[[Library, Path], Logits], form: str
) -> None:
    folder = tmp_path / "out"
    made = export_published(library, "story", form, folder, "f32" if form == "gguf" else None)  # type: ignore[arg-type]
    (path,) = [folder / name for name in made.files if name.endswith(".gguf")] or [folder]
    kept = load_model(library.get("story"))
    read = reader(library, path)
    with torch.inference_mode():
        wanted = [
            greedy(lambda ids: kept.model(torch.tensor([ids]))[0][0, -1], kept.tokenizer.encode_prompt(prompt))
            for prompt in PROMPTS
        ]
        found = [greedy(read, kept.tokenizer.encode_prompt(prompt)) for prompt in PROMPTS]
    assert found == wanted
    assert len({token for reply in wanted for token in reply}) > 12  # else equal replies would say little
