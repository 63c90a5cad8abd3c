"""Tokenizers in GGUF files: metadata in, and metadata out for llama.cpp that gives the same ids.

``tokenizer.ggml.model`` says which of four: "gpt2" (byte-level BPE, cut as ``tokenizer.ggml.pre`` says), "llama"
(SentencePiece BPE), "t5" (SentencePiece unigram) and "bert" (WordPiece, "▁" before words instead of "##" inside them).
Ids are those of the published tokenizers; where llama.cpp's differ, theirs do: it leaves out Unicode's normal form C
(Qwen), lower-cases as its tables say, and takes control tokens for pieces in SentencePiece BPE.

Source: https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp. Writing is in ``tokenizer_writing.py``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from seedbed.core.errors import UsageError
from seedbed.core.library_errors import library_errors
from seedbed.tokenizers import pretokenizers, tokenizer_json
from seedbed.tokenizers.sentencepiece_model import (
    BYTES,
    SPACE,
    PieceModel,
    PieceType,
    damaged_tokenizer,
    piece_tokenizer,
)
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.trial import exercise, require_usable, try_templates
from seedbed.tokenizers.wordpiece import BERT_TOKENS, wordpiece_tokenizer

ROLES = {  # our name of a special token's role, and the key of its id under ``tokenizer.ggml.``
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "sep_token": "seperator_token_id",  # the format's own spelling
    "pad_token": "padding_token_id",
    "mask_token": "mask_token_id",
    "cls_token": "cls_token_id",
}
DEFAULT_IDS: dict[str, dict[str, int]] = {
    "gpt2": {},
    "llama": {"bos_token": 1, "eos_token": 2, "unk_token": 0},
    "t5": {"eos_token": 1, "unk_token": 2, "pad_token": 0},
    "bert": {"unk_token": 100, "cls_token": 101, "sep_token": 102, "mask_token": 103, "pad_token": 0},
}
_SPECIAL = (PieceType.CONTROL, PieceType.UNKNOWN, PieceType.UNUSED)
_GENERAL = ("general.architecture", "general.name")  # keys read beside the tokenizer's own
_ORIGIN = "the GGUF file's vocabulary"
_KEEPS_SPACE = {"<unk>", "<s>", "<|endoftext|>"}  # of Phi-3's special tokens: the others swallow the space after them


def tokenizer_from_gguf(metadata: Mapping[str, Any]) -> Tokenizer:
    """Build the tokenizer of a GGUF file from its metadata, whose arrays are sequences, after a capped child did.

    Raises:
        UsageError: the file has no vocabulary, one of a kind or cut that is not known, or a chat template that does
            too much.
        CorruptError: the vocabulary contradicts itself.
        CapacityError: it takes more time or memory than one may.
    """
    length = f"{metadata.get('general.architecture')}.context_length"
    keys = [key for key in metadata if key in (*_GENERAL, length) or key.startswith("tokenizer.")]
    read = {key: list(value) if isinstance(value := metadata[key], bytes) else value for key in keys}
    require_usable(f"{__name__}:try_metadata", {"metadata": read}, _ORIGIN)
    return try_templates(_read(read))


def try_metadata(metadata: Mapping[str, Any]) -> None:
    """Try the tokenizer of a GGUF file's metadata out; for the capped child."""
    exercise(_read(metadata))


def _read(metadata: Mapping[str, Any]) -> Tokenizer:
    with library_errors(lambda why: damaged_tokenizer(_ORIGIN, why)):
        return _tokenizer(metadata)


def _tokenizer(metadata: Mapping[str, Any]) -> Tokenizer:
    kind = str(_get(metadata, "model", ""))
    build = _BUILDERS.get(kind)
    if build is None:
        raise _unreadable(f"tokenizer.ggml.model is {kind or 'missing'}; known are {', '.join(_BUILDERS)}")
    pieces = [str(piece) for piece in _get(metadata, "tokens", ())]
    types = [int(one) for one in _get(metadata, "token_type", [PieceType.NORMAL] * len(pieces))]
    if not pieces or len(types) != len(pieces):
        raise damaged_tokenizer(_ORIGIN, f"{len(pieces)} pieces have {len(types)} types")
    if len(set(pieces)) < len(pieces):
        raise damaged_tokenizer(_ORIGIN, f"the piece {Counter(pieces).most_common(1)[0][0]!r} is there twice")
    names = _names(metadata, kind, pieces, types)
    table = build(metadata, pieces, types, names)
    table["post_processor"] = _around(metadata, kind, pieces, names)
    return Tokenizer.from_json(json.dumps(table), _config(metadata, names), origin=_ORIGIN)


def _unreadable(why: str) -> UsageError:
    what, fix = "this GGUF file's tokenizer cannot be read", "use the model's Hugging Face folder"
    return UsageError(what, why=why, fix=fix)


def _get(metadata: Mapping[str, Any], key: str, default: Any) -> Any:
    return metadata.get(f"tokenizer.ggml.{key}", default)


def _names(metadata: Mapping[str, Any], kind: str, pieces: Sequence[str], types: Sequence[int]) -> dict[str, str]:
    """Return special tokens by role. A stated id must be there; a default id that does not fit is left out."""
    fitting = {role: PieceType.UNKNOWN if role == "unk_token" else PieceType.CONTROL for role in ROLES}
    typed = "tokenizer.ggml.token_type" in metadata
    names = {
        role: pieces[index]
        for role, index in DEFAULT_IDS[kind].items()
        if index < len(pieces) and (not typed or types[index] in (fitting[role], PieceType.CONTROL))
    }
    for role, key in ROLES.items():
        index = _get(metadata, key, None)
        if index is None:
            continue
        if not 0 <= int(index) < len(pieces):
            raise damaged_tokenizer(_ORIGIN, f"the {role} is number {index}, and there are {len(pieces)} pieces")
        names[role] = pieces[int(index)]
    if kind == "bert" and names.get("bos_token") == names.get("cls_token"):
        names.pop("bos_token", None)  # llama.cpp's name for it
    return names


def _config(metadata: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration that a folder would hold."""
    templates = {
        str(name): metadata[f"tokenizer.chat_template.{name}"]
        for name in metadata.get("tokenizer.chat_templates", ())
        if f"tokenizer.chat_template.{name}" in metadata
    }
    if "tokenizer.chat_template" in metadata:
        templates = {"default": metadata["tokenizer.chat_template"], **templates}
    config: dict[str, Any] = {**names, "clean_up_tokenization_spaces": False}
    if templates:
        config["chat_template"] = [{"name": name, "template": str(text)} for name, text in templates.items()]
    if length := metadata.get(f"{metadata.get('general.architecture')}.context_length"):
        config["model_max_length"] = int(length)
    return config


def _around(
    metadata: Mapping[str, Any], kind: str, pieces: Sequence[str], names: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return the post-processor: BERT's two tokens around a text, or bos and eos where the file or its kind says so."""
    name = str(_get(metadata, "pre", ""))
    begins = kind in ("llama", "bert") or pretokenizers.canonical(name) in pretokenizers.WHOLE_WORDS
    if kind == "bert":
        roles = {"cls_token" if "cls_token" in names else "bos_token": True, "sep_token": True}
    else:
        roles = {"bos_token": _get(metadata, "add_bos_token", begins)}
        roles["eos_token"] = _get(metadata, "add_eos_token", kind == "t5")
    ends = [
        [(names[role], pieces.index(names[role]))] if wanted and role in names else [] for role, wanted in roles.items()
    ]
    return tokenizer_json.template_processing(ends[0], ends[1])


def _added(
    pieces: Sequence[str], types: Sequence[int], names: Mapping[str, str], swallow: bool = False
) -> list[dict[str, Any]]:
    special = {index for index, kind in enumerate(types) if kind in _SPECIAL}
    named = set(names.values())
    plain = {index for index, kind in enumerate(types) if kind == PieceType.USER_DEFINED}  # whatever their role
    special |= {index for index, piece in enumerate(pieces) if piece in named and index not in plain}
    swallowing = {index for index in special if swallow and pieces[index] not in _KEEPS_SPACE}
    return [
        tokenizer_json.added_token(index, pieces[index], special=index in special, rstrip=index in swallowing)
        for index in sorted(special | plain)
    ]


def _byte_level(
    metadata: Mapping[str, Any], pieces: list[str], types: list[int], names: Mapping[str, str]
) -> dict[str, Any]:
    name = str(_get(metadata, "pre", "") or "default")
    main = pretokenizers.canonical(name)
    if main is None:
        raise _unreadable(f"its pre-tokenizer {name!r} is not known; known are {', '.join(pretokenizers.SPLITS)}")
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    return tokenizer_json.tokenizer_table(
        tokenizer_json.bpe_model(
            vocabulary,
            list(_merges(_get(metadata, "merges", ()), vocabulary, types)),
            ignore_merges=main in pretokenizers.WHOLE_WORDS,
        ),
        added=_added(pieces, types, names),
        normalizer={"type": "NFC"} if name in pretokenizers.COMPOSED else None,
        pre_tokenizer=pretokenizers.pre_tokenizer(pretokenizers.SPLITS[main]),
        decoder=tokenizer_json.byte_level(),
    )


def _merges(entries: Sequence[str], vocabulary: Mapping[str, int], types: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Yield pairs of pieces; a pair of two control tokens stands for none (llama.cpp needs at least one merge)."""
    for entry in map(str, entries):
        head, space, right = entry[1:].partition(" ")
        left = entry[:1] + head
        parts = [types[vocabulary[part]] for part in (left, right) if part in vocabulary]
        if parts == [PieceType.CONTROL] * 2:
            continue
        if not space or len(parts) < 2 or left + right not in vocabulary:
            raise damaged_tokenizer(_ORIGIN, f"the merge {entry[:60]!r} is of pieces that are not there")
        yield left, right


def _sentencepiece(
    metadata: Mapping[str, Any], pieces: list[str], types: list[int], names: Mapping[str, str]
) -> dict[str, Any]:
    unigram = _get(metadata, "model", "") == "t5"
    scores = [float(score) for score in _get(metadata, "scores", [0.0] * len(pieces))]
    if "unk_token" not in names:
        raise damaged_tokenizer(_ORIGIN, "there is no token for what is unknown")
    model = PieceModel(
        "unigram" if unigram else "bpe",
        pieces,
        scores,
        types,
        unk_id=pieces.index(names["unk_token"]),
        charsmap=bytes(one % 256 for one in _get(metadata, "precompiled_charsmap", ())),
        add_prefix=bool(_get(metadata, "add_space_prefix", True)),
        trim=bool(_get(metadata, "remove_extra_whitespaces", unigram)),
        byte_fallback=not unigram and set(BYTES) <= set(pieces),
    )
    table = piece_tokenizer(model, _ORIGIN)
    called = str(metadata.get("general.name", "")).lower()
    table["added_tokens"] = _added(pieces, types, names, swallow="phi-3" in called or "phi3" in called)
    return table


def _word_pieces(
    metadata: Mapping[str, Any], pieces: list[str], types: list[int], names: Mapping[str, str]
) -> dict[str, Any]:
    spelled = [_spelled(piece) for piece in pieces]
    lower = _get(metadata, "normalizer.lowercase", None)
    if lower is None:  # older files do not say; capitals in words are those of a cased model
        lower = not any(piece.startswith(SPACE) and piece != piece.lower() for piece in pieces)
    return wordpiece_tokenizer(
        spelled,
        {**BERT_TOKENS, **names},
        lower=bool(lower),
        strip_accents=_get(metadata, "normalizer.strip_accents", None),
        chinese=True,
        origin=_ORIGIN,
    )


def _spelled(piece: str) -> str:
    """Return BERT's spelling of a piece; names in brackets have no mark."""
    if piece.startswith(SPACE):
        return piece.removeprefix(SPACE)
    return piece if piece.startswith("[") and piece.endswith("]") else "##" + piece


_Builder = Callable[[Mapping[str, Any], list[str], list[int], Mapping[str, str]], dict[str, Any]]
_BUILDERS: dict[str, _Builder] = {
    "gpt2": _byte_level,
    "llama": _sentencepiece,
    "t5": _sentencepiece,
    "bert": _word_pieces,
}
