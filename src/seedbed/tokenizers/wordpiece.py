"""BERT's tokenizer: basic cleaning, then the longest pieces first. Source: Devlin et al. 2018, google-research/bert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seedbed.tokenizers import tokenizer_json
from seedbed.tokenizers.sentencepiece_model import damaged_tokenizer

BERT_TOKENS = {  # default names of the special tokens by role
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


def wordpiece_tokenizer(
    pieces: Sequence[str],
    names: Mapping[str, str],  # special tokens by role, such as ``unk_token``
    *,
    lower: bool,
    strip_accents: bool | None,  # None does what ``lower`` does
    chinese: bool,  # every Chinese character is a word
    origin: str,
) -> dict[str, Any]:
    """Build the ``tokenizer.json`` of pieces in the order of their ids.

    Raises CorruptError where a piece is there twice, or a special token is not.
    """
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    if len(vocabulary) < len(pieces):
        twice = next(piece for index, piece in enumerate(pieces) if vocabulary[piece] != index)
        raise damaged_tokenizer(origin, f"the piece {twice!r} is there twice")
    for key in ("unk_token", "cls_token", "sep_token"):
        if names[key] not in vocabulary:
            raise damaged_tokenizer(origin, f"the {key} {names[key]!r} is no piece")
    cls, sep = ((names[key], vocabulary[names[key]]) for key in ("cls_token", "sep_token"))
    special = sorted({vocabulary[name] for name in names.values() if name in vocabulary})
    model = {"type": "WordPiece", "unk_token": names["unk_token"], "vocab": vocabulary}
    cleaned = {"clean_text": True, "handle_chinese_chars": chinese, "strip_accents": strip_accents, "lowercase": lower}
    return tokenizer_json.tokenizer_table(
        model | {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100},
        added=[tokenizer_json.added_token(index, pieces[index], special=True) for index in special],
        normalizer={"type": "BertNormalizer", **cleaned},
        pre_tokenizer={"type": "BertPreTokenizer"},
        post_processor=tokenizer_json.template_processing([cls], [sep]),
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": False},
    )
