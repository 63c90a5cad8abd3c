"""Bits per byte against one forward pass a token, closed forms, and a bootstrap for the error bar."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from serving import add_model

from seedbed.core.artifacts import Library
from seedbed.core.errors import DataError, UsageError
from seedbed.corpus.pack import TokenSplit
from seedbed.evaluation import bits_per_byte
from seedbed.evaluation.bits_per_byte import BitsPerByte, measure, plan_windows, ratio_error
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import load_model

torch.set_num_threads(1)
VOCAB, CONTEXT = 23, 16


def make_split(sizes: list[int], seed: int = 0) -> TokenSplit:
    """Documents of ``sizes`` tokens, their BOS included."""
    generator = np.random.default_rng(seed)
    tokens = generator.integers(0, VOCAB, size=sum(sizes)).astype(np.uint16)
    return TokenSplit((tokens,), np.cumsum([0, *sizes[:-1]]), generator.integers(1, 200, size=len(sizes)))


def make_model(**changes: object) -> Decoder:
    config = ModelConfig(VOCAB, d_model=16, n_layers=2, n_heads=2, max_length=CONTEXT)
    model = Decoder(dataclasses.replace(config, **changes))
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.4, generator=generator)
    return model.eval()


@torch.inference_mode()
def one_by_one(model: Decoder, split: TokenSplit, context: int, stride: int) -> list[float]:
    """The definition, a forward pass a token: prediction i is made from the end of the first window that holds it."""
    bits = []
    for start, stop in zip(split.starts, [*split.starts[1:], len(split)], strict=True):
        document, total = torch.tensor(split.read(start, stop).astype(int)), 0.0
        last = len(document) - 1
        for target in range(1, last + 1):
            window_end = min(context + math.ceil(max(0, target - context) / stride) * stride, last)
            inputs = document[max(0, window_end - context) : target]
            logits = model(inputs[None])[0][0, -1].double()
            total -= float(torch.log_softmax(logits, 0)[document[target]]) / math.log(2)
        bits.append(total)
    return bits


@pytest.mark.parametrize("stride", [1, 5, 8, 16])
@pytest.mark.parametrize("changes", [{}, {"position": "learned", "tied": False}, {"mixers": ("lstm", "attention")}])
def test_equals_one_token_at_a_time(stride: int, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bits_per_byte, "BATCH_TOKENS", 40)  # several batches, with padding in them
    monkeypatch.setattr(bits_per_byte, "LOGITS", 7 * VOCAB)  # and several pieces of logits
    model, split = make_model(**changes), make_split([2, 17, 3, 18, 40, 16, 9, 33, 2])
    found = measure(model, split, context=CONTEXT, stride=stride)
    np.testing.assert_allclose(found.document_bits, one_by_one(model, split, CONTEXT, stride), rtol=2e-5)
    assert found.tokens == len(split) - len(split.starts)
    assert found.value == pytest.approx(found.document_bits.sum() / split.bytes.sum())


def test_a_model_that_knows_nothing_costs_log2_of_the_vocabulary() -> None:
    model, split = make_model(tied=False), make_split([30, 2, 50])
    model.output.weight.data.zero_()
    found = measure(model, split, context=CONTEXT)
    np.testing.assert_allclose(found.document_bits, np.array([29, 1, 49]) * math.log2(VOCAB), rtol=1e-6)


@pytest.mark.parametrize(("context", "stride"), [(8, 1), (8, 3), (8, 8), (5, 2)])
def test_windows_count_every_prediction_once_with_enough_before_it(context: int, stride: int) -> None:
    sizes = list(range(2, 40))
    starts = np.cumsum([0, *sizes[:-1]])
    counted = np.zeros(sum(sizes), dtype=int)
    for window in plan_windows(starts, sum(sizes), context, stride):
        assert 0 <= window.skip < window.length <= context
        counted[window.start + 1 + window.skip : window.start + 1 + window.length] += 1
        if window.start > starts[window.document]:
            assert window.skip >= context - stride
    assert counted.sum() == sum(size - 1 for size in sizes)
    assert counted.max() == 1
    assert not counted[starts].any()


def test_dropout_is_off_while_measuring_and_the_mode_comes_back() -> None:
    split = make_split([20, 30])
    training = make_model(dropout=0.5).train()
    wanted = measure(make_model(), split, context=CONTEXT).bits
    assert measure(training, split, context=CONTEXT).bits == pytest.approx(wanted)
    assert training.training


def test_error_bar_agrees_with_a_bootstrap() -> None:
    generator = np.random.default_rng(0)
    sizes = generator.integers(50, 5000, size=300)
    bits = sizes * generator.normal(2.0, 0.4, size=300) + generator.normal(0, 200, size=300)
    draws = generator.integers(0, 300, size=(4000, 300))
    bootstrap = np.std(bits[draws].sum(1) / sizes[draws].sum(1))
    assert ratio_error(bits, sizes) == pytest.approx(bootstrap, rel=0.06)
    assert math.isnan(BitsPerByte(bits[:1], sizes[:1], 1).standard_error)


def test_bad_input_is_explained() -> None:
    with pytest.raises(UsageError, match="stride of 17"):
        measure(make_model(), make_split([5]), context=CONTEXT, stride=17)
    empty = np.zeros(0, dtype=np.int64)
    with pytest.raises(DataError, match="no text"):
        measure(make_model(), TokenSplit((), empty, empty), context=CONTEXT)


def test_a_model_from_elsewhere_is_measured_on_a_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The oracle is one forward pass over each document, from its begin token to its end token."""
    from seedbed.cli.main import main

    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    add_model(Library(), "tiny", 5, window=512)
    (tmp_path / "texts").mkdir()
    texts = {"one.txt": "Größe matters.", "two.md": "Seeds.\n\nA second paragraph, 日本語.", "x.html": "<p>Hi</p>"}
    for name, text in texts.items():
        (tmp_path / "texts" / name).write_text(text)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["eval", "tiny", *arguments])
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    code, _, err = run()
    assert (code, "`seedbed eval MODEL FILE`" in err) == (4, True)
    loaded = load_model(Library().get("tiny", "model"))
    bits = size = 0.0
    for text in (texts["one.txt"], texts["two.md"], "Hi\n"):
        ids = torch.tensor([loaded.tokenizer.bos_id, *loaded.tokenizer.encode(text), loaded.tokenizer.end_id])
        with torch.inference_mode():
            logprobs = loaded.model(ids[None, :-1])[0][0].double().log_softmax(-1)
        bits -= float(logprobs.gather(1, ids[1:, None]).sum()) / math.log(2)
        size += len(text.encode())
    code, out, err = run(str(tmp_path / "texts"), "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["bits_per_byte"] == pytest.approx(bits / size, rel=1e-5)
    assert (found["documents"], found["bytes"], found["context"]) == (3, size, 512)
    code, out, err = run(str(tmp_path / "texts" / "one.txt"))
    assert (code, "windows of 512 tokens" in out, "1 documents, 16 bytes" in err) == (0, True, True), out + err
    (tmp_path / "empty.txt").write_text(" \n")
    assert run(str(tmp_path / "empty.txt"))[0] == 1
    assert run(str(tmp_path / "nothing.txt"))[0] in (2, 4)
    assert run(str(tmp_path / "texts"), "--output", "r.html")[0] == 2
    assert run(str(tmp_path / "texts"), "-q")[2] == ""
