"""Replies that follow a grammar: at every step llguidance gives the tokens that may come next; the rest is masked.

JSON may hold at most eight spaces or line breaks in a row: a model that is unsure of itself would write them forever.
The grammar ends with the tokenizer's end token, allowed as soon as the text is complete and forced when nothing else
may follow. A grammar is examined in a capped child (``grammar_source``) before it is compiled here; verdicts are kept.
References: https://github.com/guidance-ai/llguidance; Willard & Louf 2023.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from functools import cache, cached_property, lru_cache

import numpy as np
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from seedbed.core import sandbox
from seedbed.core.errors import UsageError
from seedbed.inference.grammar_source import LIMITS, refused, source_of, tokenizer_of_bytes
from seedbed.inference.parameters import Grammar
from seedbed.tokenizers.tokenizer import Tokenizer

BUDGET = sandbox.Budget(seconds=10.0, memory_bytes=128_000_000, output_bytes=1_000_000)
"""Of examining one grammar, the start of its child included, beyond the library itself."""
_CHILDREN = 2  # one that works on a bad grammar does not keep the next one waiting
_KEPT = 256  # verdicts
_AS_ANY_OF, _UNKNOWN, _FORMAT = "oneOf not fully supported", "Unimplemented keys: ", "Unknown format: "


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
        inner = _matcher(self._vocabulary, grammar)
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


def _matcher(vocabulary: LLTokenizer, grammar: Grammar) -> LLMatcher:
    _examined(grammar)
    inner = LLMatcher(vocabulary, source_of(grammar), log_level=0, limits=LIMITS)
    if inner.is_error():
        raise refused(grammar, inner.get_error())
    return inner


def _examined(grammar: Grammar) -> tuple[str, ...]:
    """Return the library's warnings of a grammar. Raises UsageError for one that cannot be used."""
    try:
        verdict = _verdict(grammar)
    except sandbox.OutOfBudget as error:
        if error.cause in ("raised", "depth"):
            raise refused(grammar, error.why) from error
        why = "compiling it, or finding how it must begin, takes more time or memory than a grammar may"
        raise refused(grammar, why) from error
    if isinstance(verdict, UsageError):
        raise refused(grammar, verdict.why)
    return verdict


@lru_cache(maxsize=_KEPT)  # clients send the same grammar with every request
def _verdict(grammar: Grammar) -> tuple[str, ...] | UsageError:
    """Return the warnings of a grammar or its refusal. Raises OutOfBudget, which is not kept: the machine was slow."""
    try:
        return tuple(_examiners().ask({"kind": grammar.kind, "text": grammar.text}))
    except UsageError as error:
        return error


@cache
def _examiners() -> sandbox.KeptChildren:
    return sandbox.KeptChildren("seedbed.inference.grammar_source:examine", BUDGET, _CHILDREN)


def check_schema(text: str) -> tuple[str, ...]:
    """Return the keywords of a JSON schema, which asks for lenience, that a grammar does not keep.

    Raises UsageError for what is no JSON schema.
    """
    messages = _examined(Grammar("json_schema", text))
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
    try:
        _examined(Grammar("regex", text))
    except UsageError:
        return False
    return True


def _stuck(why: str) -> UsageError:
    return UsageError("the reply cannot continue under its grammar", why=why, fix="simplify the grammar")


def follow(grammar: Grammar, text: str) -> tuple[int, bool]:
    """Return how many characters of a text follow a grammar, and whether the whole text is complete under it.

    Raises UsageError for what is no grammar of its kind.
    """
    matcher = _matcher(tokenizer_of_bytes(), grammar)
    data = text.encode(errors="replace")
    agreed = matcher.validate_tokens(list(data))
    complete = agreed == len(data) and matcher.consume_tokens(list(data)) and matcher.is_accepting()
    return len(data[:agreed].decode(errors="ignore")), bool(complete)
