"""`seedbed pull`, `search` and `push` against a real hub on this machine."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hub_server import Hub, Repo, running_hub
from published_models import published_folder, tiny_model

from seedbed.core.artifacts import Library
from seedbed.corpus.questions import read_questions
from seedbed.corpus.store import Corpus
from seedbed.formats.exporting import export_gguf, load_for_export
from seedbed.models.store import load_model

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with running_hub() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


@pytest.fixture
def tiny(hub: Hub, tmp_path: Path) -> dict[str, bytes]:
    """A repository called team/tiny, and its files."""
    files = {path.name: path.read_bytes() for path in published_folder(tmp_path).iterdir()}
    hub.repos["team/tiny"] = Repo(files | {"pytorch_model.bin": b"pickle"}, card={"license": "apache-2.0"})
    return files


def test_a_model_is_pulled_stored_and_runs(invoke: Run, hub: Hub, tiny: dict[str, bytes]) -> None:
    code, out, err = invoke("pull", "hf:team/tiny", "--json")
    assert code == 0, err
    told, library = json.loads(out), Library()
    artifact = library.get("tiny", "model")
    assert (told["name"], told["id"]) == ("tiny", artifact.id)
    assert artifact.manifest.licence == "apache-2.0"
    source = artifact.manifest.config["source"]
    assert (source["repository"], source["commit"]) == ("hf:team/tiny", hub.repos["team/tiny"].commit)
    assert set(source["files"]) == set(tiny)
    assert "model.safetensors" in err
    assert "licence apache-2.0" in err
    assert load_model(artifact).model.config.d_model == 64
    assert list((library.root / "pulls").iterdir()) == []
    shown = invoke("show", "tiny")[1]
    assert f"source   hf:team/tiny at {hub.repos['team/tiny'].commit[:12]}" in shown


def test_a_gguf_file_is_chosen_by_name(invoke: Run, hub: Hub, tmp_path: Path) -> None:
    original = tiny_model(Library(tmp_path / "maker"), "made", pieces=True)
    exported = export_gguf(load_for_export(original), tmp_path / "made.gguf", "f32")
    hub.repos["team/files"] = Repo({"made-f32.gguf": exported.read_bytes(), "made-q8_0.gguf": b"GGUF" * 300})
    code, _, err = invoke("pull", "team/files")
    assert (code, "made-f32.gguf (0.00 GB)" in err, "made-q8_0.gguf (0.00 GB)" in err) == (2, True, True)
    code, _, err = invoke("pull", "team/files", "--file", "made-f32.gguf", "--name", "chosen")
    assert code == 0, err
    assert set(hub.served) == {"made-f32.gguf"}
    one, other = load_model(original), load_model(Library().get("chosen"))
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        torch.testing.assert_close(one.model(ids)[0], other.model(ids)[0], rtol=1e-5, atol=1e-5)
    assert one.tokenizer.encode("some words") == other.tokenizer.encode("some words")


def test_what_is_here_is_not_pulled_again(invoke: Run, hub: Hub, tiny: dict[str, bytes]) -> None:
    assert invoke("pull", "team/tiny", "-q")[0] == 0
    asked = len(hub.asked("/resolve/"))
    code, _, err = invoke("pull", "team/tiny", "--name", "other")
    assert (code, len(hub.asked("/resolve/"))) == (0, asked)
    assert "stored already" in err
    assert Library().get("other").id == Library().get("tiny").id
    hub.repos["team/tiny"].files["generation_config.json"] = b'{"max_length": 7}'  # another commit
    assert invoke("pull", "team/tiny", "-q")[0] == 0
    assert len(hub.asked("/resolve/")) > asked


def test_a_name_is_not_moved_to_another_model(invoke: Run, hub: Hub, tiny: dict[str, bytes]) -> None:
    own = tiny_model(Library(), "tiny", seed=9)
    code, _, err = invoke("pull", "team/tiny")
    assert (code, "'tiny' is the name of something else" in err) == (2, True), err
    assert (Library().get("tiny").id, hub.requests) == (own.id, [])
    assert invoke("pull", "team/tiny", "--name", "other", "-q")[0] == 0
    before = Library().get("other")
    hub.repos["team/tiny"].files["generation_config.json"] = b'{"max_length": 7}'
    code, _, err = invoke("pull", "team/tiny", "--name", "other")
    assert (code, f"other was model {before.id[:12]} until now" in err) == (0, True), err
    assert Library().get(before.id).id == before.id != Library().get("other").id


def test_two_files_of_one_name_are_two_models(invoke: Run, hub: Hub, tmp_path: Path) -> None:
    def file(seed: int) -> bytes:
        made = load_for_export(tiny_model(Library(tmp_path / "maker"), "made", pieces=True, seed=seed))
        return export_gguf(made, tmp_path / "made.gguf", "f32").read_bytes()

    hub.repos["team/files"] = Repo({"a/m.gguf": file(1), "b/m.gguf": file(2)})
    for part in "ab":
        assert invoke("pull", "team/files", "--file", f"{part}/m.gguf", "--name", part, "-q")[0] == 0
    assert Library().get("a").id != Library().get("b").id
    asked = len(hub.asked("/resolve/"))
    for flags in ([], ["--offline"]):
        code, _, err = invoke("pull", "team/files", "--file", "b/m.gguf", "--name", "again", *flags)
        assert (code, "stored already" in err, Library().get("again").id) == (0, True, Library().get("b").id)
    assert len(hub.asked("/resolve/")) == asked


@pytest.mark.parametrize(
    ("config", "flags", "said"),
    [
        ({"model_type": "bert", "architectures": ["BertModel"]}, ["--quantization", "int8"], "only decoders"),
        ({}, ["--quantization", "int9"], "there is no quantization 'int9'"),
        ({"model_type": "qwen33"}, [], "qwen3"),
    ],
)
def test_weights_that_could_not_be_stored_are_not_downloaded(
    invoke: Run, hub: Hub, tiny: dict[str, bytes], config: dict[str, object], flags: list[str], said: str
) -> None:
    other = json.loads(tiny["config.json"]) | config
    hub.repos["team/tiny"].files["config.json"] = json.dumps(other).encode()
    code, _, err = invoke("pull", "team/tiny", *flags)
    assert (code, said in err) == (2, True), err
    assert "model.safetensors" not in hub.served


def test_offline_uses_the_library(invoke: Run, hub: Hub, tiny: dict[str, bytes]) -> None:
    assert invoke("pull", "team/tiny", "--offline")[0] == 4
    assert hub.requests == []
    assert invoke("pull", "team/tiny", "-q")[0] == 0
    asked = len(hub.requests)
    assert invoke("pull", "team/tiny", "--offline", "--name", "again")[0] == 0
    assert invoke("pull", "team/tiny", "--offline", "--revision", hub.repos["team/tiny"].commit)[0] == 0
    assert invoke("pull", "team/tiny", "--offline", "--revision", "v2")[0] == 4
    assert len(hub.requests) == asked


def test_a_cut_off_pull_is_taken_up_by_the_next_command(invoke: Run, hub: Hub, tiny: dict[str, bytes]) -> None:
    """The second process needs only the rest; offline afterwards it needs nothing."""
    weights = tiny["model.safetensors"]
    hub.cut_after["model.safetensors"] = [1000, 2000]
    assert invoke("pull", "team/tiny", "-q")[0] == 0
    assert hub.served["model.safetensors"] == [(0, 1000), (1000, 3000), (3000, len(weights))]


def test_a_pull_that_cannot_be_imported_keeps_nothing_half(
    invoke: Run, hub: Hub, tiny: dict[str, bytes], tmp_path: Path
) -> None:
    config = json.loads(tiny["config.json"]) | {"model_type": "qwen33"}
    hub.repos["team/tiny"].files["config.json"] = json.dumps(config).encode()
    code, _, err = invoke("pull", "team/tiny", "-q")
    assert code == 2
    assert "qwen3" in err
    assert Library().all() == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["team/none"], 4, "there is no hf:team/none"),
        (["team/tiny", "--revision", "v9"], 4, "no revision 'v9'"),
        (["team/tiny", "--file", "x.gguf"], 4, "no GGUF file"),
        (["team/tiny", "--split", "train"], 2, "--split does not fit here"),
        (["hf:datasets/team/tiny", "--file", "x.gguf"], 2, "--file does not fit here"),
        (["team/pickles"], 2, "runs whatever code"),
        (["team/escape"], 1, "names a file"),
        (["a/b/c/d"], 2, "is no repository"),
        (["team/tiny", "--name", "no name"], 2, "cannot be a name"),
    ],
)
def test_errors(
    invoke: Run, hub: Hub, tiny: dict[str, bytes], arguments: list[str], code: int, words: str, tmp_path: Path
) -> None:
    hub.repos["team/pickles"] = Repo({"config.json": b"{}", "pytorch_model.bin": b"x"})
    hub.repos["team/escape"] = Repo({"config.json": b"{}"}, listed=["../model.safetensors"])
    found, _, err = invoke("pull", *arguments)
    assert (found, words in err) == (code, True), err
    assert [line.partition(":")[0] for line in err.splitlines()[-3:]] == ["error", "why", "fix"]
    assert not (tmp_path / "home" / "model").exists()


# Data sets

QUESTIONS = [{"instruction": f"What is {n} + {n}?", "input": "", "output": f"It is {2 * n}."} for n in range(40)]
TEXTS = [
    f"Text number {n} tells of {n * 7919 % 1000} rivers, and {n * 104729 % 977} hills beyond them." for n in range(40)
]


def lines(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows: list[dict[str, object]], delimiter: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def conversations(name: str) -> list[list[tuple[str, str]]]:
    artifact = Library().get(name, "questions")
    rows = [row for split in ("train", "valid", "test") for row in read_questions(artifact, split)]  # type: ignore[arg-type]
    return [[(message["role"], message["content"]) for message in row["messages"]] for row in rows]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("train.jsonl", lines(QUESTIONS)),
        ("train.json", json.dumps(QUESTIONS).encode()),
        ("train.csv", table(QUESTIONS, ",")),
        ("train.tsv", table(QUESTIONS, "\t")),
    ],
)
def test_pairs_from_every_form(invoke: Run, hub: Hub, name: str, data: bytes) -> None:
    hub.repos["team/sums"] = Repo({name: data, "test.jsonl": b"{}"}, kind="dataset", card={"license": "cc0-1.0"})
    code, _, err = invoke("pull", "hf:datasets/team/sums")
    assert code == 0, err
    assert "pairs from instruction, input, output" in err
    expected = [[("user", row["instruction"]), ("assistant", row["output"])] for row in QUESTIONS]
    assert sorted(conversations("sums")) == sorted(expected)
    artifact = Library().get("sums")
    assert artifact.manifest.licence == "cc0-1.0"
    assert {split: artifact.manifest.metrics[split] for split in ("train", "valid", "test")} == {
        "train": 32,
        "valid": 4,
        "test": 4,
    }
    assert list(artifact.manifest.config["source"]["files"]) == [name]


def test_conversations_repeats_and_rows_that_are_none(invoke: Run, hub: Hub) -> None:
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}, {"from": "human", "value": "?"}]
    good = [{"conversations": turns}] * 2 + [
        {"conversations": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a"}]}
        for n in range(5)
    ]
    bad = [{"conversations": [{"from": "tool", "value": "x"}]}, {"conversations": None}, {"conversations": turns[1:]}]
    data = lines(good + bad) + b"not json\n[]\n"
    hub.repos["team/chats"] = Repo({"data.jsonl": data}, kind="dataset")
    code, _, err = invoke("pull", "hf:datasets/team/chats")
    assert code == 0, err
    assert "2 lines are not rows" in err
    assert [("user", "Hi"), ("assistant", "Hello.")] in conversations("chats")
    metrics = Library().get("chats").manifest.metrics
    assert (len(conversations("chats")), metrics["repeated"], metrics["unusable"]) == (6, 1, 3)


@pytest.mark.parametrize("form", ["rows", "files"])
def test_a_corpus(invoke: Run, hub: Hub, form: str) -> None:
    files = (
        {"train.jsonl": lines([{"body": text, "n": 1} for text in TEXTS])}
        if form == "rows"
        else {f"train/{n}.txt": text.encode() for n, text in enumerate(TEXTS)}
    )
    hub.repos["team/rivers"] = Repo(files, kind="dataset", card={"license": "cc-by-4.0"})
    code, _, err = invoke("pull", "hf:datasets/team/rivers", "--name", "rivers")
    assert code == 0, err
    artifact = Library().get("rivers", "corpus")
    documents = [d for split in ("train", "valid", "test") for d in Corpus.open(artifact).documents(split)]  # type: ignore[arg-type]
    assert sorted(document.text.strip() for document in documents) == sorted(TEXTS)
    assert {document.licence for document in documents} == {"cc-by-4.0"}
    assert artifact.manifest.config["source"]["repository"] == "hf:datasets/team/rivers"
    assert list((Library().root / "pulls").iterdir()) == []


def test_columns_can_be_told(invoke: Run, hub: Hub) -> None:
    rows = [{"lhs": f"say {n}", "rhs": str(n), "story": TEXTS[n]} for n in range(30)]
    hub.repos["team/odd"] = Repo({"d.jsonl": lines(rows)}, kind="dataset")
    told = ["--as", "pairs", "--prompt-column", "lhs", "--reply-column", "rhs"]
    assert invoke("pull", "hf:datasets/team/odd", "-q", *told)[0] == 0
    assert ([("user", "say 3"), ("assistant", "3")]) in conversations("odd")
    code, _, err = invoke("pull", "hf:datasets/team/odd", "--prompt-column", "nope")
    assert (code, "there is no column 'nope'" in err) == (2, True)
    code, _, err = invoke("pull", "hf:datasets/team/odd", "--as", "pairs")
    assert (code, "the columns are lhs, rhs, story" in err) == (2, True)


def test_parquet_without_pyarrow_is_refused_before_anything_is_fetched(
    invoke: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    hub.repos["team/p"] = Repo({"train.parquet": b"PAR1"}, kind="dataset")
    code, _, err = invoke("pull", "hf:datasets/team/p")
    assert (code, "seedbed[parquet]" in err) == (2, True)
    assert hub.asked("/resolve/") == []


def test_parquet(invoke: Run, hub: Hub) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(QUESTIONS), buffer)
    hub.repos["team/p"] = Repo({"data/train-00000-of-00001.parquet": buffer.getvalue()}, kind="dataset")
    code, _, err = invoke("pull", "hf:datasets/team/p")
    assert code == 0, err
    assert len(conversations("p")) == len(QUESTIONS)


# Search and push


def test_search(invoke: Run, hub: Hub, tiny: dict[str, bytes]) -> None:
    code, out, _ = invoke("search", "tin")
    assert code == 0
    assert out.splitlines()[1].split()[:2] == ["team/tiny", "text"]
    assert json.loads(invoke("search", "tin", "--json")[1])["hub"][0]["licence"] == "mit"
    assert "no repository has 'zzz'" in invoke("search", "zzz")[2]


def push(hub: Hub, *arguments: str, token: str = "hf_right", stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A process of its own: how large files are sent is decided when the hub's library is imported."""
    environment = os.environ | {"HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "seedbed", "push", *arguments]
    return subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, check=False)


def test_push_sends_what_a_pull_brings_back(invoke: Run, hub: Hub) -> None:
    artifact = tiny_model(Library(), "mine")
    done = push(hub, "mine", "team/mine", "--private", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(hub.url)
    assert hub.created[0]["visibility"] == "private"
    assert {"config.json", "model.safetensors", "README.md", "tokenizer.json"} <= set(hub.pushed)
    assert re.search(r"^license: \"mit\"$", hub.pushed["README.md"].decode(), re.MULTILINE)
    hub.repos["team/mine"] = Repo(dict(hub.pushed), card={"license": "mit"})
    assert invoke("pull", "team/mine", "--name", "back", "-q")[0] == 0
    one, other = (load_model(found).model.state_dict() for found in (artifact, Library().get("back")))
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)


def test_push_asks_first_and_needs_a_token(invoke: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_model(Library(), "mine")
    assert "uploading needs a token" in invoke("push", "mine", "team/mine", "--yes")[2]
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    code, _, err = invoke("push", "mine", "team/mine", stdin="n\n")
    assert (code, f"to {hub.url}/team/mine?" in err) == (130, True)
    assert "Cannot ask: no terminal; add --yes" in invoke("push", "mine", "team/mine")[2]
    assert (hub.created, hub.pushed) == ([], {})
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    code, _, err = invoke("push", "mine", "team/mine", "--yes")
    assert (code, "there is no hf:team/mine" in err) == (4, True)
    assert list(Library().root.glob(".pushing-*")) == []
