"""Servers that tests talk with: one they share, and others with settings of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from serving import SMALL, Live, add_model

from seedbed.core.artifacts import Library
from seedbed.models.store import LoadedModel, load_model
from seedbed.serve.settings import ServeSettings


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    library = Library(tmp_path_factory.mktemp("library"))
    add_model(library, "tiny", 5)
    add_model(library, "other", 6)
    return library


@pytest.fixture(scope="session")
def loaded(library: Library) -> LoadedModel:
    """The model "tiny" itself, as the oracle."""
    return load_model(library.get("tiny", "model"))


@pytest.fixture(scope="session")
def live(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that tests share."""
    one = Live(library, tmp_path_factory.mktemp("serve"), SMALL)
    yield one
    one.close()


@pytest.fixture
def start(library: Library, tmp_path: Path) -> Iterator[Callable[..., Live]]:
    """Starts servers of one's own, with other settings; all of a test share one folder."""
    with contextlib.ExitStack() as stack:

        def make(settings: ServeSettings = SMALL, models: tuple[str, ...] = ()) -> Live:
            one = Live(library, tmp_path, settings, models)
            stack.callback(one.close)
            return one

        yield make


@pytest.fixture
def logprobs(loaded: LoadedModel) -> Callable[[list[int]], torch.Tensor]:
    """Natural log-probabilities of every next token (T, V), from one plain forward."""

    @torch.inference_mode()
    def compute(ids: list[int]) -> torch.Tensor:
        return loaded.model(torch.tensor([ids]))[0][0].log_softmax(-1)

    return compute
