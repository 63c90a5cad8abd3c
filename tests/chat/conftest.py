"""A tiny model, a real server that serves it, and a server that answers what a test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from chat_servers import Scripted
from serving import SMALL, WINDOW, Live, add_model

from seedbed.chat.local import LocalModel
from seedbed.chat.remote import RemoteModel
from seedbed.core.artifacts import Library
from seedbed.inference.engine_client import make_client
from seedbed.models.store import LoadedModel, load_model


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A library with the models "tiny" and "short", whose window is a quarter of tiny's."""
    library = Library(tmp_path_factory.mktemp("library"))
    add_model(library, "tiny", 5, WINDOW)
    add_model(library, "short", 6, WINDOW // 4)
    return library


@pytest.fixture(scope="session")
def loaded(library: Library) -> LoadedModel:
    return load_model(library.get("tiny", "model"))


@pytest.fixture(scope="session")
def local(loaded: LoadedModel) -> LocalModel:
    return LocalModel(loaded, make_client(loaded), name="tiny")


@pytest.fixture(scope="session")
def short(library: Library) -> LocalModel:
    return LocalModel.open("short", library)


@pytest.fixture
def logprobs(loaded: LoadedModel) -> Callable[[list[int]], torch.Tensor]:
    """Natural log-probabilities of every next token (T, V), from one plain forward."""

    @torch.inference_mode()
    def compute(ids: list[int]) -> torch.Tensor:
        return loaded.model(torch.tensor([ids]))[0][0].log_softmax(-1)

    return compute


@pytest.fixture(scope="session")
def live(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    one = Live(library, tmp_path_factory.mktemp("serve"), SMALL, ("tiny",))
    yield one
    one.close()


@pytest.fixture(scope="session")
def remote(live: Live) -> Iterator[RemoteModel]:
    with RemoteModel(live.url, "tiny", live.key) as model:
        yield model


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    one = Scripted()
    yield one
    one.close()
