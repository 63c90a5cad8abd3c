"""The n-gram baseline against a dictionary version written from the equations, against NLTK, and its sums."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from nltk.lm import KneserNeyInterpolated
from nltk.util import everygrams

from seedbed.evaluation.kneser_ney import KneserNey, modified_discounts, train_kneser_ney

VOCAB, BOS = 12, 0
Gram = tuple[int, ...]


def make_documents(count: int, seed: int) -> list[list[int]]:
    """A skewed Markov chain, so that n-grams of every count occur; some documents are very short."""
    generator = np.random.default_rng(seed)
    rows = generator.dirichlet(np.full(VOCAB - 2, 0.25), size=VOCAB)
    documents = []
    for _ in range(count):
        document = [BOS]
        for _ in range(int(generator.integers(0, 30))):
            document.append(int(generator.choice(VOCAB - 2, p=rows[document[-1]])) + 2)
        documents.append([*document, 1])
    return documents


def pack(documents: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    sizes = [len(document) for document in documents]
    return np.concatenate([np.array(document, np.uint16) for document in documents]), np.cumsum([0, *sizes[:-1]])


def scores(model: KneserNey, documents: Sequence[Sequence[int]]) -> np.ndarray:
    return np.exp2(model.log2_probabilities(*pack(documents)))


class Dictionary:
    """Chen & Goodman's equations with dictionaries and loops."""

    def __init__(self, documents: Sequence[Sequence[int]], order: int) -> None:
        self.order = order
        raw: Counter[Gram] = Counter()
        left: dict[Gram, set[int]] = defaultdict(set)
        for document in documents:
            for stop in range(1, len(document)):
                for start in range(max(0, stop - order + 1), stop + 1):
                    gram = tuple(document[start : stop + 1])
                    raw[gram] += 1
                    if start:
                        left[gram].add(document[start - 1])
        highest = {gram: count for gram, count in raw.items() if len(gram) == order}
        self.counts = {gram: len(left[gram]) or count for gram, count in raw.items()} | highest
        self.after: dict[Gram, list[int]] = defaultdict(list)
        for gram in self.counts:
            self.after[gram[:-1]].append(gram[-1])
        self.discounts = {length: self._discounts(length) for length in range(1, order + 1)}

    def _discounts(self, length: int) -> list[float]:
        values = Counter(count for gram, count in self.counts.items() if len(gram) == length)
        if not all(values[count] for count in (1, 2, 3)):
            return [0.0, 0.5, 1.0, 1.5]
        y = values[1] / (values[1] + 2 * values[2])
        found = [0.0] + [k - (k + 1) * y * values[k + 1] / values[k] for k in (1, 2, 3)]
        return found if min(found[1:]) > 0 else [0.0, 0.5, 1.0, 1.5]

    def probability(self, context: Gram, token: int) -> float:
        context = context[-(self.order - 1) :] if self.order > 1 else ()
        lower = self.probability(context[1:], token) if context else 1 / VOCAB
        following = self.after.get(context, [])
        if not following:
            return lower
        discounts = self.discounts[len(context) + 1]
        counts = {word: self.counts[(*context, word)] for word in following}
        total = sum(counts.values())
        saved = sum(discounts[min(count, 3)] for count in counts.values())
        count = counts.get(token, 0)
        return (count - discounts[min(count, 3)]) / total + saved / total * lower


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_equals_the_dictionary_version(order: int) -> None:
    train, test = make_documents(60, 1), make_documents(15, 2)
    slow = Dictionary(train, order)
    wanted = [
        1.0 if not place else slow.probability(tuple(document[:place]), token)
        for document in test
        for place, token in enumerate(document)
    ]
    fast = scores(train_kneser_ney(*pack(train), vocab_size=VOCAB, order=order), test)
    np.testing.assert_allclose(fast, wanted, rtol=1e-12)


def test_every_context_sums_to_one() -> None:
    train = make_documents(60, 3)
    model = train_kneser_ney(*pack(train), vocab_size=VOCAB, order=4)
    generator = np.random.default_rng(4)
    seen = [document[:cut] for document in train[:30] for cut in (1, 2, 5) if cut < len(document)]
    unseen = [[BOS, *generator.integers(2, VOCAB, size=length).tolist()] for length in range(8) for _ in range(8)]
    for context in [*seen, *unseen]:
        following = scores(model, [[*context, token] for token in range(VOCAB)])[len(context) :: len(context) + 1]
        assert math.isclose(following.sum(), 1.0, rel_tol=1e-12)
        assert following.min() > 0


def test_equals_nltk_where_it_is_comparable() -> None:
    """NLTK has one fixed discount and no uniform distribution below the unigrams, whose discount is therefore 0 here.

    It gives an n-gram that opens a document no count of its own below the highest order, so only contexts inside
    documents are compared; and it divides by zero for contexts it never saw, so only seen ones.
    """
    train, order, discount = make_documents(40, 5), 3, 0.6
    theirs = KneserNeyInterpolated(order, discount=discount)
    theirs.fit([list(everygrams(map(str, document), max_len=order)) for document in train], map(str, range(VOCAB)))
    model = train_kneser_ney(*pack(train), vocab_size=VOCAB, order=order, discounts=_fixed(discount))
    seen = sorted({tuple(document[at : at + 2]) for document in train for at in range(1, len(document) - 2)})
    for context in seen[:25]:
        ours = scores(model, [[*context, token] for token in range(2, VOCAB)])[2::3]
        wanted = [theirs.score(str(token), [str(word) for word in context]) for token in range(2, VOCAB)]
        np.testing.assert_allclose(ours, wanted, rtol=1e-9)


def _fixed(discount: float) -> Callable[[np.ndarray], np.ndarray]:
    amounts = iter([0.0, discount, discount])
    return lambda counts: np.array([0.0, 1, 1, 1]) * next(amounts)


def test_documents_do_not_see_each_other() -> None:
    train, test = make_documents(60, 6), make_documents(5, 7)
    model = train_kneser_ney(*pack(train), vocab_size=VOCAB)
    together = scores(model, test)
    apart = np.concatenate([scores(model, [document]) for document in test])
    np.testing.assert_array_equal(together, apart)


def test_documents_shorter_than_the_order() -> None:
    model = train_kneser_ney(*pack([[BOS, 5, 1], [BOS, 1]]), vocab_size=VOCAB, order=5)
    slow = Dictionary([[BOS, 5, 1], [BOS, 1]], 5)
    found = scores(model, [[BOS, 5, 5, 5, 1]])[1:]
    wanted = [slow.probability((BOS, 5, 5, 5)[:place], token) for place, token in ((1, 5), (2, 5), (3, 5), (4, 1))]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_discounts_by_hand() -> None:
    counts = np.repeat([1, 2, 3, 4, 9], [10, 5, 3, 2, 1])
    y = 10 / (10 + 2 * 5)
    np.testing.assert_allclose(
        modified_discounts(counts), [0, 1 - 2 * y * 5 / 10, 2 - 3 * y * 3 / 5, 3 - 4 * y * 2 / 3]
    )
    assert modified_discounts(np.array([7, 9])).tolist() == [0, 0.5, 1.0, 1.5]
