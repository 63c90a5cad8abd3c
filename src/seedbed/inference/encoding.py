"""Texts to vectors with an encoder: batches of like length, padding masked, states pooled as the model was published.

A text that is longer than the model reads is cut at its end, and the result says which ones were. A text's vector does
not depend on the texts beside it but for the last bits: matrix products of another height are summed in another order,
which moves a vector of length 1 by less than 1e-6. The same texts in the same order give the same bits.

Left out: layers behind the pooled vector, and several ways of pooling joined; importing refuses such models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seedbed.core.errors import UsageError
from seedbed.inference.parameters import check_prompt
from seedbed.models.config import AnyConfig, ModelConfig
from seedbed.models.factory import AnyModel
from seedbed.models.store import Loaded, kind_of
from seedbed.models.task_model import TaskModel

Vectors = NDArray[np.float32]
BATCH_TOKENS = 2048
"""Tokens of a batch, padding included: enough for full-speed matrix products, few enough for a CPU's cache."""


@dataclass(frozen=True)
class Encoded:
    """Vectors of texts."""

    vectors: Vectors  # (N, D)
    tokens: tuple[int, ...]  # how many were read of each text, with what the tokenizer puts around it
    cut: tuple[int, ...]  # places of the texts that were longer than the model reads


class Encoder:
    """Makes vectors with a model without a head, or one for masked tokens, whose head is not used.

    Takes one from ``load_any``; raises UsageError for a model of another kind.
    """

    def __init__(self, loaded: Loaded[AnyModel]) -> None:
        model = loaded.model
        if not embeds(model.config):
            what, why = f"model {loaded.artifact.id[:12]} makes no vectors of texts", f"it is {kind_of(model.config)}"
            fix = "choose an encoder, such as one that sentence-transformers published"
            raise UsageError(what, why=why, fix=fix)
        self.loaded, self.model, self.tokenizer = loaded, cast(TaskModel, model), loaded.tokenizer
        kept = loaded.published.get("pooling", {})
        self.normalize = bool(kept.get("normalize", False))
        self.prompts: dict[str, str] = dict(kept.get("prompts", {}))
        self._lowercase = bool(kept.get("lowercase", False))
        self.window = min(kept.get("max_seq_length") or self.model.config.max_length, self.model.config.max_length)

    @property
    def size(self) -> int:
        """Numbers in a vector."""
        return self.model.config.d_model

    def encode(self, texts: Sequence[str], *, role: str = "") -> Encoded:
        """Compute vectors of texts. Raises DataError for a lone surrogate, which is no Unicode text.

        ``role`` ("query", "document" …) puts the model's prompt for it, if it has one, before each text.
        """
        prompt = self.prompts.get(role, "")
        asked = [prompt + (text.lower() if self._lowercase else text) for text in texts]
        found = self.tokenizer.encode_batch(asked)
        room = max(1, self.window - len(self.tokenizer.wrap([])))
        ids = [self.tokenizer.wrap(one[:room]) or [self.tokenizer.pad_id] for one in found]
        cut = tuple(place for place, one in enumerate(found) if len(one) > room)
        return Encoded(self.embed(ids), tuple(map(len, ids)), cut)

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text with the special tokens around it; nothing is cut."""
        return self.tokenizer.wrap(self.tokenizer.encode(text.lower() if self._lowercase else text))

    @torch.inference_mode()
    def embed(self, ids: Sequence[Sequence[int]]) -> Vectors:
        """Compute vectors (N, D) of texts as ids, special tokens included. Raises as :func:`check_prompt`."""
        for one in ids:
            check_prompt(one, self.model.config.vocab_size, self.model.config.max_length)
        vectors = np.zeros((len(ids), self.size), np.float32)
        for places in batches([len(one) for one in ids]):
            vectors[places] = self._pooled([ids[place] for place in places]).cpu().numpy()
        return vectors

    def _pooled(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Compute (B, D) of one batch."""
        device = next(self.model.parameters()).device
        rows = [torch.tensor(one, device=device) for one in ids]
        lengths = torch.tensor([len(one) for one in ids], device=device)
        padded = pad_sequence(rows, batch_first=True)  # (B, T); what is in the padding is not looked at
        real = torch.arange(padded.shape[1], device=device) < lengths[:, None]  # (B, T)
        mask = None if bool(real.all()) else real  # none is faster
        hidden, _ = self.model.hidden(padded, real=mask)
        pooled = self.model.pooled(hidden.float(), mask)
        return torch.nn.functional.normalize(pooled, dim=-1) if self.normalize else pooled


def embeds(config: AnyConfig) -> bool:
    """Tell whether a model makes vectors of texts."""
    return isinstance(config, ModelConfig) and config.head in ("none", "mlm")


def batches(lengths: Sequence[int], budget: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Yield batches of texts' indices, longest first: texts of like length that fill ``budget`` tokens."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
