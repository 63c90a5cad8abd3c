"""Whatever a recipe names is looked for before its first stage runs: paths, corpora, pairs with a context, models."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.core.artifacts import Library
from seedbed.core.errors import DataError, NotFoundError, SeedbedError
from seedbed.corpus.columns import Columns
from seedbed.corpus.pairs import build_pairs
from seedbed.pipeline.recipe import load_recipe
from seedbed.pipeline.run import run_recipe


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "a.md").write_text("# Harbour\n\nThe old harbour was built in 1612.\n")
    return folder


def refused(library: Library, *changes: str, recipe: str = "reader") -> SeedbedError:
    before = [one.id for one in library.all()]
    with pytest.raises(SeedbedError) as caught:
        run_recipe(load_recipe(recipe, changes), library)
    assert [one.id for one in library.all()] == before  # no stage has run
    assert not (library.root / "work").exists()
    return caught.value


def on(folder: Path) -> str:
    return f'corpus.sources=[{{name = "a", path = "{folder}"}}]'


def test_an_open_model_that_is_not_there_is_to_be_pulled(tmp_path: Path, text: Path) -> None:
    library = Library(tmp_path / "home")
    error = refused(library, on(text))
    assert isinstance(error, NotFoundError)
    assert error.fix == "run `seedbed pull smollm2` first"
    error = refused(library, on(text), "finetune.begin=mine")
    assert isinstance(error, NotFoundError)
    assert "pull" not in error.fix


def test_missing_paths_and_artifacts_are_missed_at_once(tmp_path: Path, text: Path) -> None:
    library = Library(tmp_path / "home")
    assert "nowhere" in refused(library, on(tmp_path / "nowhere")).what
    assert "no corpus" in refused(library, "corpus.use=old").what
    assert "no questions" in refused(library, on(text), "reading.pairs=team").what
    assert "no questions" in refused(library, on(text), "questions.use=team", recipe="quickstart").what
    assert "no model" in refused(library, on(text), "tokenizer.use=gone", recipe="quickstart").what


def test_pairs_without_a_context_cannot_be_read(tmp_path: Path, text: Path) -> None:
    library = Library(tmp_path / "home")
    rows = [(f"s#{n}", {"question": f"q{n}", "answer": "a"}) for n in range(9)]
    build_pairs(rows, Columns(prompt="question", reply="answer"), library, "bare")
    error = refused(library, on(text), "reading.pairs=bare")
    assert isinstance(error, DataError)
    assert "context" in error.why


def test_one_plain_name_stands_for_a_list_of_one() -> None:
    for given in ("reading.pairs=team", 'reading.pairs=["team"]', 'reading.pairs="team"'):
        stage = next(one for one in load_recipe("reader", [given]).stage if one.title == "reading")
        assert stage.pairs == ("team",)  # type: ignore[attr-defined]
