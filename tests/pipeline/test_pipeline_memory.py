"""Activations are recomputed where memory demands it, and this is said."""

from __future__ import annotations

import pytest

from seedbed.models.presets import preset
from seedbed.pipeline.stages import train
from seedbed.train.settings import TrainSettings


def test_activations_are_recomputed_where_they_would_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By Korthikanti et al.: 34 bytes in 16 bits a channel, token and layer, so 68 in float32; here 1.57 GB."""
    settings, config = TrainSettings(steps=1, batch=4, micro_batch=1), preset("tinyllama-1.1b")
    needed = 68 * 2048 * 512 * 22
    monkeypatch.setattr(train, "available_bytes", lambda: needed + 1)
    assert train.within_memory(settings, config, 512, "t") is settings
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(train, "available_bytes", lambda: needed - 1)
    assert train.within_memory(settings, config, 512, "t").checkpoint_activations
    assert "t: activations of 512 tokens are about 1.6 GB" in capsys.readouterr().err
