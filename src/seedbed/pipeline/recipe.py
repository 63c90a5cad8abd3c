"""A recipe: every setting of a whole run, in one TOML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.core import config
from seedbed.core.config import setting
from seedbed.corpus.questions import QuestionSettings
from seedbed.corpus.settings import CorpusSettings
from seedbed.models.config import ModelConfig
from seedbed.models.presets import default_shape, preset
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.train.settings import TrainSettings

SHAPE = ("d_model", "n_heads", "n_kv_heads", "d_ff", "dropout")


@dataclass(frozen=True)
class ModelSettings:
    """The model's shape: our default with depth as the dial, or a preset; single fields can be set beside it."""

    depth: int = setting(4, "blocks; the width is 64 times as much", at_least=1)
    context: int = setting(512, "longest context", unit="tokens", at_least=8)
    preset: str = setting("", "a published shape instead, such as 'gpt2' (see `seedbed plan`)")
    start: str = setting("", "a model to begin from, such as a pulled one; it brings its shape and tokenizer")
    d_model: int | None = setting(None, "width instead of 64 a block", unit="channels", at_least=8)
    n_heads: int | None = setting(None, "query heads instead of one per 64 channels", at_least=1)
    n_kv_heads: int | None = setting(None, "key/value heads instead of half the query heads", at_least=1)
    d_ff: int | None = setting(None, "hidden width of the feed-forward layers", unit="channels", at_least=8)
    dropout: float | None = setting(None, "share of activations dropped in training", at_least=0, at_most=0.9)

    def config(self, vocab_size: int) -> ModelConfig:
        """The model for a vocabulary.

        Raises:
            UsageError: there is no such preset, or two fields contradict (ConfigError).
        """
        changes = {name: getattr(self, name) for name in SHAPE if getattr(self, name) is not None}
        if self.preset:
            shape = config.to_dict(preset(self.preset))
        else:
            shape = default_shape(self.depth, vocab_size, self.context, **changes)
        return config.parse(ModelConfig, shape | changes | {"vocab_size": vocab_size, "max_length": self.context})


@dataclass(frozen=True)
class FinetuneSettings:
    """Fine-tuning on conversations made from the corpus."""

    train: TrainSettings = setting(TrainSettings(minutes=1.0), "how to train")
    questions: QuestionSettings = setting(QuestionSettings(), "how questions are made")
    pairs: str = setting("", "pairs of the library (`seedbed pull hf:datasets/… --as pairs`) instead of questions made")
    rank: int = setting(
        0, "train low-rank additions (LoRA) of this rank, not the weights themselves; 0: all", at_least=0
    )
    alpha: float = setting(16.0, "the additions count alpha / rank times", at_least=0)
    replay: float = setting(
        0.5, "share of the steps on the corpus itself, against forgetting", at_least=0, at_most=0.95
    )


@dataclass(frozen=True)
class Recipe:
    """A whole run. A section that is left out keeps its defaults; ``finetune`` can be left out by ``chat = false``."""

    name: str = setting("quickstart", "what the model will be called")
    corpus: CorpusSettings = setting(CorpusSettings(), "the text")
    use_corpus: str = setting("", "a corpus of the library instead, such as one that was pulled")
    tokenizer: TokenizerSettings = setting(TokenizerSettings(), "the tokenizer")
    model: ModelSettings = setting(ModelSettings(), "the model's shape")
    pretrain: TrainSettings = setting(TrainSettings(minutes=5.0), "training on the text")
    pretraining: bool = setting(True, "train on the text; a model to begin from may be fine-tuned alone")
    chat: bool = setting(True, "fine-tune on questions and answers made from the text")
    finetune: FinetuneSettings = setting(FinetuneSettings(), "training on conversations")
    baselines: bool = setting(True, "measure baselines beside the model")

    def __post_init__(self) -> None:
        if not self.pretraining and not (self.model.start and self.chat):
            raise ValueError("without pretraining there must be a model to begin from (model.start) and chat = true")


def load_recipe(path: Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; see `seedbed.core.config.load` for what is refused."""
    return config.load(Recipe, path, overrides=overrides)


def differences(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> list[str]:
    """The keys in which two recipes (as tables) differ."""
    found: list[str] = []
    for key in sorted(one.keys() | other.keys()):
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}")
    return found
