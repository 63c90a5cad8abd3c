"""Folders of every form: what is read, kept through saving, given to transformers, and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizer_cases import train_sentencepiece

import tokenizers
from seedbed.core.errors import CorruptError, NotFoundError, SeedbedError, UsageError
from seedbed.formats.huggingface.tokenizer import open_tokenizer
from seedbed.tokenizers.special import SPECIAL_TOKENS
from seedbed.tokenizers.tokenizer import Tokenizer

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi, <|im_end|> 12?"}]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "uber", "Ü", "漢"]


def _write(folder: Path, **files: Any) -> Path:
    """Files by their names, "__" for the dot."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def _qwen(folder: Path, trained: Tokenizer) -> Path:
    """The files of a Qwen2 model, with another's pieces: tokens beyond the vocabulary, no bos token."""
    vocabulary = {piece: index for piece, index in trained.vocabulary.items() if piece not in SPECIAL_TOKENS}
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    first = len(ordered)
    added = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "add_bos_token": False,
        "added_tokens_decoder": {
            str(first + place): {"content": name, "special": True} for place, name in enumerate(added)
        },
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "model_max_length": 32768,
        "padding_side": "left",
        "chat_template": CHATML,
    }
    merges = [" ".join(merge) for merge in trained.table["model"]["merges"]]
    text = "#version: 0.2\n" + "\n".join(merges) + "\n"
    return _write(
        folder, vocab__json={p: i for i, p in enumerate(ordered)}, merges__txt=text, tokenizer_config__json=config
    )


def test_vocabulary_and_merges_with_tokens_beyond(bpe: Tokenizer, tmp_path: Path) -> None:
    tokenizer = open_tokenizer(_qwen(tmp_path, bpe))
    size = bpe.vocab_size - len(SPECIAL_TOKENS)
    assert tokenizer.vocab_size == size + 3
    assert (tokenizer.end_id, tokenizer.pad_id, tokenizer.special_ids) == (size + 2, size, {size, size + 1, size + 2})
    assert tokenizer.encode_prompt("def") == tokenizer.encode("def")  # Qwen begins with nothing
    assert not set(tokenizer.encode("<|im_end|>")) & tokenizer.special_ids
    assert tokenizer.encode("e\u0301") == tokenizer.encode("é")  # Unicode's normal form C
    assert tokenizer.decode(tokenizer.encode("naïve 漢字")) == "naïve 漢字"


def test_transformers_loads_what_is_saved(bpe: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    (tmp_path / "published").mkdir()
    ours = open_tokenizer(_qwen(tmp_path / "published", bpe))
    ours.save(tmp_path / "saved")
    theirs = AutoTokenizer.from_pretrained(str(tmp_path / "saved"))
    text = "def f(x):\n\treturn  12345 # naïve 漢字"
    assert theirs(text)["input_ids"] == ours.wrap(ours.encode(text)) == ours.encode(text)
    assert (theirs.model_max_length, theirs.padding_side) == (32768, "left")
    assert (theirs.bos_token, theirs.eos_token, theirs.pad_token) == (None, "<|im_end|>", "<|endoftext|>")
    assert set(theirs.all_special_ids) == ours.special_ids
    assert theirs.apply_chat_template(CHAT, tokenize=False) == ours.render_chat(CHAT)
    chat = [CHAT[0], {"role": "user", "content": "Hi"}]
    for prompt in (False, True):
        ids = theirs.apply_chat_template(chat, add_generation_prompt=prompt, return_dict=False)
        assert ours.encode_chat(chat, prompt)[0] == ids
    again = Tokenizer.from_file(tmp_path / "saved")
    assert (again.hash, again.names) == (ours.hash, ours.names)


def test_a_folder_saved_again_is_the_same(bpe: Tokenizer, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second, tmp_path / "published"):
        folder.mkdir()
    open_tokenizer(_qwen(tmp_path / "published", bpe)).save(first)
    open_tokenizer(first).save(second)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (first / name).read_text() == (second / name).read_text()


@pytest.mark.parametrize("where", ["config", "jinja", "map", "added_tokens"])
def test_special_tokens_and_templates_wherever_they_are(bpe: Tokenizer, tmp_path: Path, where: str) -> None:
    folder = _qwen(tmp_path, bpe)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    if where == "jinja":
        _write(folder, chat_template__jinja=config.pop("chat_template"))
    elif where == "map":
        keys = ("eos_token", "pad_token", "additional_special_tokens")
        _write(folder, special_tokens_map__json={key: config.pop(key) for key in keys})
    elif where == "added_tokens":
        decoder = config.pop("added_tokens_decoder")
        _write(folder, added_tokens__json={entry["content"]: int(index) for index, entry in decoder.items()})
    _write(folder, tokenizer_config__json=config)
    tokenizer = open_tokenizer(folder)
    assert tokenizer.names == {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    assert len(tokenizer.special_ids) == 3
    assert tokenizer.chat_templates == {"default": CHATML}


@pytest.mark.parametrize("dropout", [0.5, 1.0, 0.0, None])
def test_dropout_of_merges_is_off(
    bpe: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str], dropout: float | None
) -> None:
    """The oracle is the library without dropout; a text of many merges would differ at once."""
    table = {**bpe.table, "model": {**bpe.table["model"], "dropout": dropout}}
    folder = _write(tmp_path, tokenizer__json=table, tokenizer_config__json={"eos_token": "<|end|>"})
    text = "The cats are sitting beside the other cats. " * 20
    expected = bpe.encode(text)
    opened = open_tokenizer(folder)
    assert ("is off" in capsys.readouterr().err) == bool(dropout)
    opened.save(tmp_path / "saved")
    direct = Tokenizer.from_file(folder)
    for tokenizer in (opened, direct, Tokenizer.from_file(tmp_path / "saved")):
        assert [tokenizer.encode(text) for _ in range(3)] == [expected] * 3
    assert not json.loads((tmp_path / "saved" / "tokenizer.json").read_text())["model"]["dropout"]


def test_several_templates_are_kept(bpe: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = _qwen(tmp_path, bpe)
    (folder / "additional_chat_templates").mkdir()
    _write(folder / "additional_chat_templates", tool_use__jinja="tools: {{ messages | length }}")
    tokenizer = open_tokenizer(folder)
    assert set(tokenizer.chat_templates) == {"default", "tool_use"}
    tokenizer.save(tmp_path / "saved")
    assert Tokenizer.from_file(tmp_path / "saved").chat_templates == tokenizer.chat_templates
    assert AutoTokenizer.from_pretrained(str(tmp_path / "saved")).chat_template == tokenizer.chat_templates


def test_a_tokenizer_without_template_is_saved_without_one(bpe: Tokenizer, tmp_path: Path) -> None:
    folder = _qwen(tmp_path, bpe)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["chat_template"]
    tokenizer = open_tokenizer(_write(folder, tokenizer_config__json=config))
    tokenizer.save(tmp_path / "saved")
    assert "chat_template" not in json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
    assert Tokenizer.from_file(tmp_path / "saved").hash == tokenizer.hash


def test_word_pieces(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = open_tokenizer(_write(tmp_path, vocab__txt="\n".join(WORDS) + "\n"))
    assert tokenizer.encode("The cats 漢 Über [MASK]x") == [5, 6, 7, 10, 8, 1, 1, 1, 1]
    assert tokenizer.wrap([5]) == [2, 5, 3]
    assert tokenizer.encode_prompt("cat") == [2, 6]
    assert tokenizer.names["mask_token"] == "[MASK]"
    tokenizer.save(tmp_path / "saved")
    theirs = AutoTokenizer.from_pretrained(str(tmp_path / "saved"))
    assert theirs("The cats")["input_ids"] == tokenizer.wrap(tokenizer.encode("The cats"))
    assert theirs("the", "cat")["input_ids"] == [2, 5, 3, 6, 3]
    cased = open_tokenizer(_write(tmp_path, tokenizer_config__json={"do_lower_case": False}))
    assert cased.encode("Ü the The") == [9, 5, 1]


def _model(folder: Path, cls: str, kind: str = "unigram", **options: object) -> Path:
    data = train_sentencepiece(["the cat sat on the mat"] * 9, model_type=kind, vocab_size=32 + 256, **options)
    (folder / "spiece.model").write_bytes(data)
    return _write(folder, tokenizer_config__json={"tokenizer_class": cls})


def test_sentencepiece_by_class(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    for cls, around in {
        "LlamaTokenizer": ([1], []),
        "T5Tokenizer": ([], [2]),
        "XLMRobertaTokenizer": ([0], [2]),
    }.items():
        folder = tmp_path / cls
        folder.mkdir()
        tokenizer = open_tokenizer(_model(folder, cls, byte_fallback=cls == "LlamaTokenizer"))
        ids = tokenizer.encode("the cat")
        assert tokenizer.wrap(ids) == [*around[0], *ids, *around[1]]
        tokenizer.save(folder / "saved")
        theirs = AutoTokenizer.from_pretrained(str(folder / "saved"))
        assert theirs("the cat")["input_ids"] == tokenizer.wrap(ids)
    plain = open_tokenizer(_model(tmp_path, ""))
    xlm, t5 = (open_tokenizer(tmp_path / name) for name in ("XLMRobertaTokenizer", "T5Tokenizer"))
    assert [index + 1 for index in plain.encode("the cat")] == xlm.encode("the cat")
    assert t5.pieces([t5.vocab_size - 1, t5.vocab_size - 100]) == ["<extra_id_0>", "<extra_id_99>"]


def test_a_chat_of_a_sentencepiece_model_has_no_space_inside_text(tmp_path: Path) -> None:
    """A space is put before a text and after a special token, not before a reply that goes on in a line."""
    template = "{{ bos_token }}{% for m in messages %}{{ 'the ' + m['content'] }}{% endfor %}"
    _model(tmp_path, "LlamaTokenizer", "bpe", byte_fallback=True, remove_extra_whitespaces=False)
    _write(tmp_path, tokenizer_config__json={"tokenizer_class": "LlamaTokenizer", "chat_template": template})
    tokenizer = open_tokenizer(tmp_path)
    chat = [{"role": "user", "content": "cat "}, {"role": "assistant", "content": "sat"}]
    ids, mask = tokenizer.encode_chat(chat)
    assert tokenizer.decode(ids) == "the cat the sat"
    assert tokenizer.decode([i for i, written in zip(ids, mask, strict=True) if written]) == "sat"


def test_flags_ask_for_what_stands_around_a_text(bpe: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    bpe.save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    for bos, eos in ((True, False), (True, True), (False, True)):
        _write(tmp_path, tokenizer_config__json=config | {"add_bos_token": bos, "add_eos_token": eos})
        ours = open_tokenizer(tmp_path)
        ours.save(tmp_path / "saved")
        expected = AutoTokenizer.from_pretrained(str(tmp_path / "saved"))("x")["input_ids"]
        assert ours.wrap(ours.encode("x")) == expected == [0] * bos + bpe.encode("x") + [1] * eos
        assert ours.encode_prompt("x") == [0] * bos + bpe.encode("x")


def test_numbers_left_out_are_empty_text(tmp_path: Path) -> None:
    inner = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1, "ab": 4}, [("a", "b")]))
    inner.save(str(tmp_path / "tokenizer.json"))
    tokenizer = open_tokenizer(_write(tmp_path, tokenizer_config__json={}))
    assert (tokenizer.vocab_size, tokenizer.encode("ab")) == (5, [4])
    assert (tokenizer.token_bytes(2), tokenizer.token_bytes(4)) == (b"", b" ab")


PAIRS: dict[str, Any] = {"vocab__json": {"a": 0, "b": 1, "ab": 2}, "merges__txt": "#version: 0.2\na b\n"}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"vocab__json": {"a": 0, "b": 2}, "merges__txt": ""}, "no piece has the id 1"),
        ({"vocab__json": {"a": 0, "b": 0}, "merges__txt": ""}, "'a' and 'b' both have the id 0"),
        ({"vocab__json": {"a": -1}, "merges__txt": ""}, "-1 is no id"),
        ({"vocab__json": {"a": "x"}, "merges__txt": ""}, "'x' is no id"),
        ({**PAIRS, "merges__txt": "a b\na c\n"}, "'c' is not in vocab.json"),
        ({**PAIRS, "merges__txt": "b a\n"}, "'ba' is not in vocab.json"),
        ({**PAIRS, "merges__txt": "ab\n"}, "'ab' is not two pieces"),
        ({**PAIRS, "vocab__json": "[1]"}, "a list, not a table"),
        ({**PAIRS, "vocab__json": "{"}, "Expecting"),
        ({**PAIRS, "tokenizer_config__json": {"eos_token": "<end>"}}, "the eos_token '<end>' is not in the vocabulary"),
        ({**PAIRS, "tokenizer_config__json": {"unk_token": None}, "added_tokens__json": {"c": 2}}, "the id 2"),
        ({**PAIRS, "tokenizer_config__json": "nonsense"}, "Expecting"),
        ({"vocab__txt": "[UNK]\n[CLS]\n[SEP]\na\na\n"}, "'a' is there twice"),
        ({"vocab__txt": "[UNK]\na\n"}, "the cls_token '[CLS]' is no piece"),
        ({"tokenizer__json": {}}, "no table with a model"),
        ({"tokenizer__json": "\x00"}, "Expecting"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, files: dict[str, Any], reason: str) -> None:
    with pytest.raises(CorruptError) as refused:
        open_tokenizer(_write(tmp_path, **files))
    assert reason in refused.value.why


def test_a_damaged_sentencepiece_model_is_refused(tmp_path: Path) -> None:
    path = _model(tmp_path, "LlamaTokenizer") / "spiece.model"
    whole = path.read_bytes()
    for data in (b"", b"\x00", whole[:100], whole[: len(whole) // 2], b"PK\x03\x04" + whole, b"\xff" * 50):
        path.write_bytes(data)
        with pytest.raises(CorruptError, match="is not a tokenizer"):
            open_tokenizer(tmp_path)


def test_a_sentencepiece_model_with_any_byte_changed_is_read_or_refused(tmp_path: Path) -> None:
    path = _model(tmp_path, "LlamaTokenizer", normalization_rule_name="identity") / "spiece.model"
    whole = path.read_bytes()
    refused = 0
    for place in [*range(60), *range(60, len(whole), max(1, len(whole) // 40))]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x81]) + whole[place + 1 :])
        try:
            open_tokenizer(tmp_path).encode("the cat\u0301 sat")
        except SeedbedError:
            refused += 1
    assert refused > 5


@pytest.mark.parametrize("kind", ["word", "char"])
def test_sentencepiece_models_of_other_kinds_are_refused(tmp_path: Path, kind: str) -> None:
    data = train_sentencepiece(["the cat sat"] * 9, model_type=kind, vocab_size=30)
    (tmp_path / "tokenizer.model").write_bytes(data)
    with pytest.raises(UsageError, match="cannot be used"):
        open_tokenizer(tmp_path)


def test_a_folder_without_tokenizer_names_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(NotFoundError) as refused:
        open_tokenizer(tmp_path)
    assert "model.safetensors" in refused.value.why
    with pytest.raises(NotFoundError, match="no tokenizer"):
        open_tokenizer(tmp_path / "nowhere")


def test_a_template_that_fails_says_why(bpe: Tokenizer, tmp_path: Path) -> None:
    tokenizer = open_tokenizer(_write(_qwen(tmp_path, bpe), chat_template__jinja="{{ messages[9].content.x.y }}"))
    with pytest.raises(UsageError, match="cannot be rendered"):
        tokenizer.render_chat(CHAT)
