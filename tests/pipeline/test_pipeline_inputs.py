"""Whatever a recipe names is looked for before its first stage runs: paths, corpora, pairs with a context, models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from serving import add_model

from seedbed.app.quantize import quantized_copies
from seedbed.core.artifacts import Library
from seedbed.core.errors import DataError, NotFoundError, SeedbedError
from seedbed.corpus.columns import Columns
from seedbed.corpus.pairs import build_pairs
from seedbed.models.config import ModelConfig
from seedbed.models.factory import new_model
from seedbed.models.store import kind_of, save_model
from seedbed.pipeline.recipe import load_recipe
from seedbed.pipeline.run import run_recipe
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer


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


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("head", ["none", "mlm", "sequence"])
def test_a_model_of_another_kind_is_refused_before_the_first_stage(
    tmp_path: Path, text: Path, causal: bool, head: str
) -> None:
    library = Library(tmp_path / "home")
    tokenizer = train_tokenizer(["some text"], TokenizerSettings(kind="byte"))
    sizes: dict[str, Any] = {"d_model": 16, "n_layers": 1, "n_heads": 2, "max_length": 64}
    shape = ModelConfig(tokenizer.vocab_size, **sizes, head=head, causal=causal)  # type: ignore[arg-type]
    with library.writing("model", name="minilm") as draft:
        save_model(draft.path, new_model(shape), tokenizer)
    error = refused(library, on(text), "finetune.begin=minilm")
    assert error.what == "finetune cannot begin from minilm"
    assert error.why == f"it is {kind_of(shape)}, and causal_lm trains a decoder"


def test_a_decoder_is_refused_by_masked_lm_and_integers_without_additions(tmp_path: Path, text: Path) -> None:
    library = Library(tmp_path / "home")
    add_model(library, "mine", 5)
    error = refused(library, on(text), "train.begin=mine", recipe="masked-lm")
    assert error.why == "it is a decoder, and masked_lm trains a masked language model"
    [(name, made, _)] = quantized_copies(library, "mine", ["int8"], measure=False)
    error = refused(library, on(text), f"pretrain.begin={name}", recipe="quickstart")
    assert error.what == f"model {made.id[:12]} cannot be trained as a whole"
