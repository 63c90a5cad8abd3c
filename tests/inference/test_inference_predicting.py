"""Heads at work, against transformers' pipelines, or its logits and plain loops, on random models through files."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from serving import add_model
from transformers import BertTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from seedbed.core.artifacts import Library
from seedbed.core.errors import CapacityError, DataError, UsageError
from seedbed.formats.importing import import_model
from seedbed.inference.predicting import Predictor, label_names
from seedbed.models.store import load_any
from tokenizers import Tokenizer as LibraryTokenizer
from tokenizers import models, pre_tokenizers, processors, trainers

SENTENCE = "the capital of france is paris where seeds grow in a bed with ada lovelace from london who was it"
WORDS = SENTENCE.split()
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?", ",", ".", *WORDS, *"abcdefghijklmnopqrstuvwxyz"]
PIECES = [*dict.fromkeys(PIECES), *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
TEXT = "Ada Lovelace from London, who was it? Pariser seeds grow in Ünited France."
NAMES = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}
SHAPE = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 96,
}  # fmt: skip


def bert_tokenizer() -> PreTrainedTokenizerFast:
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)}, model_max_length=96)


def roberta_tokenizer() -> PreTrainedTokenizerFast:
    inner = LibraryTokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        [TEXT] * 9, trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
    )
    inner.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    roles = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, mask_token="<mask>", unk_token="<unk>", **roles)


TOKENIZERS = {"Bert": bert_tokenizer(), "Roberta": roberta_tokenizer()}
Twins = tuple[PreTrainedModel, Predictor]


@pytest.fixture(scope="module", params=list(TOKENIZERS))
def family(request: pytest.FixtureRequest) -> str:
    torch.set_num_threads(1)
    return str(request.param)


def twins(folder: Path, family: str, head: str, **settings: Any) -> Twins:
    """A random model with a head, by transformers and by us."""
    tokenizer, positions = TOKENIZERS[family], 96 + 2 * (family == "Roberta")
    special = {"pad_token_id": tokenizer.pad_token_id} if family == "Roberta" else {}
    shape = {**SHAPE, "max_position_embeddings": positions, "vocab_size": len(tokenizer), **special, **settings}
    torch.manual_seed(5)
    theirs = getattr(transformers, f"{family}For{head}")(getattr(transformers, f"{family}Config")(**shape)).eval()
    for name, parameter in theirs.named_parameters():
        if "norm" not in name.lower():
            parameter.data.normal_(0.0, 0.3)
        if name == "classifier.bias":
            parameter.data[0] = -2.0  # few tokens are "O"
    theirs.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    ours = Predictor(load_any(import_model(Library(folder / "home"), folder / "model", "it")))
    return theirs, ours


def pipe(task: str, theirs: PreTrainedModel, family: str, **options: Any) -> Any:
    return transformers.pipeline(task, model=theirs, tokenizer=TOKENIZERS[family], device="cpu", **options)


def logits(theirs: PreTrainedModel, family: str, *texts: str) -> Any:
    with torch.no_grad():
        return theirs(**TOKENIZERS[family](*texts, return_tensors="pt"))


@pytest.mark.parametrize("text", ["the {} of france", "{} is {} in paris", "Ünited {}.", "where{}grow?"])
def test_masks_are_filled_as_the_pipeline_does(tmp_path: Path, family: str, text: str) -> None:
    theirs, ours = twins(tmp_path, family, "MaskedLM")
    mask = TOKENIZERS[family].mask_token
    expected = pipe("fill-mask", theirs, family, top_k=7)(text.replace("{}", mask))
    several = expected if isinstance(expected[0], list) else [expected]
    for spelling in ("[MASK]", "<mask>"):
        found = ours.fill(text.replace("{}", spelling), 7)
        for mine, its in zip(found, several, strict=True):
            assert [one.token for one in mine] == [one["token"] for one in its]
            assert [one.score for one in mine] == pytest.approx([one["score"] for one in its], rel=2e-5)


@pytest.mark.parametrize("problem", [None, "single_label_classification", "multi_label_classification", "regression"])
def test_texts_are_classified_as_the_pipeline_does(tmp_path: Path, family: str, problem: str | None) -> None:
    labels = {"id2label": {0: "good", 1: "bad", 2: "neither"}, "problem_type": problem}
    theirs, ours = twins(tmp_path, family, "SequenceClassification", **labels)
    classifier = pipe("text-classification", theirs, family, top_k=None)
    for found, expected in (
        (ours.classify(TEXT), classifier([TEXT])[0]),
        (ours.classify("who was it?", TEXT), classifier({"text": "who was it?", "text_pair": TEXT})),
    ):
        expected = expected[0] if isinstance(expected[0], list) else expected
        assert [one.label for one in found] == [one["label"] for one in expected]
        assert [one.score for one in found] == pytest.approx([one["score"] for one in expected], rel=2e-5)


def test_one_class_has_a_probability_of_its_own(tmp_path: Path, family: str) -> None:
    theirs, ours = twins(tmp_path, family, "SequenceClassification", num_labels=1)
    [found] = ours.classify(TEXT)
    assert found.score == pytest.approx(float(logits(theirs, family, TEXT).logits.sigmoid()), rel=2e-5)
    assert found.label == "LABEL_0"


def test_a_long_text_is_classified_by_its_beginning(
    tmp_path: Path, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, ours = twins(tmp_path, family, "SequenceClassification")
    begun = ours.classify(TEXT * 9)
    assert "the text is cut: the model reads 96 tokens" in capsys.readouterr().err
    assert begun == ours.classify(TEXT * 12)
    assert begun != ours.classify(TEXT)


def test_names_are_marked_as_the_pipeline_does(tmp_path: Path, family: str) -> None:
    theirs, ours = twins(tmp_path, family, "TokenClassification", id2label=NAMES)
    tagger = pipe("token-classification", theirs, family, aggregation_strategy="first")
    texts = ["Paris", "", "who was Ada Lovelace from London", SENTENCE, TEXT, "who was Ada Lovelace, from London?"]
    compared = texts if family == "Bert" else texts[:2]  # elsewhere it guesses where words begin
    for text in compared:
        found, expected = ours.tag(text), tagger(text) if text else []
        assert [(one.label, one.start, one.end) for one in found] == [
            (one["entity_group"], one["start"], one["end"]) for one in expected
        ]
        assert [one.score for one in found] == pytest.approx([float(one["score"]) for one in expected], rel=2e-5)
        assert all(one.text == text[one.start : one.end] for one in found)
    assert len(ours.tag(SENTENCE)) > 1


def test_every_word_of_a_long_text_is_read_once(tmp_path: Path, family: str) -> None:
    """Nothing is "O" here, and all tokens begin a part, so parts are words."""
    _, ours = twins(tmp_path, family, "TokenClassification", id2label={0: "B-A", 1: "B-B"})
    text = " ".join([TEXT] * 5)
    found = ours.tag(text)
    covered = "".join(text[one.start : one.end] for one in found)
    assert covered.replace(" ", "") == text.replace(" ", "")
    assert [one.start for one in found] == sorted(one.start for one in found)


def best_answers(theirs: PreTrainedModel, family: str, question: str, text: str) -> dict[tuple[int, int], float]:
    """All spans of up to 30 tokens by their score, from plain loops over windows of 96 tokens, half of them shared."""
    tokenizer = TOKENIZERS[family]
    room = 97 - len(tokenizer(question, "a")["input_ids"])
    cut = {"truncation": "only_second", "max_length": 96, "stride": room // 2, "return_overflowing_tokens": True}
    encoding = tokenizer(question, text, return_offsets_mapping=True, **cut)
    spans: dict[tuple[int, int], float] = {}
    for number in range(len(encoding["input_ids"])):
        inputs = {key: torch.tensor([encoding[key][number]]) for key in tokenizer.model_input_names}
        with torch.no_grad():
            out = theirs(**inputs)
        offsets, parts = encoding["offset_mapping"][number], encoding.sequence_ids(number)
        context = [place for place, part in enumerate(parts) if part == 1]
        seen = [0, *context]
        rows = [row[0][seen].softmax(0).tolist() for row in (out.start_logits, out.end_logits)]
        starts, ends = (dict(zip(seen, row, strict=True)) for row in rows)
        for first, last in itertools.product(context, context):
            if first <= last < first + 30:
                place = offsets[first][0], offsets[last][1]
                spans[place] = max(spans.get(place, 0.0), starts[first] * ends[last])
    return spans


@pytest.mark.parametrize("words", [8, 150])
def test_answers_are_the_likeliest_spans(tmp_path: Path, family: str, words: int) -> None:
    theirs, ours = twins(tmp_path, family, "QuestionAnswering")
    text = " ".join(itertools.islice(itertools.cycle(WORDS), words))
    for question in ("who was it?", "where seeds grow"):
        expected = sorted(best_answers(theirs, family, question, text).items(), key=lambda item: -item[1])[:4]
        found = ours.answer(question, text, 4)
        assert [(one.start, one.end) for one in found] == [place for place, _ in expected]
        assert [one.score for one in found] == pytest.approx([score for _, score in expected], rel=2e-5)
        assert [one.text for one in found] == [text[one.start : one.end] for one in found]


def test_a_question_needs_room_for_a_text(tmp_path: Path, family: str) -> None:
    _, ours = twins(tmp_path, family, "QuestionAnswering")
    with pytest.raises(CapacityError, match="no room"):
        ours.answer(TEXT * 9, "paris")
    assert ours.answer("who?", "") == []


def test_a_tokens_window_is_the_one_where_it_is_most_inside(tmp_path: Path, family: str) -> None:
    """Windows written out by hand: 94 tokens, of which each repeats 24."""
    theirs, ours = twins(tmp_path, family, "TokenClassification", id2label={0: "B-A", 1: "B-B", 2: "B-C"})
    text = "ab " * 99
    tokenizer = TOKENIZERS[family]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    chosen: dict[int, tuple[int, float, int]] = {}
    for begin in range(0, len(ids) - 24, 70):
        part = ids[begin : begin + 94]
        row = [tokenizer.cls_token_id, *part, tokenizer.sep_token_id]
        with torch.no_grad():
            scores, labels = theirs(torch.tensor([row])).logits[0, 1:-1].softmax(-1).max(-1)
        for at in range(len(part)):
            margin = min(at, len(part) - 1 - at)
            if margin > chosen.get(begin + at, (-1, 0.0, 0))[0]:
                chosen[begin + at] = margin, float(scores[at]), int(labels[at])
    words = tokenizer(text, add_special_tokens=False).word_ids()
    firsts = [place for place, word in enumerate(words) if place == 0 or word != words[place - 1]]
    found = ours.tag(text)
    assert [one.start for one in found] == [offsets[place][0] for place in firsts]
    assert [one.label for one in found] == ["ABC"[chosen[place][2]] for place in firsts]
    assert [one.score for one in found] == pytest.approx([chosen[place][1] for place in firsts], rel=2e-5)


def test_special_tokens_in_a_text_are_text_but_for_the_mask(tmp_path: Path, family: str) -> None:
    _, ours = twins(tmp_path, family, "SequenceClassification")
    spelled = ours.classify(f"seeds {TOKENIZERS[family].sep_token} grow")
    with_one = ours.classify("seeds", " grow")
    assert spelled != with_one
    with pytest.raises(DataError, match="surrogate"):
        ours.classify("\ud800")


def test_what_a_model_cannot_do_is_said(tmp_path: Path, family: str) -> None:
    _, ours = twins(tmp_path, family, "MaskedLM")
    with pytest.raises(UsageError, match="no head for this task"):
        ours.classify(TEXT)
    with pytest.raises(UsageError, match="no token is masked"):
        ours.fill(TEXT)
    with pytest.raises(CapacityError, match="96 are allowed"):
        ours.fill("[MASK] " * 99)


def test_a_decoder_predicts_nothing(tmp_path: Path) -> None:
    library = Library(tmp_path)
    add_model(library, "decoder", 1)
    with pytest.raises(UsageError, match="has no prediction head"):
        Predictor(load_any(library.get("decoder")))


def test_labels_without_names_are_numbered() -> None:
    assert label_names({}, 2) == ["LABEL_0", "LABEL_1"]
    assert label_names(json.loads('{"id2label": {"0": "a", "1": "b"}}'), 2) == ["a", "b"]
