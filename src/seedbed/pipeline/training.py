"""The two training stages of a recipe: pretraining on packed tokens, fine-tuning on conversations."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from seedbed.chat.local import LocalModel, continue_text
from seedbed.chat.messages import Message
from seedbed.core import files
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import UsageError
from seedbed.core.machine import cores, describe_machine
from seedbed.core.progress import say
from seedbed.core.randomness import seed_everything
from seedbed.corpus.pack import TokenShards
from seedbed.corpus.questions import read_questions
from seedbed.formats.peft_format import write_additions
from seedbed.inference.engine_client import make_client
from seedbed.inference.parameters import Sampling
from seedbed.models.decoder import Decoder
from seedbed.models.store import LoadedModel, load_model, save_model
from seedbed.nn.lora import LowRank, add_low_rank, additions, fold
from seedbed.pipeline.recipe import Recipe
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.train.contracts import Batch
from seedbed.train.engine import TrainingEngine
from seedbed.train.loop import Hooks, Located, TrainingRun, with_steps
from seedbed.train.objectives.causal_lm import CausalLM
from seedbed.train.settings import TrainSettings
from seedbed.train.sources import Alternating, ChatSource, Mixture, PackedTokens, TokenizedConversation

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


def pretrain(
    recipe: Recipe,
    tokens: Artifact,
    tokenizer: Artifact,
    library: Library,
    stage: Stage,
    start: Artifact | None = None,
) -> Artifact:
    """Train a new model on packed tokens, or go on with ``start``. Returns the model.

    Raises:
        DataError: the tokens do not fill one batch.
        UsageError: the tokens were made with another tokenizer, or ``start`` is no decoder that can be trained.
    """
    encoder, shards = Tokenizer.open(tokenizer), TokenShards.open(tokens)
    encoder.require(shards.tokenizer_hash, f"the tokens {tokens.id[:12]}")
    settings = recipe.pretrain
    seed_everything(settings.seed)
    begun = _trainable(start) if start is not None else None
    model = begun.model if begun else Decoder(recipe.model.config(encoder.vocab_size))
    if begun is None:
        model.initialise(settings.seed)
    model.to(device())
    context = min(recipe.model.context, model.config.max_length)
    source = packed_source(shards, context, settings.batch, settings.seed)
    settings = with_steps(settings, settings.batch * context, _steps_per_epoch(source))
    hooks = Hooks(_validation(shards, context, settings), _continuation(model, encoder))
    total = sum(parameter.numel() for parameter in model.parameters())
    say(f"{stage.title}: {total / 1e6:.2f} M parameters, {len(shards.split('train')) / 1e6:.2f} M tokens")
    made = Made(model, encoder, begun.published if begun else {})
    parents = (tokens, tokenizer) if start is None else (tokens, tokenizer, start)
    return _train(made, settings, source, hooks, stage, library, parents)


def finetune(
    recipe: Recipe, base: Artifact, tokens: Artifact, questions: Artifact, library: Library, stage: Stage
) -> Artifact:
    """Fine-tune a model on conversations, with the corpus replayed in between. Returns the new model.

    With a rank, low-rank additions are trained: optimizer and checkpoints hold them alone. They are stored beside the
    model, which has them in its weights.
    """
    loaded = _trainable(base)
    encoder, model, settings = loaded.tokenizer, loaded.model, recipe.finetune.train
    seed_everything(settings.seed)
    if recipe.finetune.rank:
        add_low_rank(model, recipe.finetune.rank, recipe.finetune.alpha, settings.seed)
    model.to(device())
    context = min(recipe.model.context, model.config.max_length)
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
        windows = max(1, settings.batch * _mean_length(rows) // context)
        packed = packed_source(TokenShards.open(tokens), context, windows, settings.seed)
        source, per_epoch = Alternating(chat, packed, replay), per_epoch / (1 - replay)
    settings = with_steps(settings, settings.batch * _mean_length(rows), per_epoch)
    held_out = _held_out(questions, context, encoder, settings)
    hooks = Hooks(held_out, _answer(LoadedModel(model, encoder, base), questions, context))
    say(f"{stage.title}: {len(rows):,} conversations, {settings.steps:,} steps")
    trained_on_tokens = tokens.id in base.manifest.parents
    parents = (questions, base) if trained_on_tokens else (questions, base, tokens)
    return _train(Made(model, encoder, loaded.published), settings, source, hooks, stage, library, parents)


def _trainable(artifact: Artifact) -> LoadedModel:
    """A model to go on with.

    Raises:
        UsageError: it is quantized, or no decoder.
    """
    loaded = load_model(artifact)
    if loaded.quantization:
        raise UsageError(
            f"model {artifact.id[:12]} cannot be trained",
            why=f"its weights are {loaded.quantization} integers",
            fix="begin from the model it was quantized from (`seedbed show` names it)",
        )
    return loaded


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


def encode(questions: Artifact, split: str, encoder: Tokenizer) -> list[TokenizedConversation]:
    """The conversations of a split as token ids with the assistant's part marked."""
    return [TokenizedConversation(*encoder.encode_chat(row["messages"])) for row in read_questions(questions, split)]  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Made:
    """What a stage makes: a model with its tokenizer, and what is known of the published one it began from."""

    model: Decoder
    tokenizer: Tokenizer
    published: Mapping[str, object]


def _train(
    made: Made,
    settings: TrainSettings,
    source: Located,
    hooks: Hooks,
    stage: Stage,
    library: Library,
    parents: Sequence[Artifact],
) -> Artifact:
    torch.set_num_threads(cores())
    model = made.model
    engine = TrainingEngine(model, CausalLM(), settings)
    run = TrainingRun(engine, source, hooks, stage.folder, stage.title)
    done = run.fit(resume=stage.resume)
    figures = {"steps": done.step, "tokens": done.tokens, "seconds": round(done.seconds, 1), "valid_loss": done.best}
    adapter = additions(model)
    fold(model)
    config = {**stage.config, "steps": done.step, "parameters": sum(p.numel() for p in model.parameters())}
    with library.writing("model", parents=parents, config=config, name=stage.name) as draft:
        save_model(draft.path, model.cpu().eval(), made.tokenizer, published=made.published)
        draft.metrics = dict(figures)
        draft.licence = parents[0].manifest.licence
    if adapter:
        _store_adapter(stage, adapter, parents, library)
    _store_run(stage, draft.result, library, figures)
    return draft.result


def _store_adapter(stage: Stage, parts: dict[str, LowRank], parents: Sequence[Artifact], library: Library) -> None:
    """What low-rank training learned, apart from the model it belongs to, in PEFT's format."""
    rank, scale = next(iter(parts.values())).down.shape[0], next(iter(parts.values())).scale
    with library.writing("adapter", parents=parents, config=stage.config, name=f"{stage.name}-adapter") as draft:
        write_additions(draft.path, parts, rank, scale * rank)


def _store_run(stage: Stage, model: Artifact, library: Library, figures: Mapping[str, object]) -> None:
    """Keep the run's record as the model's child: it has times in it, and a model's id should not."""
    with library.writing("run", parents=(model,), config=stage.config, name=f"{stage.name}-run") as draft:
        for name in ("metrics.jsonl", "samples.jsonl"):
            source = stage.folder / name
            (draft.path / name).write_bytes(source.read_bytes() if source.exists() else b"")
        files.write_json(draft.path / "recipe.json", stage.config)
        files.write_json(draft.path / "machine.json", describe_machine())
        draft.metrics = dict(figures)


def _validation(shards: TokenShards, context: int, settings: TrainSettings) -> list[Batch]:
    """A fixed sample of validation windows; none where the split is too small for one."""
    valid = shards.split("valid")
    batch = min(settings.batch, len(valid) // context)
    if not settings.evaluate_every or not batch:
        return []
    source = PackedTokens(valid, context, batch, VALIDATION_SEED)
    count = min(settings.evaluate_batches, max(1, source.windows // batch))
    return [source.next() for _ in range(count)]


def _held_out(questions: Artifact, context: int, encoder: Tokenizer, settings: TrainSettings) -> list[Batch]:
    """A fixed sample of validation conversations; none where no question was held out."""
    rows = encode(questions, "valid", encoder)
    size = min(settings.batch, sum(any(row.answered[1 : context + 1]) for row in rows))
    if not settings.evaluate_every or not size:
        return []
    source = ChatSource(rows, context, size, encoder.pad_id, VALIDATION_SEED)
    return [source.next() for _ in range(min(settings.evaluate_batches, len(source.batches)))]


def _steps_per_epoch(source: PackedTokens | Mixture) -> float:
    if isinstance(source, PackedTokens):
        return source.windows / source.batch
    return sum(part.windows for part in source.parts) / source.batch


def _mean_length(rows: Sequence[TokenizedConversation]) -> int:
    return max(1, math.ceil(sum(len(row.ids) for row in rows) / max(1, len(rows))))


def _continuation(model: Decoder, encoder: Tokenizer) -> Callable[[], str]:
    """What the model writes from nothing, as a live sample."""
    loaded = LoadedModel(model, encoder, None)  # type: ignore[arg-type]
    return lambda: _text_from_nothing(loaded)


def _text_from_nothing(loaded: LoadedModel) -> str:
    return "".join(delta.text for delta in continue_text(loaded, "", LIVE_SAMPLE, make_client(loaded, fast=False)))


def _answer(loaded: LoadedModel, questions: Artifact, context: int) -> Callable[[], str]:
    """A held-out question and the model's answer, another one each time; short ones, that leave room for an answer."""
    most = context // 2
    conversations = [row["messages"][:1] for row in read_questions(questions, "valid")]
    short = [asked for asked in conversations if len(loaded.tokenizer.encode_chat(asked)[0]) < most]
    turn = itertools.count()

    def sample() -> str:
        if not short:
            return _text_from_nothing(loaded)
        asked = short[next(turn) * 7919 % len(short)]
        model = LocalModel(loaded, make_client(loaded, fast=False), name="live", sampling=LIVE_SAMPLE)
        return f"{asked[0]['content']} → {model.reply([Message.from_wire(asked[0])]).text}"

    return sample
