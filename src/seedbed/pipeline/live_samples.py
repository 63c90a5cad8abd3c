"""Live samples: what a model writes while it is trained."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seedbed.chat.local import LocalModel, continue_text
from seedbed.chat.messages import Message
from seedbed.inference.engine_client import make_client
from seedbed.inference.parameters import Sampling
from seedbed.models.decoder import Decoder
from seedbed.models.factory import AnyModel
from seedbed.models.store import LoadedModel
from seedbed.tokenizers.tokenizer import Tokenizer

LIVE_SAMPLE = Sampling(max_tokens=40, temperature=0.7, top_k=50, seed=0)


def live_sample(
    model: AnyModel, tokenizer: Tokenizer, prompts: Sequence[Sequence[Mapping[str, Any]]]
) -> Callable[[], str] | None:
    """Return a function that lets a decoder answer a prompt, another one each time, or continue from nothing.

    None for models that do not continue texts.
    """
    if not isinstance(model, Decoder):
        return None
    loaded, turn = LoadedModel(model, tokenizer, None), itertools.count()  # type: ignore[arg-type]

    def sample() -> str:
        client = make_client(loaded, fast=False)
        if not prompts:
            return "".join(delta.text for delta in continue_text(loaded, "", LIVE_SAMPLE, client))
        asked = prompts[next(turn) * 7919 % len(prompts)]
        writer = LocalModel(loaded, client, name="live", sampling=LIVE_SAMPLE)
        reply = writer.reply([Message.from_wire(message) for message in asked])
        return f"{asked[-1]['content']} → {reply.text}"

    return sample
