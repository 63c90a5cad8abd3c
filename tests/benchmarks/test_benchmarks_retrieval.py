"""The measures of `benchmarks/retrieval.py` against their formula and scikit-learn's, and a small run of it."""

from __future__ import annotations

import json
import lzma
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from retrieval import interval, ndcg, recall  # noqa: E402


def test_measures_by_hand() -> None:
    grades = {1: 3, 2: 1, 7: 2}
    ideal = 3 + 2 / math.log2(3) + 1 / 2
    assert ndcg([1, 7, 2], grades) == pytest.approx(1)
    assert ndcg([2, 9, 1], grades) == pytest.approx((1 + 3 / 2) / ideal)
    assert ndcg([9] * 10 + [1], grades) == 0
    assert recall([9, 2, 1], grades) == pytest.approx(2 / 3)
    assert recall([9, 2, 1], grades, depth=2) == pytest.approx(1 / 3)


def test_ndcg_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    chance = np.random.default_rng(0)
    for _ in range(30):
        grades = chance.integers(0, 4, 40)
        grades[0] = 1
        order = chance.permutation(40)
        scores = np.empty(40)
        scores[order] = np.arange(40, 0, -1)
        found = ndcg(order.tolist(), {place: int(grade) for place, grade in enumerate(grades) if grade})
        assert found == pytest.approx(metrics.ndcg_score([grades], [scores], k=10))


def test_an_interval_holds_the_mean() -> None:
    low, high = interval([0.0, 1.0] * 50)
    assert 0.3 < low < 0.5 < high < 0.7


def test_a_small_set_is_measured(tmp_path: Path) -> None:
    topics = ["ships sail the sea", "bread and cheese", "distant stars shine", "cats chase mice"]
    documents = [{"id": str(place), "title": f"Text {place}", "text": text} for place, text in enumerate(topics)]
    with lzma.open(tmp_path / "small_docs.jsonl.xz", "wt") as file:
        file.writelines(json.dumps(one) + "\n" for one in documents)
    queries = [
        {"qid": "a", "query": "a sailing ship"},
        {"qid": "b", "query": "stars"},
        {"qid": "c", "query": "unjudged"},
    ]
    (tmp_path / "small_queries_dev.jsonl").write_text("".join(json.dumps(one) + "\n" for one in queries))
    grades = [
        {"qid": "a", "doc": "0", "rel": 2},
        {"qid": "b", "doc": "2", "rel": 1},
        {"qid": "b", "doc": "1", "rel": 0},
    ]
    (tmp_path / "small_qrels_dev.jsonl").write_text("".join(json.dumps(one) + "\n" for one in grades))
    command = [sys.executable, str(ROOT / "benchmarks" / "retrieval.py"), "--data", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)["small"]
    assert (result["documents"], result["questions"]) == (4, 2)
    for name in ("TF-IDF", "BM25", "latent", "hybrid BM25 + latent"):
        assert result["systems"][name] == {"ndcg@10": [1.0, 1.0], "recall@100": [1.0, 1.0]}
