"""Replies that follow a grammar: at every step llguidance gives the tokens that may come next; the rest is masked.

JSON may hold at most eight spaces or line breaks in a row: a model that is unsure of itself would write them forever.
The grammar ends with the tokenizer's end token, allowed as soon as the text is complete and forced when nothing else
may follow. References: https://github.com/guidance-ai/llguidance; Willard & Louf 2023.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

from seedbed.core.errors import UsageError
from seedbed.inference.parameters import Grammar
from seedbed.tokenizers.tokenizer import Tokenizer

_JSON: Any = {"whitespace_pattern": "[ \\n]{0,8}", "coerce_one_of": True}
LIMITS = LLParserLimits(precompute_large_lexemes=False, verbose_errors=False)
"""Limits of the work for one grammar, counted, not timed; the library's own numbers."""
_AS_ANY_OF, _UNKNOWN, _FORMAT = "oneOf not fully supported", "Unimplemented keys: ", "Unknown format: "
_MOST_FORCED = 65_536  # each step looks through all of them, and a grammar as short as a{1000000} has a million


class Matcher:
    """One reply's position in its grammar."""

    def __init__(self, inner: LLMatcher, vocab_size: int) -> None:
        self._inner, self._vocab_size = inner, vocab_size

    def allowed(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return (V,) booleans: the tokens that may come next.

        Raises UsageError where the grammar grew too complex for the library's limits, or leaves no token.
        """
        bits = np.frombuffer(self._inner.compute_bitmask(), np.uint8)
        self._check()
        found = np.unpackbits(bits, bitorder="little").astype(np.bool_)
        if not found.any():
            raise _stuck("no token of the vocabulary continues it")
        return found

    def consume(self, token: int) -> None:
        """Advance by an allowed token."""
        self._inner.consume_token(token)
        self._check()

    def agrees(self, tokens: Sequence[int]) -> int:
        """Return how many of these tokens, from the first on, may come next."""
        known = itertools.takewhile(lambda token: token < self._vocab_size, tokens)  # a model may have padding rows
        return self._inner.validate_tokens(list(known))

    def _check(self) -> None:
        if self._inner.is_error():
            raise _stuck(self._inner.get_error())


class GrammarCompiler:
    """Compiles grammars for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.end_id, self._tokenizer = tokenizer.end_id, tokenizer

    def compile(self, grammar: Grammar) -> Matcher:
        """Return a matcher at the beginning of a grammar.

        Raises UsageError for what is no grammar of its kind, or asks for what is not supported.
        """
        inner = LLMatcher(self._vocabulary, _source(grammar), log_level=0, limits=LIMITS)
        if inner.is_error():
            raise _refused(grammar, inner.get_error())
        if (forced := len(inner.compute_ff_bytes())) > _MOST_FORCED:
            raise _refused(grammar, f"its first {forced} bytes can only be written one way, {_MOST_FORCED} may be")
        return Matcher(inner, self._vocabulary.vocab_size)

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        return LLTokenizer(TokenizerWrapper(_Vocabulary(self._tokenizer)))


class _Vocabulary:
    """The tokenizer in llguidance's interface."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.eos_token_id = tokenizer.end_id
        self.special_token_ids = sorted(tokenizer.special_ids)
        self.tokens = [_spelling(tokenizer, token) for token in range(tokenizer.vocab_size)]
        self._encode = tokenizer.encode

    def __call__(self, text: str) -> list[int]:
        return self._encode(text)


def _spelling(tokenizer: Tokenizer, token: int) -> bytes:
    """Return a token's bytes, which for a special token are its name; b"" for a hole in the numbering."""
    try:
        special = token in tokenizer.special_ids
        return tokenizer.decode([token], keep_special=True).encode() if special else tokenizer.token_bytes(token)
    except UsageError:
        return b""


def _source(grammar: Grammar) -> str:
    """Return the grammar in llguidance's own form."""
    if grammar.kind == "regex":
        return LLMatcher.grammar_from_regex(grammar.text)
    if grammar.kind == "lark":
        return LLMatcher.grammar_from_lark(grammar.text)
    try:
        value = json.loads(grammar.text)
    except (ValueError, RecursionError) as error:
        raise _refused(grammar, str(error)) from error
    if grammar.kind == "json_schema":
        try:
            return LLMatcher.grammar_from_json_schema(grammar.text, overrides=_JSON)
        except ValueError as error:
            raise _refused(grammar, str(error)) from error
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise _refused(grammar, "a choice is a list of texts, none of them empty")
    return LLMatcher.grammar_from_lark("start: " + " | ".join(json.dumps(one) for one in value))


def check_schema(text: str) -> tuple[str, ...]:
    """Return the keywords of a JSON schema, which asks for lenience, that a grammar does not keep.

    Raises UsageError for what is no JSON schema.
    """
    source = _source(Grammar("json_schema", text))
    wrong, messages = LLMatcher.validate_grammar_with_warnings(source, _bytes(), limits=LIMITS)
    if wrong:
        raise _refused(Grammar("json_schema", text), " ".join(messages[0].split())[:300])
    return tuple(dict.fromkeys(keyword for message in messages for keyword in _keywords(message)))


def _keywords(warning: str) -> list[str]:
    """Return the keywords that a warning of llguidance names."""
    if warning.startswith(_AS_ANY_OF):
        return []
    if warning.startswith(_UNKNOWN):
        found: list[str] = json.loads(warning.removeprefix(_UNKNOWN))
        return found
    if warning.startswith(_FORMAT):
        return [f"format {warning.removeprefix(_FORMAT)}"]
    return ["minProperties or maxProperties" if warning.startswith("min/maxProperties") else warning[:100]]


def is_regex(text: str) -> bool:
    """Tell whether a grammar can keep a regular expression."""
    wrong, _ = LLMatcher.validate_grammar_with_warnings(LLMatcher.grammar_from_regex(text), _bytes(), limits=LIMITS)
    return not wrong


@cache
def _bytes() -> LLTokenizer:
    """Return the tokenizer of single bytes, for grammars without a model."""
    return LLTokenizer("byte")


def _refused(grammar: Grammar, why: str) -> UsageError:
    return UsageError(f"this {grammar.kind} cannot be used", why=why, fix="correct or simplify the grammar")


def _stuck(why: str) -> UsageError:
    return UsageError("the reply cannot continue under its grammar", why=why, fix="simplify the grammar")


def follow(grammar: Grammar, text: str) -> tuple[int, bool]:
    """Return how many characters of a text follow a grammar, and whether the whole text is complete under it.

    Raises UsageError for what is no grammar of its kind.
    """
    matcher = LLMatcher(_bytes(), _source(grammar), log_level=0, limits=LIMITS)
    if matcher.is_error():
        raise _refused(grammar, matcher.get_error())
    data = text.encode(errors="replace")
    agreed = matcher.validate_tokens(list(data))
    complete = agreed == len(data) and matcher.consume_tokens(list(data)) and matcher.is_accepting()
    return len(data[:agreed].decode(errors="ignore")), bool(complete)
