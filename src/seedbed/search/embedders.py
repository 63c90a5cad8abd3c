"""Embedders that are models: a local encoder or decoder, or a server with OpenAI's embeddings API.

An encoder gives the vectors it was published for. A decoder's vector is the mean of a text's last hidden states. It was
trained to write, not to search: measure it on your own questions (``benchmarks/retrieval.py``) before you prefer it to
TF-IDF (``vectors/lsa.py``).
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag

import numpy as np

from seedbed.chat.failures import RemoteError
from seedbed.chat.open_model import KEY_VARIABLE, is_url
from seedbed.chat.remote import RemoteModel
from seedbed.chat.transport import Retries, Transport
from seedbed.core.machine import multiplies_bfloat16
from seedbed.core.progress import say
from seedbed.search.contracts import Embedder
from seedbed.vectors.lsa import Vectors, unit

if TYPE_CHECKING:
    from seedbed.chat.local import LocalModel
    from seedbed.core.artifacts import Artifact, Library
    from seedbed.inference.encoding import Encoder

TFIDF = "tfidf"
"""The name of the embedder that needs no model."""
NO_EMBEDDER = "none"
"""The name of no embedder: a collection that is searched by words alone, until it is given another."""
_AT_ONCE = 64  # texts in a request


class LocalEmbedder:
    """The mean of a model's last hidden states over a text's tokens; a text longer than its window goes in parts."""

    def __init__(self, model: LocalModel) -> None:
        self._model = model
        self.name = _name_of(model.loaded.artifact)
        self.size = model.loaded.model.config.d_model

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return vectors (N, size), each of length 1."""
        return unit(np.stack([self._mean(text) for text in texts])) if texts else np.zeros((0, self.size), np.float32)

    def embed_query(self, text: str) -> Vectors:
        """Return a vector (size,)."""
        return np.asarray(self.embed_documents([text])[0], np.float32)

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text."""
        return self._model.count_tokens(text)

    def _mean(self, text: str) -> Vectors:
        ids, window = self._model.tokenizer.encode_prompt(text), self._model.context_window
        parts = [ids[at : at + window] for at in range(0, len(ids), window)]
        sums = [self._model.client.embed(part).double().cpu().numpy() * len(part) for part in parts]
        return np.asarray(sum(sums) / len(ids), np.float32)


class EncoderEmbedder:
    """An encoder's vectors, of length 1. Documents longer than its window are cut, and reported."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.name, self.size = _name_of(encoder.loaded.artifact), encoder.size

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return vectors (N, size), each of length 1."""
        found = self._encoder.encode(texts, role="document")
        if found.cut:
            most = self._encoder.window
            say(f"{len(found.cut)} of {len(texts)} texts have a vector of their first {most} tokens only")
        return unit(found.vectors)

    def embed_query(self, text: str) -> Vectors:
        """Return a vector (size,)."""
        return np.asarray(unit(self._encoder.encode([text], role="query").vectors)[0], np.float32)

    def go_faster(self) -> None:
        """Compute in bfloat16 from now on, where the processor can: nearly twice as fast, cosines of 0.9999."""
        if multiplies_bfloat16():
            self._encoder.model.bfloat16()

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text."""
        return len(self._encoder.tokenizer.encode(text))


def _name_of(artifact: Artifact) -> str:
    """Return a name by the model's id: another model under the same name makes other vectors."""
    return f"model-{artifact.id[:16]}"


class RemoteEmbedder:
    """Vectors from a server's ``/v1/embeddings``: its URL, a model and a key as for a ``RemoteModel``."""

    def __init__(self, url: str, model: str | None = None, key: str | None = None, *, timeout: float = 300.0) -> None:
        self._remote = RemoteModel(url, model, key)
        self._transport = Transport(key, timeout, Retries())

    @cached_property
    def name(self) -> str:
        """The server's URL and the model."""
        return f"{self._remote.url}#{self._remote.name}"

    @cached_property
    def size(self) -> int:
        """Numbers in a vector, as the server returns one."""
        return len(self._ask(["size"])[0])

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return vectors (N, size), each of length 1.

        Raises RemoteError: the server does not answer with vectors. UsageError: it refuses a text.
        """
        parts = [self._ask(texts[at : at + _AT_ONCE]) for at in range(0, len(texts), _AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros((0, self.size), np.float32)

    def embed_query(self, text: str) -> Vectors:
        """Return a vector (size,)."""
        return np.asarray(self._ask([text])[0], np.float32)

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text as the server does, or estimate them."""
        return self._remote.count_tokens(text)

    def _ask(self, texts: Sequence[str]) -> Vectors:
        url = f"{self._remote.url}/embeddings"
        body = {"model": self._remote.name, "input": list(texts), "encoding_format": "float"}
        return unit(_vectors(self._transport.request("POST", url, body), len(texts), url))


def _vectors(answer: Any, count: int, url: str) -> Vectors:
    """Return the vectors of an answer, in the order of its indices."""
    try:
        rows = sorted(answer["data"], key=lambda row: row["index"])
        found = np.array([row["embedding"] for row in rows], np.float32)
        if found.ndim != 2 or len(found) != count or not np.isfinite(found).all():
            raise ValueError(f"their shape is {found.shape} for {count} texts")
    except (TypeError, KeyError, ValueError) as error:
        why = f"{url}: {type(error).__name__}: {error}"
        raise RemoteError("the server does not answer with vectors", why=why, fix="check the model's name") from error
    return found


class RememberingEmbedder:
    """An embedder that keeps the vectors of the texts it saw last, since popular passages are asked again and again.

    Safe for several threads: one that wants a text which another is computing waits for it.
    """

    def __init__(self, embedder: Embedder, texts: int = 4096) -> None:
        self.name, self.size, self._embedder, self._most = embedder.name, embedder.size, embedder, texts
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return vectors (N, size)."""
        if not texts:
            return np.zeros((0, self.size), np.float32)
        with self._lock:
            if new := [text for text in dict.fromkeys(texts) if text not in self._vectors]:
                self._vectors.update(zip(new, self._embedder.embed_documents(new), strict=True))
            found = np.stack([self._vectors[text] for text in texts])
            for text in texts:
                self._vectors.move_to_end(text)
            while len(self._vectors) > self._most:
                self._vectors.popitem(last=False)
            return found

    def embed_query(self, text: str) -> Vectors:
        """Return a vector (size,)."""
        return self._embedder.embed_query(text)


def compares_sentences(embedder: Embedder) -> bool:
    """Tell whether an embedder was made to compare texts: a model that writes was not."""
    return not isinstance(embedder, LocalEmbedder)


def go_faster(embedder: Embedder) -> None:
    """Let an encoder compute many vectors faster and a little less exactly; others are as they are."""
    if isinstance(embedder, EncoderEmbedder):
        embedder.go_faster()


def open_embedder(reference: str, library: Library | None = None, key: str | None = None) -> Embedder:
    """Open a model's embedder: by its name in the library, or by ``URL`` or ``URL#MODEL`` of a server.

    The server is not asked yet.

    Args:
        key: of the server; by default the environment's ``SEEDBED_KEY``.

    Raises NotFoundError: there is no such model. UsageError: the URL is not valid, or the model makes no vectors.
    """
    if is_url(reference):
        url, model = urldefrag(reference)
        return RemoteEmbedder(url, model or None, key or os.environ.get(KEY_VARIABLE) or None)
    from seedbed.chat.local import LocalModel  # torch: not before it is needed
    from seedbed.core.artifacts import Library
    from seedbed.inference.encoding import Encoder
    from seedbed.models.config import ModelConfig
    from seedbed.models.store import load_any, read_config, read_description

    artifact = (library or Library()).get(reference, "model")
    config = read_config(read_description(artifact)["model"])
    if isinstance(config, ModelConfig) and config.head == "lm":
        return LocalEmbedder(LocalModel.open(reference, library))
    return EncoderEmbedder(Encoder(load_any(artifact)))
