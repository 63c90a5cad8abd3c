"""The lm-eval harness's `local-completions` model: log-likelihoods through HTTP are those of our own evaluation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from conftest import Endpoint
from seedbed.core.artifacts import Library
from seedbed.corpus.pack import TokenSplit
from seedbed.evaluation.bits_per_byte import measure
from seedbed.models.store import LoadedModel, load_model

pytest.importorskip("lm_eval")
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI

pytestmark = pytest.mark.slow

CONTEXT = 64
DOCUMENTS = (
    "Größe, naïve café.",
    "日本語のテキスト",
    "A seed does not know what it will be; the bed does not either. " * 6,  # several windows
)
PAIRS = (
    ("The capital of France is", " Paris"),
    ("The capital of France is", " a seed bed"),
    ("Größe", ", naïve café"),
    ("", "日本語"),
)


@pytest.fixture(scope="module")
def sharp(server: Endpoint) -> LoadedModel:
    return load_model(Library(server.home).get("sharp", "model"))


@pytest.fixture(params=[1, 4], ids=["one by one", "four at once"])
def harness(server: Endpoint, sharp: LoadedModel, monkeypatch: pytest.MonkeyPatch, request: Any) -> LocalCompletionsAPI:
    """As `lm_eval --model local-completions` makes it; a model's folder is a tokenizer that transformers reads."""
    monkeypatch.setenv("OPENAI_API_KEY", server.key)
    return LocalCompletionsAPI(
        model="sharp",
        base_url=f"{server.base_url}/completions",
        tokenizer=str(sharp.artifact.path),
        tokenizer_backend="huggingface",
        max_length=CONTEXT + 2,  # its windows are two tokens shorter
        num_concurrent=request.param,
    )


def test_documents_have_the_log_likelihoods_of_our_evaluation(harness: LocalCompletionsAPI, sharp: LoadedModel) -> None:
    """Ours pays for a document's end too, so the harness is asked for it as text."""
    tokenizer = sharp.tokenizer
    ids = [[tokenizer.bos_id, *tokenizer.encode(text), tokenizer.end_id] for text in DOCUMENTS]
    starts = np.cumsum([0, *map(len, ids[:-1])])
    sizes = np.array([len(text.encode()) for text in DOCUMENTS])
    split = TokenSplit((np.concatenate(ids).astype(np.uint16),), starts, sizes)
    ours = -measure(sharp.model, split, context=CONTEXT, stride=CONTEXT).document_bits * math.log(2)
    texts = [text + harness.tokenizer.eos_token for text in DOCUMENTS]
    requests = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in texts]
    theirs = np.array(harness.loglikelihood_rolling(requests, disable_tqdm=True))
    print("documents, nats:", theirs, "largest difference:", np.abs(theirs - ours).max())
    assert np.abs(theirs - ours).max() < 1e-4


@torch.inference_mode()
def test_continuations_have_the_models_own_log_likelihoods(harness: LocalCompletionsAPI, sharp: LoadedModel) -> None:
    requests = [Instance("loglikelihood", {}, pair, 0) for pair in PAIRS]
    for (before, after), (found, is_greedy) in zip(PAIRS, harness.loglikelihood(requests), strict=True):
        given = sharp.tokenizer.encode(before) or [sharp.tokenizer.bos_id]
        wanted = sharp.tokenizer.encode(after)
        logits = sharp.model(torch.tensor([given + wanted]))[0][0, len(given) - 1 : -1]
        chosen = logits.log_softmax(-1)[torch.arange(len(wanted)), torch.tensor(wanted)]
        print(repr(before + after), "difference:", abs(found - float(chosen.sum())))
        assert abs(found - float(chosen.sum())) < 1e-4
        assert is_greedy == (logits.argmax(-1).tolist() == wanted)
