r"""Pre-tokenizers of byte-level BPE vocabularies, by the names in GGUF files (``tokenizer.ggml.pre``).

The expressions are those of the published ``tokenizer.json`` files; llama.cpp writes some of them in another way as its
engine has no ``(?i:``. Only names whose ids were compared with llama.cpp's are here. "default" is llama.cpp's
for files without a name, which are old and mostly Falcon's or MPT's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seedbed.tokenizers.tokenizer_json import byte_level, split, steps_of

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ENGLISH = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = _ENGLISH + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST
_QWEN2 = _ENGLISH + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST
_QWEN35 = _ENGLISH + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]*[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]+{_ENGLISH}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]+[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]*{_ENGLISH}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CHINESE = r"[一-龥぀-ゟ゠-ヿ]+"
_DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PUNCTUATION = r"[\p{P}\$\+<=>\^~\|]+"

SPLITS: dict[str, tuple[str, ...]] = {
    "gpt-2": (_GPT2,),
    "starcoder": (r"\p{N}", _GPT2),
    "llama-bpe": (_LLAMA3,),
    "dbrx": (_LLAMA3,),
    "qwen2": (_QWEN2,),
    "qwen35": (_QWEN35,),
    "bloom": (_BLOOM,),
    "tekken": (_TEKKEN,),
    "gpt-4o": (_GPT4O,),
    "deepseek-v3": (r"\p{N}{1,3}", _CHINESE, _DEEPSEEK3),
    "falcon": (r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, r"[0-9][0-9][0-9]"),
    "default": (_PUNCTUATION, _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"),
}
"""Expressions applied one after another, each to what the one before left or found."""

SAME = {  # other names for the same expressions
    "gpt-2": ("phi-2", "mpt", "olmo", "jais", "roberta-bpe", "jina-v2-code", "modern-bert", "exaone4"),
    "starcoder": ("refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"),
    "llama-bpe": ("llama3", "llama-v3", "falcon3", "pixtral", "lfm2"),
    "dbrx": ("smaug-bpe", "glm4", "chatglm-bpe"),
    "qwen2": ("deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez"),
    "gpt-4o": ("llama4",),
    "bloom": ("poro-chat", "gpt3-finnish"),
}

WHOLE_WORDS = {"llama-bpe", "tekken"}
"""Names whose words that are pieces are never built by merges (``ignore_merges``)."""

COMPOSED = {"qwen2", "deepseek-r1-qwen"}  # published with Unicode's normal form C, which llama.cpp leaves out


def canonical(name: str) -> str | None:
    """Return the name under which :data:`SPLITS` has it; None for an unknown one."""
    if name in SPLITS:
        return name
    return next((main for main, others in SAME.items() if name in others), None)


def pre_tokenizer(splits: Sequence[str]) -> dict[str, Any]:
    """Return the ``pre_tokenizer`` entry of a ``tokenizer.json``."""
    if splits == (_GPT2,):
        return byte_level()
    built_in = splits[-1] == _GPT2
    steps = [
        {"type": "Digits", "individual_digits": True} if one == r"\p{N}" else split({"Regex": one})
        for one in (splits[:-1] if built_in else splits)
    ]
    return {"type": "Sequence", "pretokenizers": [*steps, byte_level(use_regex=built_in)]}


def name_of(splits: Sequence[str], *, whole_words: bool) -> str | None:
    """Return the name of these expressions, or None where llama.cpp has none that cuts as they do."""
    fitting = [name for name, known in SPLITS.items() if known == splits]
    return next((name for name in fitting if (name in WHOLE_WORDS) == whole_words), None)


def splits_of(table: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the expressions of a byte-level pre-tokenizer; None where it does anything else."""
    found: list[str] = []
    bytes_seen = False
    for step in steps_of(table, "pre_tokenizer"):
        kind = step["type"]
        if kind == "ByteLevel" and not step["add_prefix_space"] and not bytes_seen:
            bytes_seen = True
            found += [_GPT2] if step.get("use_regex", True) else []
        elif kind == "Digits" and step["individual_digits"]:
            found.append(r"\p{N}")
        elif kind == "Split" and not step["invert"] and step["behavior"] in ("Isolated", "Removed"):
            pattern = step["pattern"].get("Regex")
            if pattern is None or bytes_seen:
                return None
            found.append(pattern)
        else:
            return None
    return tuple(found) if bytes_seen else None
