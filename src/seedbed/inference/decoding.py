"""The two moves of decoding, prefill and step, and what a decoded token is.

A prompt is prefilled on a fixed grid of ``GRID`` positions, so that a prompt continued from stored states computes
what a cold one computes. Only the last position goes through the output head: a prompt's other logits are not needed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from seedbed.models.decoder import Decoder
from seedbed.nn.mixer import State

GRID = 64
"""Positions prefilled at once."""

Finish = Literal["end", "length", "stop"]
"""Why a reply ends: the model's end token, the limit or the full window, a stop string."""


@dataclass(frozen=True)
class Token:
    """One generated token."""

    id: int
    logprob: float
    """Natural logarithm, under the model itself: before penalties, temperature and filters."""
    finish: Finish | None = None
    """Set on the last token. With ``"end"`` the token is the end token itself."""
    top: tuple[tuple[int, float], ...] = ()
    """The most probable ids here with their log-probabilities, best first, as many as were asked for."""


def finish_of(token: int, length: int, end_ids: Collection[int], limit: int) -> Finish | None:
    """Why a reply of ``length`` tokens ends with ``token``, if it does."""
    if token in end_ids:
        return "end"
    return "length" if length >= limit else None


@torch.inference_mode()
def prefill(model: Decoder, prompt: Sequence[int], states: list[State]) -> tuple[Tensor, list[State]]:
    """Feed a prompt to fresh states. Returns the logits after its last token, (1, V), and the new states."""
    ids = torch.tensor([list(prompt)], device=device_of(model))  # (1, T)
    for start in range(0, len(prompt), GRID):
        logits, states = _feed(model, ids[:, start : start + GRID], states)
    return logits, states


@torch.inference_mode()
def step(model: Decoder, tokens: Sequence[int], states: list[State]) -> tuple[Tensor, list[State]]:
    """Feed one token to each of B sequences. Returns their logits, (B, V), and the new states."""
    ids = torch.tensor(tokens, device=device_of(model))[:, None]  # (B, 1)
    return _feed(model, ids, states)


def device_of(model: Decoder) -> torch.device:
    """Where the model's weights are."""
    return next(model.parameters()).device


def _feed(model: Decoder, ids: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
    hidden, after = model.hidden(ids, states)
    assert after is not None  # states in, states out
    return model.head(hidden[:, -1]), after
