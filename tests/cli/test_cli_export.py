"""`seedbed import`, `export`, `cp` and `rm` on a tiny model, and what `show` says of models."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from gguf import GGUFReader
from gguf.constants import Keys
from published_models import published_folder, tiny_model
from safetensors.torch import load_file

from seedbed.app import export_check
from seedbed.core.artifacts import Library
from seedbed.core.errors import CorruptError
from seedbed.formats import exporting
from seedbed.formats.gguf import model as gguf
from seedbed.formats.importing import open_published
from seedbed.formats.published import Published
from seedbed.formats.published_forms import GgufPrecision
from seedbed.kernel.quantized_layers import QuantizedLinear
from seedbed.models.decoder import Decoder
from seedbed.models.factory import AnyModel
from seedbed.models.families.weight_mapping import dump
from seedbed.models.presets import default_model
from seedbed.models.store import Loaded, load_any, load_model
from seedbed.rag.collection import Collection

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
        (["import", "chats.jsonl"], 2, "seedbed corpus pairs chats.jsonl"),
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
    Path("chats.jsonl").write_text('{"messages": []}\n')
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


def test_an_import_takes_no_name_of_another_model(invoke: Run, library: Library, tmp_path: Path) -> None:
    own, original = tiny_model(library, "own"), tiny_model(library, "tiny", seed=5)
    folder = tmp_path / "out"
    assert invoke("export", "tiny", "--to", "hf", "--output", str(folder))[0] == 0
    code, _, err = invoke("import", str(folder), "--name", "own")
    assert (code, "'own' is the name of something else" in err, str(folder) in err) == (2, True, True)
    assert library.get("own").id == own.id
    assert invoke("import", str(folder), "--name", "new", "-q")[0] == 0
    before = library.get("new")
    (folder / "generation_config.json").write_text('{"temperature": 0.5}')
    code, _, err = invoke("import", str(folder), "--name", "new")  # the same place, and something else in it now
    assert (code, f"new was model {before.id[:12]} until now, which is kept under its id" in err) == (0, True), err
    assert library.get(before.id).id == before.id != library.get("new").id
    assert invoke("import", str(folder), "--name", "new")[2].count("until now") == 0
    assert library.get("tiny").id == original.id


@pytest.mark.parametrize(
    "command",
    [
        ("quantize", "tiny", "--quantization", "int8", "--no-measure", "--name", "own"),
        ("prune", "tiny", "--share", "0.5", "--method", "magnitude", "--no-measure", "--name", "own"),
        ("merge", "tiny", "also", "--name", "own"),
        ("cp", "tiny", "own", "--force"),
    ],
)
def test_a_name_that_moves_says_so(invoke: Run, library: Library, command: tuple[str, ...]) -> None:
    own = tiny_model(library, "own")
    tiny_model(library, "tiny", seed=5)
    tiny_model(library, "also", seed=6)
    code, _, err = invoke(*command)
    assert code == 0, err
    assert err.count(f"own was model {own.id[:12]} until now, which is kept under its id") == 1
    assert library.get("own").id != own.id
    assert library.get(own.id).id == own.id


def test_a_gguf_file_tells_how_its_publishers_sample(invoke: Run, library: Library, tmp_path: Path) -> None:
    """The oracle is the gguf package's reader, and its names of the fields."""
    original = tiny_model(library, "tiny")
    folder = tmp_path / "hf"
    assert invoke("export", "tiny", "--to", "hf", "--output", str(folder))[0] == 0
    stated = {"temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.05}
    (folder / "generation_config.json").write_text(json.dumps({**stated, "do_sample": True, "max_length": 7}))
    assert invoke("import", str(folder), "--name", "sampled")[0] == 0
    assert invoke("export", "sampled", "--to", "gguf", "--output", str(tmp_path / "gguf"))[0] == 0
    [path] = (tmp_path / "gguf").glob("*.gguf")
    read = GGUFReader(path)
    keys = Keys.General
    names = {
        "temperature": keys.SAMPLING_TEMP,
        "top_k": keys.SAMPLING_TOP_K,
        "top_p": keys.SAMPLING_TOP_P,
        "min_p": keys.SAMPLING_MIN_P,
        "repetition_penalty": keys.SAMPLING_PENALTY_REPEAT,
    }
    assert {name: read.fields[key].contents() for name, key in names.items()} == pytest.approx(stated, rel=1e-6)
    (folder / "generation_config.json").write_text('{"do_sample": false, "temperature": 0.6, "top_k": null}')
    assert invoke("import", str(folder), "--name", "greedy")[0] == 0
    assert invoke("export", "greedy", "--to", "gguf", "--output", str(tmp_path / "greedy"))[0] == 0
    [path] = (tmp_path / "greedy").glob("*.gguf")
    read = GGUFReader(path)
    assert read.fields[keys.SAMPLING_TEMP].contents() == 0.0
    assert keys.SAMPLING_TOP_K not in read.fields
    assert invoke("import", str(path), "--name", "back")[0] == 0
    assert json.loads(invoke("show", "back", "--json")[1])["sampling"]["temperature"] == 0.0
    assert original.id == library.get("tiny").id


def collection(library: Library, name: str, embedder: str) -> None:
    made = Collection.create(library, name, {"embedder": embedder})
    made.close()


def test_rm_keeps_a_model_that_collections_search_with(invoke: Run, library: Library) -> None:
    model = tiny_model(library, "one")
    collection(library, "guide", "one")
    collection(library, "notes", model.id[:8])
    collection(library, "words", "tfidf")
    for reference in ("one", model.id, model.id[:7]):
        code, _, err = invoke("rm", reference, "--yes")
        assert (code, "error: model one is still needed\nwhy: it makes the vectors of guide" in err) == (2, True), err
        assert "`seedbed docs embed guide --embedder tfidf`" in err
    library.name("two", model)
    assert invoke("rm", "one", "--yes")[0] == 2  # the name alone: the collection knows no other
    assert invoke("rm", "two", "--yes")[0] == 0
    assert invoke("docs", "embed", "guide", "--embedder", "tfidf")[0] == 0
    code, _, err = invoke("rm", "one", "--yes")
    assert (code, "the vectors of notes," in err) == (2, True)
    assert invoke("rm", "one", "--yes", "--force")[0] == 0
    assert library.all() == []


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


EXPORTS = [["--to", "hf"], *(["--to", "gguf", "--quantization", kind] for kind in get_args(GgufPrecision))]


def rows_swapped(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor; a down-projection's with its first two rows swapped."""
    if not name.endswith(("mlp.down_proj.weight", "ffn_down.weight")):
        return tensor
    return torch.cat([tensor[1:2], tensor[:1], tensor[2:]])


@pytest.mark.parametrize("flags", EXPORTS, ids=" ".join)
def test_an_export_with_a_wrong_weight_is_not_kept_and_the_weight_is_named(
    invoke: Run, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    """The fault is planted in the writing: two rows swapped, which no check of names or shapes can see."""
    tiny_model(library, "tiny", pieces=True)
    code, _, err = invoke("export", "tiny", *flags, "--output", str(tmp_path / "kept"))
    assert (code, "read again: the same configuration, tokens and weights" in err) == (0, True), err
    for module in (exporting, gguf):
        monkeypatch.setattr(module, "dump", lambda *given: ((n, rows_swapped(n, t)) for n, t in dump(*given)))
    code, _, err = invoke("export", "tiny", *flags, "--output", str(tmp_path / "out"))
    assert (code, "its blocks.0.feedforward.down.weight differs" in err) == (1, True), err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flags", EXPORTS, ids=" ".join)
def test_other_settings_or_tokens_are_named(
    invoke: Run, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    """Planted in turn: another rotation base, another order of tokens."""
    tiny_model(library, "tiny", pieces=True)

    def planted(change: Callable[[Published], Published]) -> str:
        monkeypatch.setattr(export_check, "open_published", lambda path: change(open_published(path)))
        code, _, err = invoke("export", "tiny", *flags, "--output", str(tmp_path / "out"))
        assert (code, "does not hold the model as it is here" in err) == (1, True), err
        return err

    other = load_model(tiny_model(library, "bytes")).tokenizer
    assert "its configuration differs: rope_theta" in planted(
        lambda one: replace(one, shape=replace(one.shape, rope_theta=7.0))  # type: ignore[arg-type]
    )
    assert "its tokenizer differs" in planted(lambda one: replace(one, tokenizer=other))


def test_the_first_layer_that_differs_is_named(library: Library, tmp_path: Path) -> None:
    """Planted beneath the weights, where only outputs show it: one block of the copy adds a little to its stream."""
    config = default_model(1, 270, 64, d_model=64, n_heads=2, d_ff=128)
    one, other = (Decoder(replace(config, n_layers=4)) for _ in range(2))
    one.initialise(0)
    other.load_state_dict(one.state_dict())
    other.blocks[2].register_forward_hook(lambda _, given, out: (out[0] + 0.5, out[1]))
    with pytest.raises(CorruptError) as caught:
        export_check.check_logits((one.eval(), other.eval()), [1, 2, 3], tmp_path / "it", 0.001)
    assert "its logits differs" in caught.value.why
    assert "the output of layer 2 is the first that differs" in caught.value.why


def test_what_is_written_is_open_to_others_as_the_umask_says(invoke: Run, library: Library, tmp_path: Path) -> None:
    tiny_model(library, "tiny")
    before = os.umask(0o027)
    try:
        assert invoke("export", "tiny", "--output", str(tmp_path / "out"))[0] == 0
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*")}
    assert set(modes.values()) == {0o640}, modes
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750


def test_a_model_is_loaded_once_for_an_export(
    invoke: Run, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model(library, "tiny")
    loads: list[object] = []

    def counted(*given: Any, **more: Any) -> Loaded[AnyModel]:
        loads.append(given)
        return load_any(*given, **more)

    monkeypatch.setattr(exporting, "load_any", counted)
    assert invoke("export", "tiny", "--output", str(tmp_path / "out"))[0] == 0
    assert len(loads) == 1


def test_a_precision_without_a_file_for_it_is_refused(invoke: Run, library: Library, tmp_path: Path) -> None:
    tiny_model(library, "tiny")
    code, _, err = invoke("export", "tiny", "--to", "hf", "--quantization", "f16", "--output", str(tmp_path / "out"))
    assert (code, "--quantization f16 does not fit --to hf" in err) == (2, True), err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["hf", "gguf"])
def test_integers_are_exported_as_the_numbers_they_mean(
    invoke: Run, library: Library, tmp_path: Path, form: str
) -> None:
    tiny_model(library, "tiny", pieces=True)
    assert invoke("quantize", "tiny", "--quantization", "int8", "--no-measure", "--name", "small")[0] == 0
    code, _, err = invoke("export", "small", "--to", form, "--output", str(tmp_path / "out"))
    assert (code, "float32 numbers are written" in err) == (0, True), err
    (path,) = (tmp_path / "out").glob("*.gguf") if form == "gguf" else [tmp_path / "out"]
    assert invoke("import", str(path), "--name", "back")[0] == 0
    one, other = (load_model(library.get(name)).model for name in ("small", "back"))
    for path_, layer in one.named_modules():
        if isinstance(layer, QuantizedLinear):
            torch.testing.assert_close(
                other.get_submodule(path_).weight.float(),
                layer.weight,
                rtol=0 if form == "hf" else 1e-3,
                atol=0 if form == "hf" else 1e-6,
            )
