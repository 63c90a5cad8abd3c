"""The tokenizer of a Hugging Face folder, old or new, as one :class:`Tokenizer` that gives the published ids.

``tokenizer.json`` is taken as it is. Older folders have the parts: ``vocab.json`` and ``merges.txt`` (byte-level BPE),
a SentencePiece ``.model``, or ``vocab.txt`` (WordPiece). Settings that these files lack, such as the pre-tokenizer and
the tokens around a text, follow from the class of tokenizer that ``tokenizer_config.json`` names.

Left out: classes that run code of their own, tiktoken and tekken files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seedbed.core.errors import NotFoundError
from seedbed.core.library_errors import library_errors
from seedbed.core.progress import say
from seedbed.tokenizers import pretokenizers, published, tokenizer_json
from seedbed.tokenizers.bounds import check_table
from seedbed.tokenizers.sentencepiece_file import read_sentencepiece
from seedbed.tokenizers.sentencepiece_model import damaged_tokenizer, piece_tokenizer
from seedbed.tokenizers.tokenizer import TOKENIZER_FILE, Tokenizer
from seedbed.tokenizers.trial import exercise, require_usable, try_templates
from seedbed.tokenizers.wordpiece import BERT_TOKENS, wordpiece_tokenizer

MODEL_FILES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model")
_EXTRA_IDS = 100  # T5's sentinels
_BEGIN = {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer"}  # they put the bos token before a text
_BOTH = {"RobertaTokenizer", "BartTokenizer", "LongformerTokenizer", "XLMRobertaTokenizer"}  # bos before, eos after
_ENDS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_DEFAULTS: dict[str, dict[str, str]] = {
    "GPT2Tokenizer": dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"),
    "T5Tokenizer": {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
    "LlamaTokenizer": _ENDS,
    "RobertaTokenizer": _ENDS | {"pad_token": "<pad>", "mask_token": "<mask>", "cls_token": "<s>", "sep_token": "</s>"},
    "BertTokenizer": BERT_TOKENS,
}
_LIKE = {
    "Qwen2Tokenizer": "GPT2Tokenizer",
    "CodeGenTokenizer": "GPT2Tokenizer",
    "CodeLlamaTokenizer": "LlamaTokenizer",
    "BartTokenizer": "RobertaTokenizer",
    "LongformerTokenizer": "RobertaTokenizer",
    "XLMRobertaTokenizer": "RobertaTokenizer",
    "DistilBertTokenizer": "BertTokenizer",
}


def open_tokenizer(folder: Path) -> Tokenizer:
    """Read a folder's tokenizer, after it was tried out in a capped child.

    Raises:
        CapacityError: it takes more time or memory than one may.
        NotFoundError: it holds none of the files a tokenizer is made of.
        CorruptError: a file is damaged, the vocabulary has holes or duplicates, merges make no pieces, or a special
            token that is named is not there.
        UsageError: it is of a kind that is not supported, or a chat template does too much.
    """
    require_usable(f"{__name__}:try_folder", {"folder": str(folder)}, str(folder))
    tokenizer = try_templates(_read(folder))
    if dropout := tokenizer.table["model"].get("dropout"):
        say(f"dropout {dropout:g} of the tokenizer is off: with it one text would give other tokens each time")
    return tokenizer


def try_folder(folder: str) -> None:
    """Try a folder's tokenizer out; for the capped child."""
    exercise(_read(Path(folder)))


def _read(folder: Path) -> Tokenizer:
    with library_errors(lambda why: damaged_tokenizer(str(folder), why)):
        return _tokenizer(folder)


def _tokenizer(folder: Path) -> Tokenizer:
    config = published.read_config(folder)
    cls = str(config.get("tokenizer_class", "")).removesuffix("Fast")
    table, defaults = _table(folder, config, cls)
    there = published.vocabulary_of(table) | {
        published.token_name(one): 0 for one in (config.get("added_tokens_decoder") or {}).values()
    }
    for key, name in defaults.items():
        if name in there:
            config.setdefault(key, name)
    origin = str(folder)
    table = published.complete_table(table, config, origin)
    published.check_names(table, config, origin)
    return Tokenizer.from_json(json.dumps(table), config, origin=origin)


def _table(folder: Path, config: Mapping[str, Any], cls: str) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Return a folder's ``tokenizer.json``, read or put together, and the default special tokens of its class."""
    if (path := folder / TOKENIZER_FILE).is_file():
        check_table(table := published.read_table(path))
        return table, {}
    model = next((folder / name for name in MODEL_FILES if (folder / name).is_file()), None)
    if model is not None:
        table = _sentencepiece(model, cls)
        return table, _names_in(table) | _names(cls, "")
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _byte_level(folder, config, cls), _names(cls, "GPT2Tokenizer")
    if (folder / "vocab.txt").is_file():
        return _word_pieces(folder / "vocab.txt", config), _names(cls, "BertTokenizer")
    held = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) if folder.is_dir() else ""
    raise NotFoundError(
        f"there is no tokenizer in {folder}",
        why=f"it holds {held or 'nothing'}" if folder.is_dir() else "no such folder",
        fix=f"fetch {TOKENIZER_FILE}, or vocab.json with merges.txt, vocab.txt or {MODEL_FILES[0]}",
    )


def _names(cls: str, otherwise: str) -> dict[str, str]:
    known = _LIKE.get(cls, cls)
    return dict(_DEFAULTS.get(known if known in _DEFAULTS else otherwise, {}))


def _names_in(table: Mapping[str, Any]) -> dict[str, str]:
    """Return the special tokens that a SentencePiece model has under their usual names."""
    there = {token["content"] for token in table["added_tokens"] if token["special"]}
    usual = {"bos": ("<s>", "<bos>"), "eos": ("</s>", "<eos>"), "unk": ("<unk>",), "pad": ("<pad>",)}
    return {f"{role}_token": name for role, names in usual.items() for name in names if name in there}


def _byte_level(folder: Path, config: Mapping[str, Any], cls: str) -> dict[str, Any]:
    origin = str(folder / "vocab.json")
    vocabulary = published.read_table(folder / "vocab.json")
    merges = list(_read_merges(folder / "merges.txt", vocabulary))
    published.check_added(vocabulary, config, origin)
    kind = "qwen2" if cls == "Qwen2Tokenizer" else "gpt-2"
    cut = pretokenizers.pre_tokenizer(pretokenizers.SPLITS[kind])
    if kind == "gpt-2":
        cut["add_prefix_space"] = bool(config.get("add_prefix_space", False))
    names = _names(cls, "GPT2Tokenizer") | {
        key: name for key in published.NAMED_TOKENS if (name := published.token_name(config.get(key)))
    }
    ends = [
        (name, vocabulary[name]) for key in ("bos_token", "eos_token") if (name := names.get(key, "")) in vocabulary
    ]
    both = cls in _BOTH and len(ends) == 2
    return tokenizer_json.tokenizer_table(
        tokenizer_json.bpe_model(vocabulary, merges),
        normalizer={"type": "NFC"} if kind == "qwen2" else None,
        pre_tokenizer=cut,
        post_processor=tokenizer_json.template_processing(ends[:1], ends[1:]) if both else None,
        decoder=tokenizer_json.byte_level(),
    )


def _read_merges(path: Path, vocabulary: Mapping[str, int]) -> Iterable[list[str]]:
    for number, line in enumerate(published.read_text(path).splitlines(), 1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        parts = line.split(" ")
        if len(parts) != 2 or not all(parts):
            raise damaged_tokenizer(f"{path}, line {number},", f"{line[:40]!r} is not two pieces with a space between")
        if unknown := next((one for one in (*parts, "".join(parts)) if one not in vocabulary), None):
            raise damaged_tokenizer(f"{path}, line {number},", f"the piece {unknown!r} is not in vocab.json")
        yield parts


def _sentencepiece(path: Path, cls: str) -> dict[str, Any]:
    try:
        model = read_sentencepiece(path.read_bytes(), str(path))
    except OSError as error:
        raise damaged_tokenizer(str(path), str(error)) from error
    table = piece_tokenizer(model, str(path))
    if cls == "T5Tokenizer":
        _add_sentinels(table, str(path))
    elif cls == "XLMRobertaTokenizer":
        _shift(table, str(path))
    ids = {token["content"]: token["id"] for token in table["added_tokens"]}
    ends = [(name, ids[name]) for name in ("<s>", "</s>", "<bos>") if name in ids]
    if cls in _BEGIN:
        table["post_processor"] = tokenizer_json.template_processing([end for end in ends if end[0] != "</s>"][:1], [])
    elif cls == "T5Tokenizer":
        table["post_processor"] = tokenizer_json.template_processing([], [end for end in ends if end[0] == "</s>"])
    elif cls == "XLMRobertaTokenizer":
        table["post_processor"] = tokenizer_json.template_processing(ends[:1], ends[1:2])
    return table


def _add_sentinels(table: dict[str, Any], origin: str) -> None:
    """Add T5's ``<extra_id_99>`` … ``<extra_id_0>`` after the file's own pieces."""
    if table["model"]["type"] != "Unigram":
        raise damaged_tokenizer(origin, "T5's tokenizer is a unigram model")
    pieces = table["model"]["vocab"]
    if any(piece == "<extra_id_0>" for piece, _ in pieces):
        return
    for number in reversed(range(_EXTRA_IDS)):
        table["added_tokens"].append(tokenizer_json.added_token(len(pieces), f"<extra_id_{number}>", special=True))
        pieces.append([f"<extra_id_{number}>", 0.0])


def _shift(table: dict[str, Any], origin: str) -> None:
    """Apply XLM-R's numbering: ``<s> <pad> </s> <unk>``, the file's pieces from its fourth on, ``<mask>``."""
    if table["model"]["type"] != "Unigram":
        raise damaged_tokenizer(origin, "XLM-R's tokenizer is a unigram model")
    first = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [*([name, 0.0] for name in first), *table["model"]["vocab"][3:], ["<mask>", 0.0]]
    table["model"] |= {"vocab": pieces, "unk_id": 3}
    special = [*enumerate(first), (len(pieces) - 1, "<mask>")]
    table["added_tokens"] = [
        tokenizer_json.added_token(index, name, special=True, lstrip=name == "<mask>") for index, name in special
    ]


def _word_pieces(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    lines = published.read_text(path).split("\n")
    pieces = [line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
    names = dict(BERT_TOKENS)
    names |= {key: name for key in names if (name := published.token_name(config.get(key)))}
    return wordpiece_tokenizer(
        pieces,
        names,
        lower=bool(config.get("do_lower_case", True)),
        strip_accents=config.get("strip_accents"),
        chinese=bool(config.get("tokenize_chinese_chars", True)),
        origin=str(path),
    )
