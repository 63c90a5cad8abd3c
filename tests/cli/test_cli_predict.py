"""`seedbed predict` and `seedbed run` with encoder–decoders: what a user reads, and wrong input."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from serving import add_model
from transformers import BertTokenizer

from seedbed.chat.reply_builder import ReplyBuilder, deltas_of
from seedbed.core.artifacts import Library
from seedbed.formats.importing import import_model
from seedbed.inference.parameters import Sampling
from seedbed.inference.predicting import Predictor
from seedbed.inference.seq2seq import Seq2Seq
from seedbed.models.store import load_any
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

Run = Callable[..., tuple[int, str, str]]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *LETTERS, *(f"##{one}" for one in LETTERS)]
HEADS = {
    "mlm": "MaskedLM",
    "sequence": "SequenceClassification",
    "token": "TokenClassification",
    "span": "QuestionAnswering",
}
SHAPE = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
T5 = {"d_model": 24, "d_kv": 8, "num_heads": 3, "d_ff": 40, "num_layers": 1, "decoder_start_token_id": 2}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A random model of each head, a T5, a plain encoder and a decoder."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    library = Library(folder / "home")
    words = BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)})
    for name, head in {**HEADS, "none": "Model"}.items():
        torch.manual_seed(4)
        labels = {"id2label": {0: "good", 1: "bad"}} if name in ("sequence", "token") else {}
        config = transformers.BertConfig(vocab_size=len(PIECES), max_position_embeddings=64, **SHAPE, **labels)
        model = getattr(transformers, f"Bert{'' if name == 'none' else 'For'}{head}")(config)
        for parameter in model.parameters():
            parameter.data.normal_(0.0, 0.5)
        model.save_pretrained(folder / name)
        words.save_pretrained(folder / name)
    letters = train_tokenizer(["translate this"] * 4, TokenizerSettings(kind="byte"))
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=letters.vocab_size, eos_token_id=letters.end_id, pad_token_id=letters.pad_id, **T5
        )
    )
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.5)
    model.save_pretrained(folder / "t5")
    letters.save(folder / "t5")
    for name in (*HEADS, "none", "t5"):
        import_model(library, folder / name, name)
    add_model(library, "decoder", 1, 64)
    return library


@pytest.fixture
def seedbed(library: Library, invoke: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SEEDBED_HOME", str(library.root))
    return invoke


def predictor(library: Library, name: str) -> Predictor:
    return Predictor(load_any(library.get(name)))


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_masked_tokens(seedbed: Run, library: Library) -> None:
    expected = predictor(library, "mlm").fill("a [MASK] c", 3)[0]
    code, out, _ = seedbed("predict", "mlm", "a [MASK] c", "--limit", "3")
    assert code == 0
    assert rows(out) == [["text", "score"], *([one.text, f"{one.score:.4f}"] for one in expected)]
    code, out, _ = seedbed("predict", "mlm", "a [MASK] [MASK]", "--json")
    found = json.loads(out)
    assert (found["head"], [len(mask) for mask in found["predictions"]]) == ("mlm", [5, 5])
    assert [mask[0]["mask"] for mask in found["predictions"]] == [1, 2]
    assert found["model"] == library.get("mlm").id


def test_classes_of_a_text_and_of_a_pair(seedbed: Run, library: Library) -> None:
    for second in (None, "b c"):
        expected = predictor(library, "sequence").classify("a b", second)
        code, out, _ = seedbed("predict", "sequence", "a b", *(["--text-pair", second] if second else []))
        assert code == 0
        assert rows(out) == [["label", "score"], *([one.label, f"{one.score:.4f}"] for one in expected)]


def test_marked_parts_of_a_text(seedbed: Run, library: Library) -> None:
    expected = predictor(library, "token").tag("abc d. xyz")
    code, out, _ = seedbed("predict", "token", "abc d. xyz", "--json")
    assert code == 0
    found = json.loads(out)["predictions"]
    assert [(one["label"], one["start"], one["end"]) for one in found] == [
        (one.label, one.start, one.end) for one in expected
    ]
    assert found[0]["score"] == pytest.approx(expected[0].score)
    assert rows(seedbed("predict", "token", "abc d. xyz")[1])[0] == ["label", "score", "start", "end", "text"]


def test_answers_from_a_text_on_standard_input(seedbed: Run, library: Library) -> None:
    text = "a seed grew. it was green."
    expected = [asdict(one) for one in predictor(library, "span").answer("what grew", text, 2)]
    code, out, _ = seedbed("predict", "span", "what grew", "--text-pair", "-", "--limit", "2", "--json", stdin=text)
    assert code == 0
    found = json.loads(out)["predictions"]
    assert [{"label": "", **one} for one in found] == expected
    assert len(found) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("span", "what"), 2, "no --text-pair"),
        (("mlm", "a [MASK]", "--text-pair", "b"), 2, "reads one text"),
        (("mlm", "a b"), 2, "no token is masked"),
        (("decoder", "a b"), 2, "it is a decoder"),
        (("none", "a b"), 2, "it is an encoder"),
        (("t5", "a b"), 2, "it is an encoder–decoder"),
        (("absent", "a b"), 4, "absent"),
        (("span", "-", "--text-pair", "-"), 2, "one standard input"),
        (("sequence", "a", "--limit", "0"), 2, "--limit"),
    ],
)
def test_wrong_input_is_said(seedbed: Run, arguments: Any, code: int, said: str) -> None:
    ended, out, err = seedbed("predict", *arguments)
    assert (ended, out) == (code, "")
    assert said in err


def test_run_writes_with_an_encoder_decoder(seedbed: Run, library: Library) -> None:
    writer = Seq2Seq(load_any(library.get("t5")))
    options = {"max_tokens": 12}

    def text(sampling: Sampling) -> str:
        stream = writer.stream(writer.source("translate this"), sampling)
        return "".join(delta.text for delta in deltas_of(stream, ReplyBuilder(writer.tokenizer, sampling.stop)))

    flags = ("--max-tokens", "12")
    assert seedbed("run", "t5", "translate this", *flags)[:2] == (0, text(Sampling(temperature=0, **options)) + "\n")
    drawn = text(Sampling(seed=3, **options))
    assert seedbed("run", "t5", "translate this", *flags, "--seed", "3")[1] == drawn + "\n"
    beams = text(Sampling(temperature=0, beams=3, **options))
    assert seedbed("run", "t5", "translate this", *flags, "--beams", "3")[1] == beams + "\n"
    code, out, _ = seedbed("run", "t5", "translate this", *flags, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["prompt_tokens"] == len(writer.source("translate this"))
    assert found["text"] == text(Sampling(temperature=0, **options))
    assert (found["finish"], len(found["tokens"])) in (("length", 12), ("end", len(found["tokens"])))


def test_run_refuses_models_that_write_nothing(seedbed: Run) -> None:
    for name in ("none", "mlm", "span"):
        code, out, err = seedbed("run", name, "a b")
        assert (code, out) == (2, "")
        assert "does not continue texts" in err


def test_an_exported_classifier_keeps_its_labels(seedbed: Run, tmp_path: Path) -> None:
    assert seedbed("export", "sequence", "--to", "hf", "--output", str(tmp_path / "out"))[0] == 0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["id2label"] == {"0": "good", "1": "bad"}
    assert config["label2id"] == {"good": 0, "bad": 1}
    pipeline = transformers.pipeline("text-classification", str(tmp_path / "out"), top_k=None, device="cpu")
    found = json.loads(seedbed("predict", "sequence", "a b", "--json")[1])["predictions"]
    [expected] = pipeline(["a b"])
    assert {one["label"]: one["score"] for one in found} == pytest.approx(
        {one["label"]: one["score"] for one in expected}
    )
