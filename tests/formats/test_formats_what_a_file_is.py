"""Files under other names than their kinds', in parts, in the places of others: read, or named for what they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader, GGUFWriter
from published_models import published_folder, tiny_model

from seedbed.app.fit import find_needs
from seedbed.core.artifacts import Library
from seedbed.core.errors import CorruptError, NotFoundError, SeedbedError
from seedbed.formats.exporting import export_gguf, load_for_export
from seedbed.formats.gguf.split import open_whole_gguf
from seedbed.formats.huggingface.tokenizer import open_tokenizer
from seedbed.formats.importing import import_model
from seedbed.models.store import load_model

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "home")


@pytest.fixture
def gguf(library: Library, tmp_path: Path) -> Path:
    path = tmp_path / "whole.gguf"
    export_gguf(load_for_export(tiny_model(library, "tiny")), path, "f32")
    return path


def split(path: Path, folder: Path, count: int) -> list[Path]:
    """Write the same model in parts with the gguf package, as llama.cpp's gguf-split does: metadata in the first."""
    reader = GGUFReader(path)
    parts = []
    for number in range(count):
        part = folder / f"m-{number + 1:05}-of-{count:05}.gguf"
        writer = GGUFWriter(part, reader.fields["general.architecture"].contents())
        if number == 0:
            for name, field in reader.fields.items():
                if not name.startswith("GGUF.") and name != "general.architecture":
                    kind, inner = field.types[0], field.types[1] if len(field.types) > 1 else None
                    writer.add_key_value(name, field.contents(), kind, inner)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", count)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in reader.tensors[number::count]:
            writer.add_tensor(tensor.name, tensor.data)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        parts.append(part)
    return parts


@pytest.mark.parametrize("count", [2, 3])
def test_any_part_of_a_split_gguf_gives_the_whole_model(
    library: Library, gguf: Path, tmp_path: Path, count: int
) -> None:
    parts = split(gguf, tmp_path, count)
    whole = load_model(import_model(library, gguf, "whole")).model.state_dict()
    for part in parts:
        found = load_model(import_model(library, part, "split")).model.state_dict()
        assert found.keys() == whole.keys()
        assert all(torch.equal(found[name], whole[name]) for name in whole)
        assert (
            find_needs(library, str(part), None, True).parts.total
            == find_needs(library, str(gguf), None, True).parts.total
        )


def test_parts_that_are_missing_renamed_or_of_others_are_named(gguf: Path, tmp_path: Path) -> None:
    first, second = split(gguf, tmp_path, 2)
    renamed = tmp_path / "blob"
    shutil.copy(first, renamed)
    with pytest.raises(NotFoundError, match="one of 2 parts") as refused:
        open_whole_gguf(renamed)
    assert "split.count is 2" in refused.value.why
    shutil.copy(gguf, second)
    with pytest.raises(CorruptError, match="do not belong together"):
        open_whole_gguf(first)
    second.unlink()
    with pytest.raises(NotFoundError, match="one of 2 parts") as refused:
        open_whole_gguf(first)
    assert second.name in refused.value.why


@pytest.mark.parametrize("name", ["sha256-0123abcd", "model.bin2", "weights.safetensors"])
def test_a_gguf_file_is_known_by_its_first_bytes(library: Library, gguf: Path, tmp_path: Path, name: str) -> None:
    path = gguf.rename(tmp_path / name)
    assert import_model(library, path, "again")
    assert (
        find_needs(library, str(path), None, True).parts.total
        == 0 + find_needs(library, "again", None, True).parts.total
    )


KINDS = {
    "pointer": (POINTER, "git-lfs pointer", "git lfs pull"),
    "page": (b"<!DOCTYPE html><html>Sign in</html>", "HTML", "download"),
    "pickle": (b"PK\x03\x04" + b"\0" * 200, "zip archive", "safetensors"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_what_lies_in_a_file_s_place_is_named(library: Library, tmp_path: Path, kind: str, name: str) -> None:
    folder = published_folder(tmp_path)
    content, what, fix = KINDS[kind]
    (folder / name).write_bytes(content)
    with pytest.raises(SeedbedError) as refused:
        import_model(library, folder, "m")
    assert what in refused.value.why
    assert fix in refused.value.fix
    assert name in refused.value.what


def test_a_pointer_in_a_gguf_file_s_place(library: Library, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(POINTER)
    with pytest.raises(SeedbedError) as refused:
        import_model(library, tmp_path / "m.gguf", "m")
    assert "git-lfs pointer" in refused.value.why


def test_shards_are_those_that_the_index_names(library: Library, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = published_folder(tmp_path)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: f"model.safetensors-0000{1 + place % 2}-of-00002.safetensors" for place, name in enumerate(weights)}
    for file in set(places.values()):
        save_file({name: one for name, one in weights.items() if places[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert import_model(library, folder, "m")


def test_a_template_in_chat_template_json_is_read_and_a_default_is_said(
    library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The forms that newer transformers write come first."""
    folder = published_folder(tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert not open_tokenizer(folder).has_template
    import_model(library, folder, "m")
    assert "no chat template" in capsys.readouterr().err
    said = [{"role": "user", "content": "hi"}]
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "old {{ messages[0].content }}"}))
    assert open_tokenizer(folder).render_chat(said) == "old hi"
    assert load_model(import_model(library, folder, "m")).tokenizer.render_chat(said) == "old hi"
    assert "no chat template" not in capsys.readouterr().err
    (folder / "chat_template.jinja").write_text("new {{ messages[0].content }}")
    assert open_tokenizer(folder).render_chat(said) == "new hi"
