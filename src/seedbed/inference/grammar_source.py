"""Grammars in llguidance's own form, and the examination of one, which runs in a capped child.

Forcing is off in all of them. With it the library computes, at every token, all bytes that can only be written one
way; ``((a{1000}){1000}){1000}`` has a thousand million of them, at the beginning of a reply or in its middle, and
neither its limits nor Python can stop it. Without it the work of a token does not grow with what follows. What is left
to explode is compiling: an intersection of twenty patterns asks for gigabytes at once, and an abort of the library ends
its process. So a grammar is compiled for the first time where that hurts nobody.
"""

from __future__ import annotations

import json
import signal
import sys
from functools import cache
from typing import Any, Literal

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from seedbed.core.errors import UsageError
from seedbed.inference.parameters import Grammar

LIMITS = LLParserLimits(precompute_large_lexemes=False, verbose_errors=False)
"""Limits of the work for one grammar, counted, not timed; the library's own numbers."""
SECONDS, FORCED_SECONDS = 2.0, 0.1
"""Processor time to compile a grammar, and to find the beginning that can only be written one way."""
MOST_FORCED = 65_536
"""Bytes of that beginning: no reply is so long."""
_JSON: Any = {"whitespace_pattern": "[ \\n]{0,8}", "coerce_one_of": True}
_NO_FORCING = '\n%llguidance {"no_forcing": true}\n'
_INNER = "form"


def source_of(grammar: Grammar, *, forcing: bool = False) -> str:
    """Return a grammar in llguidance's form. Raises UsageError for what is none of its kind."""
    option = "" if forcing else _NO_FORCING  # at the end: what a caller's own grammar says before does not count
    if grammar.kind == "lark":
        return LLMatcher.grammar_from_lark(grammar.text + option)
    if grammar.kind == "regex":
        written = json.loads(LLMatcher.grammar_from_regex(grammar.text))
        return LLMatcher.grammar_from_lark(written["grammars"][0]["lark_grammar"] + option)
    try:
        value = json.loads(grammar.text)
    except (ValueError, RecursionError) as error:
        raise refused(grammar, str(error)) from error
    if grammar.kind == "json_schema":
        try:
            written = json.loads(LLMatcher.grammar_from_json_schema(grammar.text, overrides=_JSON))
        except (ValueError, RecursionError) as error:
            raise refused(grammar, str(error)) from error
        inner = {**written["grammars"][0], "name": _INNER}
        outer = {"name": "reply", "lark_grammar": f"start: @{_INNER}{option}"}
        return json.dumps({"grammars": [outer, inner]})
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise refused(grammar, "a choice is a list of texts, none of them empty")
    return LLMatcher.grammar_from_lark("start: " + " | ".join(json.dumps(one) for one in value) + option)


def examine(kind: Literal["json_schema", "regex", "lark", "choice"], text: str) -> list[str]:
    """Compile a grammar, for a tokenizer of bytes; for a child that may die of it.

    Returns the library's warnings. Raises UsageError for what is no grammar of its kind, asks for what is not
    supported, or begins with more than a reply can hold.
    """
    grammar = Grammar(kind, text)
    _end_after(SECONDS)
    wrong, messages = LLMatcher.validate_grammar_with_warnings(source_of(grammar), tokenizer_of_bytes(), limits=LIMITS)
    if wrong:
        raise refused(grammar, " ".join(messages[0].split())[:300])
    matcher = LLMatcher(tokenizer_of_bytes(), source_of(grammar, forcing=True), log_level=0, limits=LIMITS)
    _end_after(FORCED_SECONDS)
    forced = len(matcher.compute_ff_bytes())
    _end_after(0)
    if forced > MOST_FORCED:
        raise refused(grammar, f"its first {forced} bytes can only be written one way, {MOST_FORCED} may be")
    return messages


def _end_after(seconds: float) -> None:
    """End this process after so much processor time, in whatever code it is; never with 0."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)


@cache
def tokenizer_of_bytes() -> LLTokenizer:
    """Return the tokenizer of single bytes, for grammars without a model."""
    return LLTokenizer("byte")


def refused(grammar: Grammar, why: str) -> UsageError:
    """Return the refusal of a grammar."""
    return UsageError(f"this {grammar.kind} cannot be used", why=why, fix="correct or simplify the grammar")
