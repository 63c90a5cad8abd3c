"""What a published model must say here: as `transformers` says it, whole, padded, and step by step."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from family_cases import LENGTH, ids
from torch import Tensor
from transformers import PreTrainedModel

from seedbed.formats.safetensors.shards import open_safetensors
from seedbed.models.decoder import Decoder
from seedbed.models.encoder_decoder import EncoderDecoder
from seedbed.models.factory import AnyModel, skeleton
from seedbed.models.families.registry import read_published
from seedbed.models.families.tied_embeddings import resolve_tied
from seedbed.models.families.weight_mapping import fill
from seedbed.models.task_model import TaskModel

RELATIVE = 2e-5
REAL = torch.arange(LENGTH) < torch.tensor([[LENGTH], [LENGTH - 9]])
"""(2, LENGTH): the second text is shorter, and padded at its end."""


def loaded(folder: Path) -> tuple[AnyModel, str, tuple[str, ...]]:
    """Our model of a published folder, its family's name, and what was left over."""
    published = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    checkpoint = open_safetensors(folder)
    family, config = read_published(published)
    config = resolve_tied(
        family, config, checkpoint.names(), lambda a, b: torch.equal(checkpoint.read(a), checkpoint.read(b))
    )
    model = skeleton(config)
    left = fill(model, checkpoint, family.table(config), spellings=family.spellings, ignored=family.ignored)
    assert not any(parameter.is_meta for parameter in model.parameters())
    return model.eval(), family.name, left


def assert_same(found: Tensor, expected: Tensor) -> None:
    scale = float(expected.abs().max())
    assert scale > 0.3  # the comparison is of something
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) / scale < RELATIVE


def theirs(model: PreTrainedModel, **inputs: Tensor) -> Tensor:
    """What their model puts out, as ours does."""
    out = model(**inputs)
    if "start_logits" in out:
        return torch.stack([out.start_logits, out.end_logits], -1)
    for name in ("prediction_logits", "logits"):
        if name in out:
            return out[name]  # type: ignore[no-any-return]
    return out.last_hidden_state  # type: ignore[no-any-return]


def check_decoder(ours: Decoder, model: PreTrainedModel) -> None:
    """A whole text; and token by token with a cache, as far as all of it has the same rotary factors (LongRoPE)."""
    tokens = ids((2, LENGTH))
    for part in (tokens, tokens[:, : ours.config.switch_length]):
        expected = theirs(model, input_ids=part, attention_mask=torch.ones_like(part))
        assert_same(ours(part)[0], expected)
    assert_same(stepwise(ours, part), expected)


def stepwise(ours: Decoder, tokens: Tensor) -> Tensor:
    states, steps = ours.new_state(len(tokens), tokens.shape[1]), []
    for token in tokens.split(1, dim=1):
        logits, after = ours(token, states)
        assert after is not None
        states = after
        steps.append(logits)
    return torch.cat(steps, 1)


def check_task(ours: TaskModel, model: PreTrainedModel) -> None:
    """Padded texts; two kinds of segment where there are."""
    tokens = ids((2, LENGTH)).where(REAL, torch.tensor(model.config.pad_token_id))
    inputs = {"input_ids": tokens, "attention_mask": REAL.long()}
    segments = None
    if ours.config.segments > 1:
        segments = (torch.arange(LENGTH) > 9).long().expand(2, -1)
        inputs["token_type_ids"] = segments
    found, expected = ours(tokens, real=REAL, segments=segments), theirs(model, **inputs)
    if found.ndim == 3:
        found, expected = found[REAL], expected[REAL]
    assert_same(found, expected)


def check_pair(ours: EncoderDecoder, model: PreTrainedModel) -> None:
    """Padded sources; the target whole, and token by token with caches."""
    source, target = ids((2, LENGTH)), ids((2, 17), seed=3)
    inputs = {"input_ids": source, "attention_mask": REAL.long(), "decoder_input_ids": target}
    expected = theirs(model, **inputs)
    assert_same(ours(source, target, source_real=REAL), expected)
    states, memory, steps = ours.decoder.new_state(2, 17), ours.encode(source, REAL), []
    for place, token in enumerate(target.split(1, dim=1)):
        logits, states = ours.step(token, states, memory if place == 0 else None, REAL)
        steps.append(logits)
    assert_same(torch.cat(steps, 1), expected)


def check(ours: AnyModel, model: PreTrainedModel) -> None:
    with torch.no_grad():
        if isinstance(ours, Decoder):
            check_decoder(ours, model)
        elif isinstance(ours, TaskModel):
            check_task(ours, model)
        else:
            check_pair(ours, model)
