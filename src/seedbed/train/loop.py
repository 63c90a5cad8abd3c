"""The training loop: length, validation, samples, checkpoints, interruption. The engine makes each step."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import torch

from seedbed.core import files
from seedbed.core.errors import InterruptedRun, UsageError
from seedbed.core.progress import ProgressBar, progress, say
from seedbed.models.store import load_weights
from seedbed.train import checkpoint
from seedbed.train.contracts import Batch, Source
from seedbed.train.engine import StepResult, TrainingEngine
from seedbed.train.metrics import MetricsLog
from seedbed.train.schedule import learning_rate
from seedbed.train.settings import TrainSettings

FIRST_SAMPLE = 5.0
"""Seconds before the first live sample."""


@dataclass
class Hooks:
    """Plain functions at fixed points; they never touch gradients."""

    validation: Sequence[Batch] = ()  # their average loss is the validation loss; always the same ones
    sample: Callable[[], str] | None = None  # writes a text with the model as it is now
    # Makes the objective's batch out of the source's, with a generator of its own for each step.
    prepare: Callable[[Batch, np.random.Generator], Batch] = lambda batch, random: batch


class TrainingRun:
    """One training stage in its working folder: metrics.jsonl, samples.jsonl, checkpoints/."""

    def __init__(
        self,
        engine: TrainingEngine,
        source: Source,
        hooks: Hooks,
        folder: Path,
        title: str = "train",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.engine, self.source, self.hooks, self.folder, self.title = engine, source, hooks, folder, title
        self._clock, self._took = clock, {"step": 0.0, "validation": 0.0}
        self.settings = engine.settings
        self.model = engine.model
        self.progress = checkpoint.Progress(total=self.settings.steps or None)
        self.checkpoints = folder / "checkpoints"

    def fit(self, *, resume: bool = False) -> checkpoint.Progress:
        """Train to the end of the run.

        Raises:
            InterruptedRun: Ctrl-C; a checkpoint was saved.
            TrainingError: the loss is not finite.
            UsageError: the folder holds an unfinished run and ``resume`` is false.
        """
        with _no_denormals():
            self._fit(resume)
        if self.settings.keep_best and self.progress.best is not None:
            load_weights(self.model, self.checkpoints / f"step-{self.progress.best_step:08d}" / checkpoint.WEIGHTS)
        return self.progress

    def _fit(self, resume: bool) -> None:
        self._start(resume)
        log = MetricsLog(self.folder)
        log.rewind(self.progress.step)
        with _interruptible() as interrupted, self._bar() as bar:
            started = self._clock() - self.progress.seconds
            sampled = started + FIRST_SAMPLE - self.settings.sample_seconds
            bar.advance(self._done())
            while not self._finished():
                before = self._done()
                with self._timed("step"):
                    result = self._step()
                self.progress.seconds = self._clock() - started
                self._watch_the_clock()
                self._log(log, result)
                if self._due(self.settings.evaluate_every):
                    with self._timed("validation"):
                        self._validate(log)
                if self.hooks.sample is not None and 0 < self.settings.sample_seconds <= self._clock() - sampled:
                    self._sample(bar)
                    sampled = self._clock()
                bar.advance(self._done() - before, self._note(result))
                if interrupted():
                    self._stop()
                if self._due(self.settings.save_every):
                    self._save()
        log.close()

    def _start(self, resume: bool) -> None:
        checkpoint.clean(self.checkpoints)
        found = checkpoint.checkpoints(self.checkpoints)
        if not found:
            return
        if not resume:
            raise UsageError(
                f"{self.title} stopped at step {checkpoint.step_of(found[-1])} and is not finished",
                why=f"{self.checkpoints} holds its checkpoints",
                fix="add --resume to go on, or --restart to begin again",
            )
        source, self.progress, different = checkpoint.load_checkpoint(found[-1], self.model, self.engine.optimizers)
        self.source.load_state_dict(source)
        if different:
            say(f"note: {', '.join(different)} changed since the checkpoint; the run goes on, but not bit for bit")
        say(f"{self.title}: goes on from step {self.progress.step}")

    def _step(self) -> StepResult:
        rate = learning_rate(self.progress.step, self._share(self.progress.step), self.settings)
        batch = self.hooks.prepare(self.source.next(), np.random.default_rng((self.settings.seed, self.progress.step)))
        where = f"at step {self.progress.step} ({self.source.where})"
        self._rate = rate
        result = self.engine.step(split_batch(batch, self.settings.micro_batch), rate, where)
        self.progress.step += 1
        self.progress.tokens += result.weights.get("tokens", 0)
        return result

    def _log(self, log: MetricsLog, result: StepResult) -> None:
        state = self.progress
        rate = self._rate * self.settings.lr
        speed = state.tokens / state.seconds if state.seconds else 0.0
        timing = {"seconds": round(state.seconds, 3), "tokens_per_second": round(speed, 1)}
        norm = result.gradient_norm
        log.write(state.step, tokens=state.tokens, loss=result.loss, lr=rate, gradient_norm=norm, **timing)

    def _validate(self, log: MetricsLog) -> None:
        if not self.hooks.validation:
            return
        loss = sum(self.engine.evaluate(self.hooks.validation).values())
        log.write(self.progress.step, tokens=self.progress.tokens, valid_loss=loss)
        if self.progress.best is None or loss < self.progress.best:
            self.progress.best, self.progress.best_step, self.progress.waiting = loss, self.progress.step, 0
            if self.settings.keep_best:
                self._save()
        else:
            self.progress.waiting += 1

    def _sample(self, bar: ProgressBar) -> None:
        assert self.hooks.sample is not None
        text = self.hooks.sample()
        bar.say(f"  step {self.progress.step}: {' '.join(text.split())}")
        with files.disk_errors(self.folder), (self.folder / "samples.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self.progress.step, "text": text}) + "\n")

    def _save(self) -> None:
        checkpoint.save_checkpoint(
            self.checkpoints, self.model, self.engine.optimizers, self.source.state_dict(), self.progress
        )

    def _stop(self) -> None:
        self._save()
        raise InterruptedRun(
            f"{self.title} was interrupted at step {self.progress.step}",
            why=f"the checkpoint is saved under {self.checkpoints}",
            fix="run the same command with --resume to go on",
        )

    def _share(self, step: int) -> float:
        """The share of the run that is over: of its steps, or of its time."""
        if self.settings.steps:
            return step / self.settings.steps
        return min(1.0, self.progress.seconds / (60 * self.settings.minutes))

    def _watch_the_clock(self) -> None:
        """End a run in minutes with the step that ends nearest to its time, the last validation included."""
        state, expected = self.progress, self._took["step"]
        left = 60 * self.settings.minutes - state.seconds - self._took["validation"]
        if not self.settings.steps and left < expected / 2:
            state.total = state.step

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        """Remember the time that a part of the loop took last."""
        started = self._clock()
        yield
        self._took[part] = self._clock() - started

    def _finished(self) -> bool:
        state = self.progress
        if self.settings.patience and state.waiting >= self.settings.patience:
            say(f"{self.title}: no better validation for {state.waiting} times, stopping at step {state.step}")
            return True
        return self._at_end()

    def _due(self, every: int) -> bool:
        return bool(every) and (self.progress.step % every == 0 or self._at_end())

    def _at_end(self) -> bool:
        return self.progress.total is not None and self.progress.step >= self.progress.total

    def _bar(self) -> AbstractContextManager[ProgressBar]:
        if self.settings.steps:
            return progress(self.title, self.settings.steps, "steps")
        return progress(self.title, self.settings.minutes * 60, "s")

    def _done(self) -> float:
        return self.progress.step if self.settings.steps else min(self.progress.seconds, 60 * self.settings.minutes)

    def _note(self, result: StepResult) -> str:
        state = self.progress
        best = f", valid {state.best:.3f}" if state.best is not None else ""
        return f"step {state.step}, loss {result.loss:.3f}{best}, {state.tokens / state.seconds:,.0f} tokens/s"


def with_steps(settings: TrainSettings, tokens_per_step: int, steps_per_epoch: float) -> TrainSettings:
    """The same settings with a length in tokens or epochs turned into steps."""
    steps = settings.steps
    if not steps and settings.tokens:
        steps = max(1, settings.tokens // tokens_per_step)
    if not steps and settings.epochs:
        steps = max(1, math.ceil(settings.epochs * steps_per_epoch))
    return dataclasses.replace(settings, steps=steps)


def split_batch(batch: Batch, size: int) -> list[Batch]:
    """Cut a batch into micro-batches of ``size`` sequences (0: leave it whole)."""
    count = len(next(iter(batch.values())))
    if not size or size >= count:
        return [batch]
    return [{name: tensor[at : at + size] for name, tensor in batch.items()} for at in range(0, count, size)]


@contextmanager
def _no_denormals() -> Iterator[None]:
    """Take numbers below 1e-38 as zero: a softmax's tails would cost CPUs ten times the arithmetic."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Remember Ctrl-C until the step is over; a second one stops at once."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        say("stopping after this step; again to stop at once")

    try:
        before = signal.signal(signal.SIGINT, handle)
    except ValueError:  # not in the main thread: someone else decides about signals
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
