"""From a folder of text to results and report: all real pieces, a tiny random model, figures computed again here."""

from __future__ import annotations

import json
import lzma
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from seedbed.app import comparison
from seedbed.chat.local import LocalModel
from seedbed.cli.main import main
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CorruptError, NotFoundError, UsageError
from seedbed.corpus.build import build_corpus
from seedbed.corpus.pack import TokenSplit, pack_corpus
from seedbed.corpus.settings import CorpusSettings, SourceSettings
from seedbed.corpus.store import Corpus
from seedbed.evaluation.bits_per_byte import measure
from seedbed.evaluation.evaluate import evaluate_model
from seedbed.evaluation.subject import Subject
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import load_model, save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer

torch.set_num_threads(1)
CONTEXT = 256


def make_text(folder: Path) -> CorpusSettings:
    """Two sources, prose and code, of random words: enough documents that each has some in the test split."""
    generator = np.random.default_rng(0)
    words = np.array(["seed", "bed", "grows", "slowly", "under", "rain", "and", "light", "without", "hurry", "twice"])
    for name, ending, count in (("garden", "txt", 30), ("tools", "py", 30)):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            lines = [" ".join(generator.choice(words, size=8)) for _ in range(int(generator.integers(3, 12)))]
            text = "\n".join(
                lines if ending == "txt" else [f"x{index}_{row} = '{line}'" for row, line in enumerate(lines)]
            )
            (folder / name / f"{index}.{ending}").write_text(text + "\n")
    sources = tuple(SourceSettings(name, str(folder / name), "CC0-1.0") for name in ("garden", "tools"))
    return CorpusSettings(sources=sources, near_duplicate=0.0, boilerplate_share=0.0)


class Pieces:
    """A small library with everything that a model comes from."""

    def __init__(self, folder: Path, kind: str, vocab_size: int) -> None:
        self.library = Library(folder / "library")
        self.corpus = build_corpus(make_text(folder / "text"), self.library, name="text", workers=1)
        texts = [document.text for document in Corpus.open(self.corpus).documents("train")]
        self.tokenizer = train_tokenizer(texts, TokenizerSettings(kind=kind, vocab_size=vocab_size))  # type: ignore[arg-type]
        self.stored = self.tokenizer.store(self.library, parents=(self.corpus,), config={}, name=None)
        self.tokens = pack_corpus(self.corpus, self.stored, self.library)
        self.base = self.make_model(1, self.tokens)
        self.questions = self._questions()
        self.tuned = self.make_model(2, self.base, self.questions)

    def make_model(self, seed: int, *parents: Artifact, context: int = CONTEXT) -> Artifact:
        config = ModelConfig(self.tokenizer.vocab_size, d_model=16, n_layers=1, n_heads=2, max_length=context)
        model = Decoder(config)
        model.initialise(seed)
        with self.library.writing("model", parents=(*parents, self.stored), name=f"model-{seed}") as draft:
            save_model(draft.path, model, self.tokenizer)
        with self.library.writing("run", parents=(draft.result,)) as run:
            lines = [json.dumps({"step": step, "tokens": 9 * step, "loss": 5.0 / step}) for step in (1, 2)]
            (run.path / "metrics.jsonl").write_text("\n".join(lines))
        return draft.result

    def _questions(self) -> Artifact:
        turns = [{"role": "user", "content": "How does it grow?"}, {"role": "assistant", "content": "Slowly."}]
        with self.library.writing("questions", parents=(self.corpus,)) as draft:
            (draft.path / "test.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
        return draft.result


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Pieces:
    return Pieces(tmp_path_factory.mktemp("pieces"), "bpe", 300)


@torch.inference_mode()
def bits_per_byte(pieces: Pieces, artifact: Artifact, texts: list[str]) -> float:
    """Whole documents in one pass where they fit; longer ones are left to the tests of the windows."""
    model = Decoder(ModelConfig(pieces.tokenizer.vocab_size, d_model=16, n_layers=1, n_heads=2, max_length=CONTEXT))
    model.initialise(1 if artifact.id == pieces.base.id else 2)
    bits = 0.0
    for text in texts:
        ids = torch.tensor([pieces.tokenizer.bos_id, *pieces.tokenizer.encode(text), pieces.tokenizer.end_id])
        assert len(ids) <= CONTEXT + 1
        logits = torch.log_softmax(model.eval()(ids[None, :-1])[0][0].double(), -1)
        bits -= float(logits.gather(1, ids[1:, None]).sum()) / math.log(2)
    return bits / sum(len(text.encode()) for text in texts)


def test_results_are_those_computed_again_by_hand(pieces: Pieces) -> None:
    evaluation = evaluate_model(pieces.tuned, pieces.library, command="seedbed eval tuned", name="judged")
    results = json.loads(evaluation.file("results.json").read_text())
    documents = list(Corpus.open(pieces.corpus).documents("test"))
    texts = [document.text for document in documents]
    assert {document.source for document in documents} == {"garden", "tools"}
    size = sum(len(text.encode()) for text in texts)
    table = {line["name"]: line for line in results["table"]}

    assert evaluation.manifest.parents == (pieces.tuned.id, pieces.tokens.id)
    assert pieces.library.names()["judged"] == evaluation.id
    assert (results["documents"], results["bytes"], results["lossless"]) == (len(texts), size, True)
    assert results["tokens"] == sum(len(pieces.tokenizer.encode(text)) + 1 for text in texts)
    wanted = {artifact.id: bits_per_byte(pieces, artifact, texts) for artifact in (pieces.base, pieces.tuned)}
    assert results["bits_per_byte"] == pytest.approx(wanted[pieces.tuned.id], rel=1e-5)
    assert table["this model"]["bits_per_byte"] == results["bits_per_byte"]
    assert table["base model"]["bits_per_byte"] == pytest.approx(wanted[pieces.base.id], rel=1e-5)
    assert table["base model"]["saved"] == pytest.approx(wanted[pieces.base.id] - wanted[pieces.tuned.id], rel=1e-3)
    for kind in ("prose", "code"):
        raw = [document.text.encode() for document in documents if document.kind == kind]
        packed = sum(8 * len(lzma.compress(text, preset=9)) for text in raw)
        assert table["xz -9"]["by_kind"][kind] == pytest.approx(packed / sum(map(len, raw)))
    assert table["Kneser-Ney 5-gram"]["bits_per_byte"] < table["unigram over tokens"]["bits_per_byte"]

    page = evaluation.file("report.html").read_text()
    for expected in (
        "seedbed eval tuned",
        "CC0-1.0",
        "How does it grow?",
        "Loss (nats per token)",
        pieces.base.id[:12],
    ):
        assert expected in page


def test_without_baselines_and_with_pieces_given(pieces: Pieces) -> None:
    subject = Subject(pieces.base, pieces.tokens, pieces.corpus)
    evaluation = evaluate_model(pieces.base, pieces.library, subject=subject, baselines=False)
    results = json.loads(evaluation.file("results.json").read_text())
    assert [line["name"] for line in results["table"]] == ["this model"]
    assert results["samples"]
    assert not results["questions"]


def test_tokens_of_another_tokenizer_are_refused(pieces: Pieces, tmp_path: Path) -> None:
    other = Pieces(tmp_path, "char", 30)
    with pytest.raises(UsageError):
        evaluate_model(pieces.base, other.library, subject=Subject(pieces.base, other.tokens, other.corpus))


def test_tokens_that_are_not_the_corpus_are_refused(pieces: Pieces, tmp_path: Path) -> None:
    settings = make_text(tmp_path / "text")
    (tmp_path / "text" / "garden" / "more.txt").write_text("a much longer document " * 50)
    other = build_corpus(CorpusSettings(settings.sources, near_duplicate=0.0, seed=5), pieces.library, workers=1)
    with pytest.raises(CorruptError, match="do not hold"):
        evaluate_model(pieces.base, pieces.library, subject=Subject(pieces.base, pieces.tokens, other))


def test_a_lossy_tokenizer_is_called_out(tmp_path: Path) -> None:
    lossy = Pieces(tmp_path, "word", 40)
    assert not Tokenizer.open(lossy.stored).is_lossless
    evaluation = evaluate_model(lossy.base, lossy.library, baselines=False)
    assert json.loads(evaluation.file("results.json").read_text())["lossless"] is False
    assert "flatters" in evaluation.file("report.html").read_text()


def test_samples_fit_a_window_shorter_than_their_prompts(pieces: Pieces) -> None:
    short = pieces.make_model(3, pieces.tokens, pieces.questions, context=12)
    results = json.loads(evaluate_model(short, pieces.library, baselines=False).file("results.json").read_text())
    assert [len(pieces.tokenizer.encode(sample["prompt"])) for sample in results["samples"]] == [5, 5, 5, 5]
    assert results["questions"] == []  # the question alone is longer


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int | str | None, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code, *capsys.readouterr()


def test_command_line(
    pieces: Pieces, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEDBED_HOME", str(pieces.library.root))
    page = tmp_path / "new" / "report.html"
    code, out, err = run(["eval", "model-1", "--no-baselines", "--output", str(page)], capsys)
    assert code == 0
    assert out.splitlines()[1].startswith("this model")
    assert f"report: {page}" in err
    assert "seedbed eval model-1 --no-baselines" in page.read_text()

    code, out, _ = run(["eval", "model-1", "--no-baselines", "--json", "-q"], capsys)
    results = json.loads(out)
    assert code == 0
    assert Path(results["report"]).is_file()
    assert pieces.library.get(results["evaluation"], "evaluation")

    (tmp_path / "file").write_text("")
    code, _, err = run(["eval", "model-1", "--no-baselines", "--output", str(tmp_path / "file" / "r.html")], capsys)
    assert (code, err.count("\nfix: ")) == (2, 1)
    code, _, err = run(["eval", "text"], capsys)
    assert (code, "is not a model" in err) == (4, True)
    assert "Example:" in run(["eval", "--help"], capsys)[1]


def test_a_model_from_elsewhere_has_no_test_split(pieces: Pieces) -> None:
    stranger = pieces.make_model(7)
    with pytest.raises(NotFoundError, match="no test split"):
        evaluate_model(stranger, pieces.library)


def test_the_demo_measures_as_the_engine_computes(pieces: Pieces) -> None:
    """Whole documents, and documents in several windows, as the model itself says in one pass a window."""
    texts = [document.text for document in Corpus.open(pieces.corpus).documents("test")]
    found = comparison.bits_per_byte(LocalModel.open(pieces.base.id, pieces.library), pieces.corpus)
    assert found == pytest.approx(bits_per_byte(pieces, pieces.base, texts), rel=1e-4)
    short = pieces.make_model(1, pieces.tokens, context=64)
    in_windows = comparison.bits_per_byte(LocalModel.open(short.id, pieces.library), pieces.corpus)
    loaded = load_model(pieces.library.get(short.id, "model")).model
    rows = [[pieces.tokenizer.bos_id, *pieces.tokenizer.encode(text), pieces.tokenizer.end_id] for text in texts]
    split = TokenSplit(
        (np.concatenate(rows).astype(np.uint32),),
        np.cumsum([0, *map(len, rows)])[:-1],
        np.array([len(text.encode()) for text in texts]),
    )
    assert max(map(len, rows)) > 64
    assert in_windows == pytest.approx(measure(loaded, split, context=63, stride=63).value, rel=1e-4)
