"""Train a model: an objective on a source, from nothing or from another model, whole or through a transform."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from seedbed.core import files
from seedbed.core.artifacts import Artifact
from seedbed.core.config import setting
from seedbed.core.errors import UsageError
from seedbed.core.machine import available_bytes, cores, describe_machine
from seedbed.core.progress import say
from seedbed.core.randomness import seed_everything
from seedbed.core.units import bytes_text
from seedbed.models.config import AnyConfig, stacks
from seedbed.models.factory import AnyModel, new_model
from seedbed.models.parameter_counts import count_parameters
from seedbed.models.store import kind_of, load_any, read_config, read_description, save_model
from seedbed.pipeline.live_samples import live_sample
from seedbed.pipeline.new_model import ModelSettings
from seedbed.pipeline.recipe import Find, Stage, StageWork
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.train.contracts import VALIDATION_SEED, Batch, Feed, Feeding, ModelTransform, Objective, SourceKind
from seedbed.train.engine import TrainingEngine
from seedbed.train.loop import Hooks, TrainingRun, with_steps
from seedbed.train.settings import TrainSettings

RECORDS = ("metrics.jsonl", "samples.jsonl")


@dataclass
class _Made:
    """The model of a stage, and what it is made of."""

    model: AnyModel
    tokenizer: Tokenizer
    published: Mapping[str, Any] = field(default_factory=dict)
    parents: list[Artifact] = field(default_factory=list)
    quantization: str | None = None


@dataclass(frozen=True)
class TrainStage(Stage):
    """A training stage."""

    makes = "model"
    begin: str = setting("", "the model to begin from: a stage's or the library's; a new one unless given")
    model: ModelSettings = setting(ModelSettings(), "the shape of a new model")
    context: int = setting(0, "longest training sequence; 0: the model's longest", unit="tokens", at_least=0)
    objective: Objective = field(kw_only=True, metadata={"doc": "what is minimised: a file in train/objectives"})
    source: SourceKind = field(kw_only=True, metadata={"doc": "where batches come from: a file in train/sources"})
    transform: ModelTransform | None = setting(None, "a change of the model for this stage, such as 'lora'")
    settings: TrainSettings = setting(TrainSettings(minutes=5.0), "how to train")

    def check(self, find: Find) -> None:
        """Look for the model to begin from, and say where its context is the shorter one.

        Raises UsageError where it is of another kind than the objective trains, or quantized and trained as a whole.
        """
        found = find(self.begin, "model") if self.begin else None
        if found is not None:
            described = read_description(found)
            shape = read_config(described["model"])
            if (kind := kind_of(shape)) != self.objective.trains:
                why = f"it is {kind}, and {self.objective.kind} trains {self.objective.trains}"
                fix = f"name {self.objective.trains} (`seedbed show NAME` says what a model is), or another objective"
                raise UsageError(f"{self.title} cannot begin from {self.begin}", why=why, fix=fix)
            self._check_whole(found, described.get("quantization"))
            longest = stacks(shape)[-1].max_length
            if self.context > longest:
                say(f"{self.title}: sequences of {longest} tokens, the longest of {self.begin}, not {self.context}")

    def make(self, work: StageWork) -> Artifact:
        """Train, and store the model, its run's record, and what the transform learned apart.

        Raises:
            DataError: there is less data than a batch holds.
            UsageError: the model to begin from cannot be trained, or has another tokenizer than the data.
        """
        seed_everything(self.settings.seed)
        made, used = self._begin(work), dict[str, Artifact]()

        def artifact(kind: str) -> Artifact:
            return used.setdefault(kind, work.latest(kind))

        if self.transform is not None:
            self.transform.apply(made.model, self.settings.seed)
        made.model.to(device())
        longest = stacks(made.model.config)[-1].max_length
        context = min(self.context or longest, longest)
        feed = self.source.open(Feeding(self.title, artifact, made.tokenizer, context, self.settings))
        ancestors = {identity for parent in made.parents for identity in parent.manifest.parents}
        made.parents = [*(one for one in used.values() if one.id not in ancestors), *made.parents]
        return self._train(made, feed, work)

    def _check_whole(self, artifact: Artifact, quantization: str | None) -> None:
        """Raise UsageError where integers would be trained."""
        if quantization and self.transform is None:
            raise UsageError(
                f"model {artifact.id[:12]} cannot be trained as a whole",
                why=f"its weights are {quantization} integers",
                fix="train additions beside them (transform 'lora'), or begin from the model it was quantized from"
                " (`seedbed show` names it)",
            )

    def _begin(self, work: StageWork) -> _Made:
        """The model to begin from, or a new one."""
        if self.begin:
            artifact = work.find(self.begin, "model")
            loaded = load_any(artifact)
            self._check_whole(artifact, loaded.quantization)
            return _Made(loaded.model, loaded.tokenizer, loaded.published, [artifact], loaded.quantization)
        tokenizer = work.latest("tokenizer")
        encoder = Tokenizer.open(tokenizer)
        model = new_model(self.model.config(encoder.vocab_size))
        model.initialise(self.settings.seed)
        return _Made(model, encoder, parents=[tokenizer])

    def _train(self, made: _Made, feed: Feed, work: StageWork) -> Artifact:
        torch.set_num_threads(cores())
        model, settings = made.model, with_steps(self.settings, feed.tokens_per_step, feed.steps_per_epoch)
        settings = within_memory(settings, model.config, self.context, self.title)
        prepare = cast(Callable[[Batch, Any], Batch], partial(self.objective.prepare, tokenizer=made.tokenizer))
        validation = [
            prepare(batch, np.random.default_rng((VALIDATION_SEED, place)))
            for place, batch in enumerate(feed.validation)
        ]
        hooks = Hooks(validation, live_sample(model, made.tokenizer, feed.prompts), prepare)
        millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        say(f"{self.title}: {millions:.2f} M parameters, {feed.told}")
        run = TrainingRun(
            TrainingEngine(model, self.objective, settings), feed.source, hooks, work.folder(self), self.title
        )
        done = run.fit(resume=work.resume)
        seconds = round(done.seconds, 1)
        figures = {"steps": done.step, "tokens": done.tokens, "seconds": seconds, "valid_loss": done.best}
        apart = self.transform.finish(model) if self.transform is not None else None
        return self._store(made, figures, apart, work)

    def _store(
        self, made: _Made, figures: Mapping[str, Any], apart: Callable[[Path], None] | None, work: StageWork
    ) -> Artifact:
        """Write the model; what the transform learned, and the record (it has times in it), stand apart."""
        name, kept = work.called(self), work.config(self)
        config = {**kept, "steps": figures["steps"], "parameters": sum(p.numel() for p in made.model.parameters())}
        with work.library.writing("model", parents=made.parents, config=config, name=name) as draft:
            save_model(draft.path, made.model.cpu().eval(), made.tokenizer, made.quantization, made.published)
            draft.metrics = dict(figures)
            draft.licence = made.parents[0].manifest.licence
        if apart is not None:
            with work.library.writing("adapter", parents=made.parents, config=kept, name=f"{name}-adapter") as adapter:
                apart(adapter.path)
        with work.library.writing("run", parents=(draft.result,), config=kept, name=f"{name}-run") as run:
            for record in RECORDS:
                source = work.folder(self) / record
                (run.path / record).write_bytes(source.read_bytes() if source.exists() else b"")
            files.write_json(run.path / "recipe.json", kept)
            files.write_json(run.path / "machine.json", describe_machine())
            run.metrics = dict(figures)
        return draft.result


def within_memory(settings: TrainSettings, config: AnyConfig, context: int, title: str) -> TrainSettings:
    """Return the settings, with activations recomputed where those of a micro-batch would not fit into memory."""
    parts, here = stacks(config), available_bytes()
    longest = min(context or parts[-1].max_length, parts[-1].max_length)
    tokens = (settings.micro_batch or settings.batch) * longest
    counted, width, layers = count_parameters(config), parts[0].d_model, sum(part.n_layers for part in parts)
    needed = counted.training_bytes(tokens, width, layers) - counted.training_bytes(0, width, layers)
    if settings.checkpoint_activations or device().type != "cpu" or not here or needed < here:
        return settings
    say(
        f"{title}: activations of {tokens:,} tokens are about {bytes_text(needed)}, {bytes_text(here)} are free: "
        "they are computed again backwards"
    )
    return replace(settings, checkpoint_activations=True)


def device() -> torch.device:
    """Return a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
