"""`seedbed import`, `export`, `cp` and `rm` on a tiny model, and what `show` says of models."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from published_models import published_folder, tiny_model
from safetensors.torch import load_file

from seedbed.core.artifacts import Library
from seedbed.kernel.quantized_layers import QuantizedLinear
from seedbed.models.families.weight_mapping import dump
from seedbed.models.store import load_model

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Library:
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    return Library()


def test_what_is_exported_is_imported_as_it_was(invoke: Run, library: Library, tmp_path: Path) -> None:
    original = tiny_model(library, "tiny")
    folder = tmp_path / "out"
    code, out, err = invoke("export", "tiny", "--to", "hf", "--output", str(folder))
    assert (code, out) == (0, f"{folder}\n"), err
    assert (folder / "README.md").read_text().startswith('---\nlicense: "mit"\n')
    assert sum(tensor.numel() for tensor in load_file(folder / "model.safetensors").values()) > 0
    told = json.loads(invoke("import", str(folder), "--name", "back", "--json")[1])
    back = library.get("back")
    assert told["id"] == back.id
    assert back.manifest.licence == "mit"
    one, other = (load_model(artifact).model.state_dict() for artifact in (original, back))
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)


def test_an_export_is_not_written_over_anything(invoke: Run, library: Library, tmp_path: Path) -> None:
    tiny_model(library, "tiny")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine").write_text("x")
    code, _, err = invoke("export", "tiny", "--to", "hf", "--output", str(folder))
    assert (code, "exists already" in err) == (2, True)
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_a_full_disk_leaves_no_half_of_an_export(invoke: Run, library: Library, tmp_path: Path) -> None:
    tiny_model(library, "tiny")
    (tmp_path / "place").mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        code, _, err = invoke("export", "tiny", "--to", "hf", "--output", str(tmp_path / "place" / "out"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert (code, "disk is full" in err) == (5, True)
    assert list((tmp_path / "place").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["import", "nowhere"], 4, "there is no nowhere"),
        (["import", "pickle.bin"], 2, "pickle"),
        (["export", "nothing", "--to", "hf"], 4, "no model called 'nothing'"),
        (["export", "tiny", "--to", "onnx"], 2, "onnx"),
    ],
)
def test_errors(
    invoke: Run,
    library: Library,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    tiny_model(library, "tiny")
    monkeypatch.chdir(tmp_path)
    Path("pickle.bin").write_bytes(b"\x80\x04.")
    found, _, err = invoke(*arguments)
    assert (found, words in err) == (code, True), err
    assert len(err.splitlines()) == 3


def test_a_published_folder_keeps_its_licence_unless_told(invoke: Run, library: Library, tmp_path: Path) -> None:
    folder = published_folder(tmp_path)
    assert invoke("import", str(folder))[0] == 0
    assert library.get("published").manifest.licence == "apache-2.0"
    assert invoke("import", str(folder), "--name", "other", "--licence", "CC0-1.0")[0] == 0
    assert library.get("other").id == library.get("published").id


def test_show_counts_parameters_and_names_what_is_shared(invoke: Run, library: Library) -> None:
    artifact = tiny_model(library, "tiny")
    expected = sum(parameter.numel() for parameter in load_model(artifact).model.parameters())
    shown = json.loads(invoke("show", "tiny", "--json")[1])
    assert shown["parameters"]["total"] == expected
    assert shown["parameters"]["embedding"] == 262 * 64
    assert shown["shared"] == {"output.weight": "embedding.weight"}
    assert shown["quantization"] is None
    lines = invoke("show", "tiny")[1].splitlines()
    assert any(line.startswith(f"parameters {expected:,}: embedding 16,768, attention") for line in lines)
    assert any(line.startswith("shared   output.weight is embedding.weight") for line in lines)
    assert invoke("quantize", "tiny", "--quantization", "int8", "--no-measure")[0] == 0
    assert "weights  int8" in invoke("show", "tiny-int8")[1].splitlines()


def test_cp_gives_a_further_name(invoke: Run, library: Library) -> None:
    one, other = tiny_model(library, "one"), tiny_model(library, "other", seed=5)
    assert invoke("cp", "one", "again")[0] == 0
    assert library.get("again").id == one.id
    code, _, err = invoke("cp", "one", "other")
    assert (code, "is the name of something else" in err) == (2, True)
    assert library.get("other").id == other.id
    assert invoke("cp", "one", "other", "--force")[0] == 0
    assert library.get("other").id == one.id
    assert invoke("cp", "one", "no good")[0] == 2
    assert invoke("cp", "nothing", "x")[0] == 4


def test_rm_says_what_goes_and_asks(invoke: Run, library: Library) -> None:
    artifact = tiny_model(library, "one")
    for stdin, code in (("n\n", 130), ("", 2)):
        found, _, err = invoke("rm", "one", stdin=stdin)
        assert found == code
        assert f"{artifact.size / 1000:.0f} kB" in err
        assert library.get("one").id == artifact.id
    assert invoke("rm", "one", stdin="y\n")[0] == 0
    assert library.names() == {}
    assert not artifact.path.exists()
    assert invoke("rm", "one", "--yes")[0] == 4


def test_rm_of_one_of_several_names_keeps_the_files(invoke: Run, library: Library) -> None:
    artifact = tiny_model(library, "one")
    library.name("also", artifact)
    code, _, err = invoke("rm", "also", "--yes")
    assert (code, "no bytes are freed" in err) == (0, True)
    assert library.names() == {"one": artifact.id}
    library.name("also", artifact)
    code, _, err = invoke("rm", artifact.id[:10], "--yes")
    assert (code, "its other names are removed too: also, one" in err) == (0, True)
    assert (library.names(), library.all()) == ({}, [])


def test_rm_keeps_what_others_were_made_from(invoke: Run, library: Library) -> None:
    parent = tiny_model(library, "parent")
    child = tiny_model(library, "child", parent, seed=3)
    code, _, err = invoke("rm", "parent")  # before anything is asked
    assert (code, f"model {child.id[:12]} was made from it" in err) == (2, True)
    told = json.loads(invoke("rm", "parent", "--yes", "--force", "--json")[1])
    assert told == {"removed": parent.id, "bytes": parent.size, "names": ["parent"]}
    assert "missing" in invoke("show", "child")[1]
    assert invoke("show", "child", "--verify")[0] == 1


@pytest.mark.parametrize("form", ["hf", "gguf"])
def test_an_export_that_would_write_other_tokens_is_not_kept(
    invoke: Run, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """The fault is planted in the writing: a layer's rows swapped, which no check of names or shapes can see."""
    from seedbed.formats import exporting
    from seedbed.formats.gguf import model as gguf

    tiny_model(library, "tiny", pieces=True)
    kept = tmp_path / "kept"
    code, _, err = invoke("export", "tiny", "--to", form, "--output", str(kept))
    assert (code, "read again: the same logits for 12 tokens" in err) == (0, True), err

    def swapped(*arguments: object) -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in dump(*arguments):  # type: ignore[arg-type]
            yield name, tensor.flip(0).contiguous() if "down" in name or "ffn_norm" in name else tensor

    monkeypatch.setattr(exporting, "dump", swapped)
    monkeypatch.setattr(gguf, "dump", swapped)
    code, _, err = invoke("export", "tiny", "--to", form, "--output", str(tmp_path / "out"))
    assert (code, "does not hold the model as it is here" in err) == (1, True), err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["hf", "gguf"])
def test_integers_are_exported_as_the_numbers_they_mean(
    invoke: Run, library: Library, tmp_path: Path, form: str
) -> None:
    tiny_model(library, "tiny", pieces=True)
    assert invoke("quantize", "tiny", "--quantization", "int8", "--no-measure", "--name", "small")[0] == 0
    code, _, err = invoke("export", "small", "--to", form, "--output", str(tmp_path / "out"))
    assert (code, "float16 numbers are written" in err) == (0, True), err
    (path,) = (tmp_path / "out").glob("*.gguf") if form == "gguf" else [tmp_path / "out"]
    assert invoke("import", str(path), "--name", "back")[0] == 0
    one, other = (load_model(library.get(name)).model for name in ("small", "back"))
    for path_, layer in one.named_modules():
        if isinstance(layer, QuantizedLinear):
            torch.testing.assert_close(other.get_submodule(path_).weight.float(), layer.weight, rtol=1e-3, atol=1e-6)
