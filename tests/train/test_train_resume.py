"""20 steps == 10 + resume + 10, bit for bit; a checkpoint survives whatever happens while it is written."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small import pattern, small_model

from seedbed.core.errors import CapacityError, CorruptError, InterruptedRun, TrainingError, UsageError
from seedbed.models.decoder import Decoder
from seedbed.train import checkpoint
from seedbed.train.contracts import Batch
from seedbed.train.engine import StepResult, TrainingEngine
from seedbed.train.loop import Hooks, TrainingRun
from seedbed.train.metrics import TIMING, read_metrics
from seedbed.train.objectives.causal_lm import CausalLM
from seedbed.train.settings import TrainSettings
from seedbed.train.sources.chat import ChatSource, TokenizedConversation
from seedbed.train.sources.packed import PackedTokens


def packed() -> PackedTokens:
    return PackedTokens(pattern(), 16, 4, seed=2)


def chat() -> ChatSource:
    rows = [TokenizedConversation([i % 61] * (3 + i % 9), [False, False] + [True] * (1 + i % 9)) for i in range(30)]
    return ChatSource(rows, 16, 4, 0, seed=2)


class StopAt:
    """A source that asks for an interruption at one step, as Ctrl-C would."""

    def __init__(self, source: PackedTokens | ChatSource, step: int) -> None:
        self.source, self.left = source, step

    def __getattr__(self, name: str) -> object:
        return getattr(self.source, name)

    def next(self) -> Batch:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return self.source.next()


def run(folder: Path, source: object, **changes: object) -> tuple[TrainingRun, Decoder]:
    values = {"steps": 20, "batch": 4, "evaluate_every": 5, "save_every": 7, "sample_seconds": 0.0} | changes
    settings = TrainSettings(**values)  # type: ignore[arg-type]
    torch.manual_seed(9)  # dropout draws from the global generator
    model = small_model(dropout=0.1)
    validation = [PackedTokens(pattern(), 16, 4, seed=8).next()]
    return TrainingRun(TrainingEngine(model, CausalLM(), settings), source, Hooks(validation), folder), model  # type: ignore[arg-type]


def without_timing(folder: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if k not in TIMING} for line in read_metrics(folder / "metrics.jsonl")]


@pytest.mark.parametrize("make", [packed, chat])
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_resume_is_bit_exact(tmp_path: Path, make: type, optimizer: str) -> None:
    whole, straight = run(tmp_path / "a", make(), optimizer=optimizer)
    whole.fit()
    broken, _ = run(tmp_path / "b", StopAt(make(), 10), optimizer=optimizer)
    with pytest.raises(InterruptedRun) as caught:
        broken.fit()
    assert caught.value.exit_code == 130
    torch.manual_seed(12345)  # another process has another random state
    again, resumed = run(tmp_path / "b", make(), optimizer=optimizer)
    again.fit(resume=True)
    for (name, a), b in zip(straight.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    one, two = (r.engine.optimizers.tensors() for r in (whole, again))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert without_timing(tmp_path / "a") == without_timing(tmp_path / "b")
    assert len(without_timing(tmp_path / "a")) == 24


def test_without_resume_an_unfinished_run_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(InterruptedRun):
        run(tmp_path, StopAt(packed(), 3))[0].fit()
    with pytest.raises(UsageError, match="not finished"):
        run(tmp_path, packed())[0].fit()


class Clock:
    """A clock that only steps of the engine move: by the seconds that a busy or idle machine would take."""

    def __init__(self, engine: TrainingEngine, seconds: Callable[[int], float]) -> None:
        self.now, self.count, self.seconds, self.step = 100.0, 0, seconds, engine.step
        engine.step = self.slowly  # type: ignore[method-assign]

    def __call__(self) -> float:
        return self.now

    def slowly(self, *arguments: Any) -> StepResult:
        self.now += self.seconds(self.count)
        self.count += 1
        return self.step(*arguments)


@pytest.mark.parametrize(
    "seconds",
    [lambda n: 2.0, lambda n: 1.0 if n < 30 else 5.0, lambda n: 6.0 if n < 5 else 0.5, lambda n: 1 + 7 * (n % 5 == 0)],
    ids=["steady", "five neighbours from half time on", "neighbours that leave", "hiccups"],
)
def test_a_run_in_minutes_keeps_its_time_under_any_load(tmp_path: Path, seconds: Callable[[int], float]) -> None:
    settings = {"steps": 0, "minutes": 1.0, "warmup": 2, "save_every": 0, "evaluate_every": 0}
    one, _ = run(tmp_path, packed(), **settings)
    one._clock = clock = Clock(one.engine, seconds)
    done = one.fit()
    assert done.total == done.step
    assert 0.9 * 60 <= clock.now - 100 <= 1.1 * 60
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert lines[-1]["lr"] < 0.3 * max(line["lr"] for line in lines)
    assert max(line["seconds"] for line in lines) == pytest.approx(clock.now - 100)


def test_early_stopping_and_the_best_weights(tmp_path: Path) -> None:
    """A learning rate that destroys the model: the best validation is the first, and its weights come back."""
    changes = {"steps": 200, "lr": 3.0, "lr_embedding": 1.0, "patience": 2, "keep_best": True, "evaluate_every": 1}
    one, _ = run(tmp_path, packed(), clip=0.0, warmup=100, **changes)
    done = one.fit()
    assert done.step < 200
    losses = [line["valid_loss"] for line in read_metrics(tmp_path / "metrics.jsonl") if "valid_loss" in line]
    assert losses[-1] > min(losses)
    assert sum(one.engine.evaluate(one.hooks.validation).values()) == pytest.approx(min(losses), rel=1e-6)


def test_patience_counts_from_the_last_better_validation(tmp_path: Path) -> None:
    """The losses are given: two worse ones in a row end the run, not two in all."""
    losses = iter([5.0, 6.0, 4.0, 5.0, 3.0, 4.0, 3.0, 1.0])
    one, _ = run(tmp_path, packed(), steps=8, patience=2, evaluate_every=1, save_every=0)
    one.engine.evaluate = lambda batches: {"loss": next(losses)}  # type: ignore[method-assign]
    done = one.fit()
    assert (done.step, done.best, done.best_step) == (7, 3.0, 5)


def test_later_checkpoints_leave_the_best_one(tmp_path: Path) -> None:
    one, model = run(tmp_path, packed(), steps=6, keep_best=True, evaluate_every=1, save_every=1)
    losses, seen = iter([3.0, 1.0, 2.0, 2.0, 2.0, 2.0]), list[torch.Tensor]()

    def evaluate(batches: object) -> dict[str, float]:
        seen.append(next(model.parameters()).detach().clone())
        return {"loss": next(losses)}

    one.engine.evaluate = evaluate  # type: ignore[method-assign, assignment]
    one.fit()
    assert torch.equal(next(model.parameters()), seen[1])
    assert not torch.equal(seen[1], seen[-1])
    assert [checkpoint.step_of(path) for path in checkpoint.checkpoints(one.checkpoints)] == [2, 6]


def test_nan_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    one, model = run(tmp_path, packed())

    class Poisoned(StopAt):
        def next(self) -> Batch:
            self.left -= 1
            if self.left == 0:
                model.embedding.weight.data[:] = float("nan")
            return self.source.next()

    one.source = Poisoned(packed(), 16)  # type: ignore[assignment]
    with pytest.raises(TrainingError) as caught:
        one.fit()
    assert "step 15" in caught.value.why
    assert [checkpoint.step_of(path) for path in checkpoint.checkpoints(one.checkpoints)] == [14]
    again, resumed = run(tmp_path, packed())
    again.fit(resume=True)
    assert all(parameter.isfinite().all() for parameter in resumed.parameters())


@pytest.mark.parametrize("name", [checkpoint.WEIGHTS, checkpoint.OPTIMIZER, checkpoint.RANDOM, checkpoint.STATE])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, name: str, damage: str) -> None:
    one, model = run(tmp_path, packed(), steps=2, save_every=2)
    one.fit()
    path = checkpoint.checkpoints(one.checkpoints)[-1] / name
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif name == checkpoint.STATE:
        state = json.loads(content)
        state["progress"]["step"] += 1
        path.write_text(json.dumps(state))
    else:
        content[-1] ^= 1
        path.write_bytes(content)
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(CorruptError, match="damaged"):
        checkpoint.load_checkpoint(path.parent, model, one.engine.optimizers)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


SAVER = """
import sys, torch
from collections.abc import Callable
from pathlib import Path
from typing import Any
sys.path.insert(0, sys.argv[2])
from small import small_model
from seedbed.train import checkpoint
from seedbed.train.optimizers import Optimizers
from seedbed.train.settings import TrainSettings
torch.set_num_threads(1)
model = small_model(d_model=128)
optimizers = Optimizers(model, TrainSettings(steps=1))
step = 0
while True:
    step += 1
    model.embedding.weight.data.fill_(step)
    state = checkpoint.Progress(step=step)
    checkpoint.save_checkpoint(Path(sys.argv[1]), model, optimizers, {"epoch": 0, "position": step}, state)
    print(step, flush=True)
"""


@pytest.mark.slow
def test_kill_9_at_random_moments_leaves_a_loadable_checkpoint(tmp_path: Path) -> None:
    """Real processes, killed while they do nothing but save. What was reported as saved is there, whole."""
    chance = random.Random(0)
    script = tmp_path / "saver.py"
    script.write_text(SAVER)
    for trial in range(50):
        folder = tmp_path / f"run{trial}"
        command = [sys.executable, str(script), str(folder), str(Path(__file__).parent)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(chance.randint(1, 5)):
            process.stdout.readline()
        time.sleep(chance.random() * 0.05)
        process.kill()
        rest = process.stdout.read().split()
        process.wait()
        found = checkpoint.checkpoints(folder)
        assert found
        state = checkpoint.verify_checkpoint(found[-1])
        model = small_model(d_model=128)
        source, progress, _ = checkpoint.load_checkpoint(found[-1], model, _optimizers(model))
        assert progress.step == source["position"] == state["progress"]["step"]
        assert (model.embedding.weight == progress.step).all()
        assert progress.step >= max([int(word) for word in rest], default=1)


def _optimizers(model: Decoder) -> object:
    from seedbed.train.optimizers import Optimizers

    return Optimizers(model, TrainSettings(steps=1))


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """A real limit on file size stands for the full disk: the process may write no file over 64 kB."""
    import resource

    one, _ = run(tmp_path, packed(), steps=2)
    one.fit()
    kept = checkpoint.checkpoints(one.checkpoints)
    big = small_model(d_model=256)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, hard))
    try:
        with pytest.raises(CapacityError, match="disk is full"):
            checkpoint.save_checkpoint(one.checkpoints, big, _optimizers(big), {}, checkpoint.Progress(step=9))  # type: ignore[arg-type]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert checkpoint.checkpoints(one.checkpoints) == kept
    assert not list(one.checkpoints.glob(".*"))
    checkpoint.verify_checkpoint(kept[-1])
