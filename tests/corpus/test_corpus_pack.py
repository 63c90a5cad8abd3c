"""Token shards: every token of every document, found again through the boundaries."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CorruptError, NotFoundError
from seedbed.corpus.build import build_corpus
from seedbed.corpus.document import SPLITS
from seedbed.corpus.pack import TokenShards, TokenSplit, TokenWriter, pack_corpus
from seedbed.corpus.settings import CorpusSettings, SourceSettings
from seedbed.corpus.store import Corpus
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("pack") / "home")


@pytest.fixture(scope="module")
def corpus(library: Library) -> Artifact:
    generator = random.Random(0)
    words = ["alpha", "beta", "gamma", "delta", "naïve", "Ω", "kite", "lamp", "<|end|>", "moss", "nine", "oar"]
    sources = []
    for name, count, weight in (("one", 40, 1.0), ("two", 25, 2.0)):
        root = library.root.parent / name
        root.mkdir()
        for number in range(count):
            (root / f"{number:02}.txt").write_text(" ".join(generator.choices(words, k=60)) + "\n")
        sources.append(SourceSettings(name, str(root), "CC0-1.0", weight))
    return build_corpus(CorpusSettings(sources=tuple(sources)), library)


@pytest.fixture(scope="module")
def tokenizer(library: Library, corpus: Artifact) -> Artifact:
    texts = (document.text for document in Corpus.open(corpus).documents("train"))
    return train_tokenizer(texts, TokenizerSettings(kind="bpe", vocab_size=300)).store(library, parents=(corpus,))


@pytest.fixture(scope="module")
def packed(library: Library, corpus: Artifact, tokenizer: Artifact) -> Artifact:
    return pack_corpus(corpus, tokenizer, library, "packed")


def test_every_document_is_there_with_its_ends(corpus: Artifact, tokenizer: Artifact, packed: Artifact) -> None:
    shards, encoder = TokenShards.open(packed), Tokenizer.open(tokenizer)
    assert packed.manifest.parents == (corpus.id, tokenizer.id)
    for split in SPLITS:
        documents = list(Corpus.open(corpus).documents(split))
        tokens = shards.split(split)
        assert tokens.bytes.tolist() == [len(document.text.encode()) for document in documents]
        edges = [*tokens.starts.tolist(), len(tokens)]
        for document, start, stop in zip(documents, edges, edges[1:], strict=False):
            expected = [encoder.bos_id, *encoder.encode(document.text), encoder.end_id]
            assert tokens.read(start, stop).tolist() == expected


def test_sources_can_be_drawn_apart_and_by_weight(packed: Artifact) -> None:
    shards = TokenShards.open(packed)
    one, two, both = shards.split("train", "one"), shards.split("train", "two"), shards.split("train")
    assert shards.sources == ("one", "two")
    assert both.read(0, len(both)).tolist() == [*one.read(0, len(one)).tolist(), *two.read(0, len(two)).tolist()]
    assert shards.weights["two"] == pytest.approx(2 * len(two) / (len(one) + 2 * len(two)))
    assert sum(shards.weights.values()) == pytest.approx(1)
    with pytest.raises(NotFoundError, match="no source 'three'"):
        shards.split("train", "three")


def test_tokens_know_their_tokenizer(tokenizer: Artifact, packed: Artifact) -> None:
    shards = TokenShards.open(packed)
    assert shards.tokenizer_hash == Tokenizer.open(tokenizer).hash
    assert shards.vocab_size == Tokenizer.open(tokenizer).vocab_size
    assert shards.split("train").read(0, 5).dtype == np.uint16


@pytest.mark.parametrize("keep", [0, -2])
def test_a_truncated_shard_is_refused(library: Library, corpus: Artifact, tokenizer: Artifact, keep: int) -> None:
    artifact = pack_corpus(corpus, tokenizer, library)
    path = artifact.file("train-one-00000.bin")
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    try:
        with pytest.raises(CorruptError, match="damaged"):
            TokenShards.open(artifact)
    finally:
        path.write_bytes(whole)
    with pytest.raises(NotFoundError, match="holds no tokens"):
        TokenShards.open(corpus)


@pytest.mark.parametrize(("dtype", "limit"), [("<u2", 2**16), ("<u4", 2**20)])
def test_full_shards_continue_in_the_next_file(tmp_path: Path, dtype: str, limit: int) -> None:
    generator = random.Random(1)
    documents = [[generator.randrange(limit) for _ in range(generator.randrange(1, 40))] for _ in range(50)]
    writer = TokenWriter(tmp_path, "train-x", np.dtype(dtype), shard_tokens=64)
    for ids in documents:
        writer.add(ids, 3)
    index = writer.close()
    stream = [token for ids in documents for token in ids]
    assert len(index["shards"]) == -(-len(stream) // 64)
    shards = tuple(np.memmap(tmp_path / name, dtype=dtype, mode="r") for name in index["shards"])
    split = TokenSplit(shards, np.load(tmp_path / "train-x-starts.npy"), np.load(tmp_path / "train-x-bytes.npy"))
    assert len(split) == index["tokens"] == len(stream)
    for start, stop in ((0, len(stream)), (63, 65), (64, 128), (5, 6), (100, 400), (10, 10), (len(stream) - 3, 10**9)):
        assert split.read(start, stop).tolist() == stream[start:stop]
    lengths = np.cumsum([0, *map(len, documents)])
    assert split.starts.tolist() == lengths[:-1].tolist()
