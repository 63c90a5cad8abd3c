"""Models that generate no text: masked tokens, classes of a text, classes of tokens, spans of an answer, embeddings.

BERT and its kin (Devlin et al. 2019), and decoders with a classifier in place of the output embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seedbed.models.config import ModelConfig
from seedbed.models.stack import Stack
from seedbed.nn.feedforward import ACTIVATIONS
from seedbed.nn.norm import make_norm


class MaskedHead(nn.Module):
    """Logits of every token at every position: dense, activation, norm, output embedding (BERT, section 3.1)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.dense = nn.Linear(config.d_model, config.d_model)
        self.norm = make_norm(config.norm, config.d_model, config.norm_eps)
        self.output = nn.Linear(config.d_model, config.vocab_size, bias=config.head_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits: (…, D) → (…, V)."""
        logits: Tensor = self.output(self.norm(self.activation(self.dense(hidden))))
        return logits


class LabelHead(nn.Module):
    """Scores of classes; where the configuration says so, behind a layer and a non-linearity (BERT's pooler)."""

    def __init__(self, config: ModelConfig, labels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(config.d_model, config.d_model) if config.head_dense else None
        self.activation = ACTIVATIONS[config.head_activation]
        self.output = nn.Linear(config.d_model, labels, bias=config.head_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return scores: (…, D) → (…, labels)."""
        if self.dense is not None:
            hidden = self.activation(self.dense(hidden))
        scores: Tensor = self.output(hidden)
        return scores


class TaskModel(Stack):
    """A stack with the head that ``config.head`` names."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.head: nn.Module
        if config.head == "mlm":
            self.head = MaskedHead(config)
        elif config.head in ("sequence", "token", "span"):
            self.head = LabelHead(config, 2 if config.head == "span" else config.labels)
        elif config.head == "none":
            self.head = nn.Identity()
        else:
            raise ValueError("a model with a language model's head is a Decoder")
        self.tie()

    def forward(self, ids: Tensor, *, real: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Return the head's output for ids (B, T); ``real`` (B, T) tells text from padding at the end.

        mlm: logits (B, T, V). sequence: scores (B, labels). token: scores (B, T, labels). span: scores (B, T, 2) of
        being the first and the last token of the answer. none: hidden states (B, T, D).
        """
        hidden, _ = self.hidden(ids, real=real, segments=segments)
        out: Tensor = self.head(self.pooled(hidden, real) if self.config.head == "sequence" else hidden)
        return out

    def pooled(self, hidden: Tensor, real: Tensor | None = None) -> Tensor:
        """Return one vector (B, D) for each text, as ``config.pool`` says."""
        real = torch.ones(hidden.shape[:2], device=hidden.device) if real is None else real
        if self.config.pool == "first":
            return hidden[:, 0]
        if self.config.pool == "last":
            last = (real.long() * torch.arange(real.shape[1], device=real.device)).argmax(1)
            return hidden[torch.arange(len(hidden), device=hidden.device), last]
        weights = real.to(hidden.dtype)[..., None]
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)

    def shared(self) -> dict[str, str]:
        """Return the tied output embedding of a masked language model, where the configuration ties it."""
        tied = self.config.tied and self.config.head == "mlm"
        return {"head.output.weight": "embedding.weight"} if tied else {}

    def tie(self) -> None:
        """Tie the embedding to the masked head."""
        if isinstance(self.head, MaskedHead) and self.config.tied:
            self.head.output.weight = self.embedding.weight
