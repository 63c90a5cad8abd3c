"""`seedbed prune` on a model of a library: the table, the copy, and wrong requests; and what `show` says of sharing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from seedbed.core.artifacts import Library
from seedbed.evaluation import side_by_side
from seedbed.evaluation.held_out import from_text
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.parameter_counts import count_parameters
from seedbed.models.store import load_model, save_model
from seedbed.models.task_model import TaskModel
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer

Run = Callable[..., tuple[int, str, str]]
TEXT = "".join(f"line {number}: seeds grow in a bed of {number * number} stones\n" for number in range(400))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["some text"], TokenizerSettings(kind="byte"))


@pytest.fixture
def seedbed(tmp_path: Path, invoke: Run, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer) -> Run:
    """A library with the decoder `small` and the encoder `reader`, and a text file."""
    torch.set_num_threads(1)
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    shape = ModelConfig(tokenizer.vocab_size, 32, 4, 4, 2, d_ff=64, max_length=64)
    reader = ModelConfig(tokenizer.vocab_size, 32, 2, 4, causal=False, head="none", max_length=64)
    for name, model in (("small", Decoder(shape)), ("reader", TaskModel(reader))):
        for place, parameter in enumerate(model.parameters()):
            parameter.data.normal_(0, 0.2, generator=torch.Generator().manual_seed(place))
        with Library().writing("model", name=name) as draft:
            save_model(draft.path, model, tokenizer)
            draft.licence = "MIT"
    (tmp_path / "text.txt").write_text(TEXT)
    return invoke


@pytest.mark.parametrize("method", ["heads", "layers", "width"])
def test_a_cut_model_is_smaller_in_every_way(seedbed: Run, tmp_path: Path, method: str) -> None:
    text = ("--text", str(tmp_path / "text.txt"))
    code, out, _ = seedbed("prune", "small", "--method", method, "--share", "0.5", *text, "--json")
    assert code == 0
    result, made = json.loads(out), Library().get(f"small-{method}")
    assert (made.id, made.manifest.licence) == (result["id"], "MIT")
    assert [parent.id for parent in Library().parents(made)] == [result["original"]]
    assert result["judged_on"] == text[1]
    before, after = result["before"], result["after"]
    for key in ("parameters", "nonzero", "bytes", "flops_per_token"):
        assert after[key] < before[key]
    assert after["parameters"] == count_parameters(load_model(made).model.config).total
    assert after["bits_per_byte"] != before["bits_per_byte"] > 0
    assert seedbed("run", f"small-{method}", "line", "--max-tokens", "3")[0] == 0


@pytest.mark.parametrize(("method", "share"), [("magnitude", 0.3), ("2:4", None), ("wanda", 0.3)])
def test_single_weights_leave_the_size_as_it_is(seedbed: Run, tmp_path: Path, method: str, share: float | None) -> None:
    amount = () if share is None else ("--share", str(share))
    text = ("--text", str(tmp_path / "text.txt"))
    code, out, _ = seedbed("prune", "small", "--method", method, *amount, *text, "--name", "thin", "--json")
    assert code == 0
    result = json.loads(out)
    before, after = result["before"], result["after"]
    assert after["parameters"] == before["parameters"]
    assert after["flops_per_token"] == before["flops_per_token"]
    linear = 4 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)
    assert before["nonzero"] - after["nonzero"] == pytest.approx((share or 0.5) * linear, rel=0.04)
    assert before["bits_per_byte"] == pytest.approx(bits(seedbed, tmp_path), rel=1e-6)
    assert result["judged_on"] == ("" if method == "magnitude" else text[1])


def bits(seedbed: Run, tmp_path: Path) -> float:
    """The original's bits per byte, from its own logits over the documents that are measured on."""
    loaded = load_model(Library().get("small"))
    total = size = 0.0
    for document in documents():
        ids = torch.tensor([[loaded.tokenizer.bos_id, *loaded.tokenizer.encode(document), loaded.tokenizer.end_id]])
        covered = 0
        while covered < ids.shape[1] - 1:  # windows of 64 tokens that move by 32
            end = min(covered + 32 if covered else 64, ids.shape[1] - 1)
            first = max(0, end - 64)
            with torch.no_grad():
                logits = loaded.model(ids[:, first:end])[0][0].double().log_softmax(-1)
            new = torch.arange(covered, end)
            total -= logits[new - first, ids[0, new + 1]].sum().item()
            covered = end
        size += len(document.encode())
    return total / size / float(torch.log(torch.tensor(2.0, dtype=torch.float64)))


def documents() -> list[str]:
    lines = TEXT.splitlines(keepends=True)[320:]
    found = [""]
    for line in lines:
        if len(found[-1]) >= 4000:
            found.append("")
        found[-1] += line
    return found


def test_the_table_and_speed(seedbed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "SECONDS", 0.0)  # five rounds
    code, out, err = seedbed("prune", "small", "--method", "width", "--share", "0.5", "--speed")
    assert code == 0
    rows = {line.split("  ")[0].strip(): line.split()[-1] for line in out.splitlines()[1:]}
    assert rows["parameters"].startswith("-")
    assert {"size", "FLOPs a token", "prefill, tokens/s", "decode, tokens/s"} <= rows.keys()
    assert "bits per byte" not in rows
    assert "quality not measured" in err  # it was trained on nothing, and no text was given


def test_an_encoder_is_cut_without_a_measure_of_quality(seedbed: Run, tmp_path: Path) -> None:
    text = ("--text", str(tmp_path / "text.txt"))
    code, _, err = seedbed("prune", "reader", "--method", "heads", "--share", "0.25", *text, "--speed")
    assert code == 0
    assert "does not write text" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "width"], "there is no --share"),
        (["--method", "width", "--share", "1.5"], "--share is 1.5"),
        (["--method", "heads", "--share", "0.1"], "is nothing"),
        (["--method", "heads", "--share", "0.9"], "is all of them"),
        (["--method", "2:4", "--share", "0.3"], "takes two of every four"),
        (["--method", "wanda", "--share", "0.5"], "Wanda needs text"),
        (["--method", "width", "--share", "0.5", "--global"], "--global is an option of"),
        (["--method", "wanda", "--share", "0.5", "--text", "nowhere.txt"], "no text file"),
        (["--method", "luck", "--share", "0.5"], "luck"),
    ],
)
def test_wrong_requests_make_nothing(seedbed: Run, arguments: list[str], message: str) -> None:
    code, _, err = seedbed("prune", "small", *arguments)
    assert code == 2
    assert message in err
    assert len(Library().all("model")) == 2


def test_text_that_is_no_text_or_too_short(seedbed: Run, tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "line").write_text("one line")
    for name, expected in (("bytes", 2), ("line", 1)):
        code, _, err = seedbed("prune", "small", "--method", "wanda", "--share", "0.5", "--text", str(tmp_path / name))
        assert code == expected
        assert err.startswith("error: ")


def test_what_is_measured_on_was_not_judged_by(tokenizer: Tokenizer) -> None:
    held = from_text(TEXT, tokenizer, "a text")
    judged = tokenizer.decode(held.calibration)
    measured = tokenizer.decode(held.test.read(0, len(held.test)))
    assert judged + measured == TEXT
    assert len(measured.splitlines()) == 80
    assert int(held.test.bytes.sum()) == len(measured.encode())
    assert len(held.test.starts) == len(documents())


def test_show_tells_what_is_tied_and_what_is_stored_twice(seedbed: Run, tokenizer: Tokenizer) -> None:
    model = load_model(Library().get("small")).model
    model.blocks[1].feedforward.up.weight.data = model.blocks[0].feedforward.up.weight.data.clone()
    with Library().writing("model", name="twice") as draft:
        save_model(draft.path, model, tokenizer)
    code, out, _ = seedbed("show", "twice")
    assert code == 0
    assert f"output.weight is embedding.weight (saves {4 * tokenizer.vocab_size * 32 / 1000:.1f} kB)" in out
    assert "blocks.0.feedforward.up.weight = blocks.1.feedforward.up.weight (8.2 kB stored more than once)" in out
    shown = json.loads(seedbed("show", "twice", "--json")[1])
    assert shown["saved_bytes"] == 4 * tokenizer.vocab_size * 32
    assert shown["spare_bytes"] == 4 * 32 * 64
