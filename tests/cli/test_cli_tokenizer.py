"""`seedbed tokenizer` as a user runs it: on a corpus, on files, and with wrong input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from gguf import GGUFWriter
from published_models import tiny_model
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

import tokenizers
from seedbed.cli.main import main
from seedbed.core.artifacts import Library
from seedbed.corpus.build import build_corpus
from seedbed.corpus.settings import CorpusSettings, SourceSettings
from seedbed.formats.exporting import export_gguf, load_for_export
from seedbed.models.store import load_model
from seedbed.tokenizers.tokenizer import Tokenizer

TEXT = "\n\n".join(
    f"Paragraph {number} tells of the garden: seed {number} grows to {number * 3} leaves, and the gardener counts them."
    for number in range(200)
)


class Run:
    """One command line: its exit code and what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(["tokenizer", *arguments])
        self.code = stopped.value.code
        self.out, self.err = capsys.readouterr()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


@pytest.fixture
def corpus(home: Path) -> Path:
    source = SourceSettings(name="garden", path=str(home / "text.txt"), licence="CC0-1.0")
    build_corpus(CorpusSettings(sources=(source,)), Library(), name="garden", workers=1)
    return home


def test_train_show_encode_and_compare_on_a_corpus(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = Run(capsys, "train", "garden", "--vocab-size", "300", "--name", "small")
    assert (trained.code, trained.out.split(":")[0]) == (0, "tokenizer small")
    library = Library()
    stored = library.get("small", "tokenizer")
    assert stored.manifest.parents == (library.get("garden").id,)
    tokenizer = Tokenizer.open(stored)

    page = json.loads(Run(capsys, "show", "small", "--json").out)
    assert (page["kind"], page["vocab_size"], page["hash"]) == ("bpe", 300, tokenizer.hash)
    assert page["special"]["<|end|>"] == 1
    train = page["fit"]["train"]
    assert train["bytes_per_token"] == pytest.approx(train["bytes"] / train["tokens"])
    assert set(page["fit"]) == {"train", "valid", "test"}
    shown = Run(capsys, "show", "small").out
    assert tokenizer.hash in shown
    assert f"{train['bytes_per_token']:.3f}" in shown

    text = "seed 42\n<|end|>"
    encoded = json.loads(Run(capsys, "encode", "small", text, "--json").out)
    assert encoded["ids"] == tokenizer.encode(text)
    assert "".join(encoded["pieces"]) == text
    lines = [line.split("\t") for line in Run(capsys, "encode", "small", text).out.splitlines()]
    assert [(int(index), json.loads(piece)) for index, piece in lines] == list(
        zip(encoded["ids"], encoded["pieces"], strict=True)
    )

    assert Run(capsys, "train", "garden", "--algorithm", "byte", "--name", "bytes").code == 0
    compared = json.loads(Run(capsys, "compare", "small", "bytes", "--json").out)
    assert [row["name"] for row in compared] == ["small", "bytes"]
    assert compared[1]["bytes_per_token"] == 1
    assert compared[0]["bytes_per_token"] > 1.5
    assert compared[0]["bytes"] == compared[1]["bytes"]


def test_files_and_folders_serve_as_text(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = home / "folder"
    folder.mkdir()
    (folder / "part.txt").write_text(TEXT, encoding="utf-8")
    first = json.loads(Run(capsys, "train", str(home / "text.txt"), "--vocab-size", "300", "--json").out)
    second = json.loads(Run(capsys, "train", str(folder), "--vocab-size", "300", "--json").out)
    assert first["hash"] == second["hash"]
    Tokenizer.open(Library().get(first["id"])).save(home / "saved")
    shown = json.loads(Run(capsys, "show", str(home / "saved" / "tokenizer.json"), "--json").out)
    assert shown["hash"] == first["hash"]
    compared = Run(capsys, "compare", str(home / "saved"), "--text", str(home / "text.txt"))
    assert (compared.code, len(compared.out.splitlines())) == (0, 2)


def test_unknown_words_are_counted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "train.txt").write_text("ant bee cow\n" * 5, encoding="utf-8")
    (home / "test.txt").write_text("ant owl cow elk", encoding="utf-8")
    Run(capsys, "train", str(home / "train.txt"), "--algorithm", "word", "--vocab-size", "11", "--name", "words")
    row = json.loads(Run(capsys, "compare", "words", "--text", str(home / "test.txt"), "--json").out)[0]
    assert (row["tokens"], row["unknown_share"], row["tokens_per_word"]) == (4, 0.5, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "nosuch"], 4, "no corpus called 'nosuch'"),
        (["train", "{home}/text.txt", "--vocab-size", "100000"], 1, "larger than the text supports"),
        (["train", "{home}/text.txt", "--vocab-size", "30"], 2, "too small"),
        (["train", "{home}/text.txt", "--vocab-size", "-3"], 2, "--vocab-size"),
        (["train", "{home}/text.txt", "--algorithm", "bytes"], 2, "--algorithm"),
        (["train", "{home}/text.txt", "--kind", "byte"], 2, "No such option"),
        (["train", "{home}/text.txt", "--algorithm", "byte", "--vocab-size", "300"], 2, "does not apply"),
        (["train", "{home}/text.txt", "--vocab-size", "300", "--name", "../x"], 2, "cannot be a name"),
        (["train", "{home}/empty"], 1, "holds no .txt file"),
        (["train", "{home}/empty.txt"], 1, "no text"),
        (["train", "{home}/binary.txt"], 1, "cannot be read as text"),
        (["show", "nosuch"], 4, "no tokenizer called 'nosuch'"),
        (["show", "{home}/text.txt"], 1, "is not a tokenizer"),
        (["encode", "nosuch", "x"], 4, "no tokenizer"),
        (["compare", "kept"], 2, "no text to compare on"),
        (["compare", "kept", "--text", "{home}/nosuch.txt"], 4, "no text"),
        (["compare", "kept", "--text", "{home}/empty.txt"], 1, "no text to compare on"),
    ],
)
def test_wrong_input_is_refused_in_three_lines_and_nothing_is_stored(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    (home / "empty").mkdir()
    (home / "empty.txt").touch()
    (home / "binary.txt").write_bytes(b"\xff\xfe\x00\x80" * 50)
    Run(capsys, "train", str(home / "text.txt"), "--algorithm", "byte", "--name", "kept")
    refused = Run(capsys, *(argument.format(home=home) for argument in arguments))
    lines = refused.err.splitlines()
    assert refused.code == code
    assert [line.partition(":")[0] for line in lines] == ["error", "why", "fix"]
    assert said in lines[0]
    assert len(Library().all()) == 1


def test_tokenizers_of_published_files_are_read_in_place(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GPT-2's vocabulary and merges, by their folder or one of the files, as `tokenizers` reads them; a GGUF file."""
    folder = home / "voc"
    folder.mkdir()
    byte_level = ByteLevel(add_prefix_space=False)
    letters = sorted({letter for piece, _ in byte_level.pre_tokenize_str("matters é") for letter in piece})
    vocabulary = {text: place for place, text in enumerate([*letters, "at", "att", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\na t\nat t\n")
    oracle = tokenizers.Tokenizer(BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    oracle.pre_tokenizer = byte_level
    ids = oracle.encode("matters é").ids
    for path in (folder, folder / "vocab.json", folder / "merges.txt"):
        found = Run(capsys, "encode", str(path), "matters é", "--json")
        assert (found.code, json.loads(found.out)["ids"]) == (0, ids), found.err
    made = tiny_model(Library(home / "maker"), "made", pieces=True)
    exported = export_gguf(load_for_export(made), home / "made.bin", "f32")  # by its content, not its name
    found = Run(capsys, "encode", str(exported), "some words", "--json")
    assert json.loads(found.out)["ids"] == load_model(made).tokenizer.encode("some words")
    assert Run(capsys, "show", str(exported)).code == 0


def test_files_without_a_tokenizer_say_what_they_lack(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = home / "half"
    folder.mkdir()
    (folder / "vocab.json").write_text("{}")
    writer = GGUFWriter(home / "bare.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    for path, says in (
        (folder, "it holds vocab.json"),
        (folder / "vocab.json", "vocab.json with merges.txt"),
        (home / "bare.gguf", "its metadata lack tokenizer.ggml.tokens"),
    ):
        found = Run(capsys, "encode", str(path), "x")
        assert found.code != 0
        assert says in found.err


def test_standard_input_is_read_for_a_dash(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Run(capsys, "train", str(home / "text.txt"), "--algorithm", "byte", "--name", "bytes")
    command = [sys.executable, "-m", "seedbed", "tokenizer", "encode", "bytes", "-", "--json"]
    done = subprocess.run(command, input="é".encode(), capture_output=True, check=True)
    assert json.loads(done.stdout)["ids"] == [6 + 0xC3, 6 + 0xA9]


def test_help_of_every_command_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("train", "show", "encode", "compare"):
        shown = Run(capsys, command, "--help")
        assert shown.code == 0
        assert f"Example:\n    seedbed tokenizer {command}" in shown.out
