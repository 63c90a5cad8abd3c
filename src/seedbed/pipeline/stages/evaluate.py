"""Measure the newest model on held-out text, and write the report."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed.core.artifacts import Artifact
from seedbed.core.config import setting
from seedbed.evaluation.evaluate import evaluate_model
from seedbed.pipeline.recipe import Stage, StageWork


@dataclass(frozen=True)
class EvaluateStage(Stage):
    """Bits per byte of a language model, beside baselines."""

    makes = "evaluation"
    baselines: bool = setting(True, "measure baselines beside the model")

    def make(self, work: StageWork) -> Artifact:
        """Measure the model."""
        model = work.latest("model")
        return evaluate_model(
            model, work.library, baselines=self.baselines, command=work.command, name=work.called(self)
        )
