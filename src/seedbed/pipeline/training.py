"""The two training stages of a recipe: pretraining on packed tokens, fine-tuning on conversations."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from seedbed.core import files
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.machine import cores, describe_machine
from seedbed.core.progress import say
from seedbed.core.randomness import seed_everything
from seedbed.corpus.pack import TokenShards
from seedbed.corpus.questions import read_questions
from seedbed.inference.parameters import Sampling
from seedbed.inference.text import chat_reply, generate_text, make_generator
from seedbed.models.decoder import Decoder
from seedbed.models.store import LoadedModel, load_model, save_model
from seedbed.pipeline.recipe import Recipe
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.train.contracts import Batch
from seedbed.train.engine import Engine
from seedbed.train.loop import Hooks, Located, Run, with_steps
from seedbed.train.objectives.causal_lm import CausalLM
from seedbed.train.settings import TrainSettings
from seedbed.train.sources import Alternating, ChatSource, Conversation, Mixture, PackedTokens

LIVE_SAMPLE = Sampling(max_tokens=40, temperature=0.7, top_k=50, seed=0)
VALIDATION_SEED = 1  # not the training seed: the same windows whatever the run


@dataclasses.dataclass(frozen=True)
class Stage:
    """Where a training stage works and what its results are called."""

    title: str
    folder: Path
    name: str
    resume: bool
    config: Mapping[str, object]


def pretrain(recipe: Recipe, tokens: Artifact, tokenizer: Artifact, library: Library, stage: Stage) -> Artifact:
    """Train a new model on packed tokens. Returns the model.

    Raises:
        DataError: the tokens do not fill one batch.
        UsageError: the tokens were made with another tokenizer.
    """
    encoder, shards = Tokenizer.open(tokenizer), TokenShards.open(tokens)
    encoder.require(shards.tokenizer_hash, f"the tokens {tokens.id[:12]}")
    settings = recipe.pretrain
    seed_everything(settings.seed)
    model = Decoder(recipe.model.config(encoder.vocab_size))
    model.initialise(settings.seed)
    model.to(device())
    source = packed_source(shards, model.config.max_length, settings.batch, settings.seed)
    settings = with_steps(settings, settings.batch * model.config.max_length, _steps_per_epoch(source))
    hooks = Hooks(_validation(shards, model, settings), _continuation(model, encoder))
    total = sum(parameter.numel() for parameter in model.parameters())
    say(f"{stage.title}: {total / 1e6:.2f} M parameters, {len(shards.split('train')) / 1e6:.2f} M tokens")
    return _train(model, encoder, settings, source, hooks, stage, library, (tokens, tokenizer))


def finetune(recipe: Recipe, base: Artifact, questions: Artifact, library: Library, stage: Stage) -> Artifact:
    """Fine-tune a model on conversations, with the corpus replayed in between. Returns the new model."""
    loaded = load_model(base)
    encoder, model, settings = loaded.tokenizer, loaded.model, recipe.finetune.train
    seed_everything(settings.seed)
    model.to(device())
    context = model.config.max_length
    rows = encode(questions, "train", encoder)
    chat = ChatSource(rows, context, settings.batch, encoder.pad_id, settings.seed)
    if chat.shortened or chat.left_out:
        say(
            f"{stage.title}: of {len(rows)} conversations {chat.shortened} are cut at {context} tokens, "
            f"{chat.left_out} left out because no answer begins before"
        )
    source: Located = chat
    per_epoch = float(len(chat.batches))
    replay = recipe.finetune.replay
    if replay:
        shards = TokenShards.open(_tokens_of(base, library))
        windows = max(1, settings.batch * _mean_length(rows) // context)
        packed = packed_source(shards, context, windows, settings.seed)
        source, per_epoch = Alternating(chat, packed, replay), per_epoch / (1 - replay)
    settings = with_steps(settings, settings.batch * _mean_length(rows), per_epoch)
    hooks = Hooks(_held_out(questions, model, encoder, settings), _answer(LoadedModel(model, encoder, base), questions))
    say(f"{stage.title}: {len(rows):,} conversations, {settings.steps:,} steps")
    return _train(model, encoder, settings, source, hooks, stage, library, (questions, base))


def device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def packed_source(shards: TokenShards, context: int, batch: int, seed: int) -> PackedTokens | Mixture:
    """The training split: one source as it is, several mixed by their weights."""
    shares = {name: share for name, share in shards.weights.items() if share > 0}
    if len(shares) == 1:
        return PackedTokens(shards.split("train", next(iter(shares))), context, batch, seed)
    parts = [PackedTokens(shards.split("train", name), context, 1, seed) for name in shares]
    return Mixture(parts, list(shares.values()), batch, seed)


def encode(questions: Artifact, split: str, encoder: Tokenizer) -> list[Conversation]:
    """The conversations of a split as token ids with the assistant's part marked."""
    return [Conversation(*encoder.encode_chat(row["messages"])) for row in read_questions(questions, split)]  # type: ignore[arg-type]


def _train(
    model: Decoder,
    encoder: Tokenizer,
    settings: TrainSettings,
    source: Located,
    hooks: Hooks,
    stage: Stage,
    library: Library,
    parents: Sequence[Artifact],
) -> Artifact:
    torch.set_num_threads(cores())
    engine = Engine(model, CausalLM(), settings)
    run = Run(engine, source, hooks, stage.folder, stage.title)
    done = run.fit(resume=stage.resume)
    figures = {"steps": done.step, "tokens": done.tokens, "seconds": round(done.seconds, 1), "valid_loss": done.best}
    config = {**stage.config, "steps": done.step, "parameters": sum(p.numel() for p in model.parameters())}
    with library.writing("model", parents=parents, config=config, name=stage.name) as draft:
        save_model(draft.path, model.cpu().eval(), encoder)
        draft.metrics = dict(figures)
        draft.licence = parents[0].manifest.licence
    _store_run(stage, draft.result, library, figures)
    return draft.result


def _store_run(stage: Stage, model: Artifact, library: Library, figures: Mapping[str, object]) -> None:
    """Keep the run's record as the model's child: it has times in it, and a model's id should not."""
    with library.writing("run", parents=(model,), config=stage.config, name=f"{stage.name}-run") as draft:
        for name in ("metrics.jsonl", "samples.jsonl"):
            source = stage.folder / name
            (draft.path / name).write_bytes(source.read_bytes() if source.exists() else b"")
        files.write_json(draft.path / "recipe.json", stage.config)
        files.write_json(draft.path / "machine.json", describe_machine())
        draft.metrics = dict(figures)


def _validation(shards: TokenShards, model: Decoder, settings: TrainSettings) -> list[Batch]:
    """A fixed sample of validation windows; none where the split is too small for one."""
    valid, context = shards.split("valid"), model.config.max_length
    batch = min(settings.batch, len(valid) // context)
    if not settings.evaluate_every or not batch:
        return []
    source = PackedTokens(valid, context, batch, VALIDATION_SEED)
    count = min(settings.evaluate_batches, max(1, source.windows // batch))
    return [source.next() for _ in range(count)]


def _held_out(questions: Artifact, model: Decoder, encoder: Tokenizer, settings: TrainSettings) -> list[Batch]:
    """A fixed sample of validation conversations; none where no question was held out."""
    rows, context = encode(questions, "valid", encoder), model.config.max_length
    size = min(settings.batch, sum(any(row.answered[1 : context + 1]) for row in rows))
    if not settings.evaluate_every or not size:
        return []
    source = ChatSource(rows, context, size, encoder.pad_id, VALIDATION_SEED)
    return [source.next() for _ in range(min(settings.evaluate_batches, len(source.batches)))]


def _steps_per_epoch(source: PackedTokens | Mixture) -> float:
    if isinstance(source, PackedTokens):
        return source.windows / source.batch
    return sum(part.windows for part in source.parts) / source.batch


def _mean_length(rows: Sequence[Conversation]) -> int:
    return max(1, math.ceil(sum(len(row.ids) for row in rows) / max(1, len(rows))))


def _tokens_of(model: Artifact, library: Library) -> Artifact:
    return next(parent for parent in library.parents(model) if parent.kind == "tokens")


def _continuation(model: Decoder, encoder: Tokenizer) -> Callable[[], str]:
    """What the model writes from nothing, as a live sample."""
    loaded = LoadedModel(model, encoder, None)  # type: ignore[arg-type]
    return lambda: "".join(generate_text(loaded, "", LIVE_SAMPLE, make_generator(loaded, fast=False)))


def _answer(loaded: LoadedModel, questions: Artifact) -> Callable[[], str]:
    """A held-out question and the model's answer, another one each time; short ones, that leave room for an answer."""
    most = loaded.model.config.max_length // 2
    conversations = [row["messages"][:1] for row in read_questions(questions, "valid")]
    short = [asked for asked in conversations if len(loaded.tokenizer.encode_chat(asked)[0]) < most]
    turn = itertools.count()

    def sample() -> str:
        if not short:
            return "".join(generate_text(loaded, "", LIVE_SAMPLE, make_generator(loaded, fast=False)))
        asked = short[next(turn) * 7919 % len(short)]
        reply = "".join(chat_reply(loaded, asked, LIVE_SAMPLE, make_generator(loaded, fast=False)))
        return f"{asked[0]['content']} → {reply}"

    return sample
