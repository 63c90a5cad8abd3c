"""The typed, range-checked parameters of one generation request and its prompt, checked at the edge and not again.

Each field carries its own documentation and range, from which the command line builds its options and this file its
checks, so the two cannot drift apart. Imports nothing heavy: ``--help`` reads it.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from seedbed.core.config import setting
from seedbed.core.errors import CapacityError, UsageError

_SEEDS = 2**63 - 1
_BIASES = 300
GRAMMAR_LENGTH = 65_536
"""The most characters of a grammar."""
_WITH_BEAMS = ("max_tokens", "stop", "seed", "beams", "length_penalty")  # settings that beam search has too


@dataclass(frozen=True)
class Grammar:
    """The form of a reply: a JSON schema, a regular expression, a Lark grammar, or a JSON list of texts.

    Raises UsageError for one that is too long.
    """

    kind: Literal["json_schema", "regex", "lark", "choice"]
    text: str

    def __post_init__(self) -> None:
        if len(self.text) > GRAMMAR_LENGTH:
            why = f"it has {len(self.text)} characters, {GRAMMAR_LENGTH} are allowed"
            raise UsageError(f"the {self.kind} is too long", why=why, fix="simplify it")


def _program(doc: str, at_least: float | None = None, at_most: float | None = None) -> dict[str, Any]:
    """Return the metadata of a setting that only programs set: the command line makes no option of it."""
    return {"doc": doc, "unit": "", "at_least": at_least, "at_most": at_most, "flag": False}


@dataclass(frozen=True)
class Sampling:
    """The settings of sampling. Temperature 0 is greedy; ``beams`` above 1 is beam search, which draws nothing.

    Raises UsageError for a value out of range, and for beams combined with a setting that only sampling knows.
    """

    max_tokens: int = setting(256, "Generate at most this many tokens.", at_least=1, at_most=10_000_000)
    temperature: float = setting(
        0.8, "Divide the logits by this before drawing; 0 takes the best.", at_least=0, at_most=5
    )
    top_k: int = setting(0, "Draw among the k most probable tokens; 0 for all.", at_least=0)
    top_p: float = setting(1.0, "Draw among the fewest tokens that hold this probability.", at_least=0, at_most=1)
    min_p: float = setting(0.0, "Drop tokens below this share of the best one's probability.", at_least=0, at_most=1)
    repetition_penalty: float = setting(
        1.0, "Divide the scores of tokens seen in prompt or reply; 1 for none.", at_least=0.01, at_most=10
    )
    frequency_penalty: float = setting(
        0.0, "Lower a token's logit per earlier use in the reply.", at_least=-2, at_most=2
    )
    presence_penalty: float = setting(0.0, "Lower a token's logit once it is in the reply.", at_least=-2, at_most=2)
    stop: tuple[str, ...] = setting((), "End before this text; may be given several times.")
    seed: int | None = setting(None, "Draw the same tokens every time.", at_least=0, at_most=_SEEDS)
    beams: int = setting(1, "Search this many continuations at once for the most probable.", at_least=1, at_most=64)
    length_penalty: float = setting(
        1.0, "Beam scores are divided by length to this power; above 1 favours longer.", at_least=-5, at_most=5
    )
    logit_bias: tuple[tuple[int, float], ...] = field(
        default=(), metadata=_program("Pairs of a token id and what is added to its logit.")
    )
    top_logprobs: int = field(default=0, metadata=_program("Report this many most probable tokens.", 0, 20))
    ignore_end: bool = field(default=False, metadata=_program("Go on past the end token; for benchmarks."))
    grammar: Grammar | None = field(default=None, metadata=_program("What the reply must look like."))

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            check_range(one.name, getattr(self, one.name), one.metadata["at_least"], one.metadata["at_most"])
        if any(not text for text in self.stop):
            raise UsageError("stop cannot be an empty text", why="every reply holds it", fix="leave it out")
        if self.beams > 1:
            self._check_beams()
        if self.grammar is not None and self.ignore_end:
            raise UsageError("a grammar needs the end token", why="it ends the reply", fix="leave out ignore_end")
        if len(self.logit_bias) > _BIASES:
            why = f"{len(self.logit_bias)} are given, {_BIASES} are allowed"
            raise UsageError("logit_bias has too many entries", why=why, fix="leave some out")
        for token, bias in self.logit_bias:
            check_range(f"logit_bias of token {token}", bias, -100, 100)

    @property
    def greedy(self) -> bool:
        """Tell whether the best token is taken at every step."""
        return self.temperature == 0

    def seeded(self) -> Sampling:
        """Return the same request with its seed fixed, chosen at random where there was none."""
        return self if self.seed is not None else dataclasses.replace(self, seed=secrets.randbelow(2**31))

    def _check_beams(self) -> None:
        """Refuse settings that change the distribution: beam search maximizes the model's own probability."""
        for one in dataclasses.fields(self):
            value, neutral = getattr(self, one.name), 0 if one.name == "temperature" else one.default
            if one.name not in _WITH_BEAMS and value != neutral:
                what = f"beams = {self.beams} cannot be combined with {one.name} = {value}"
                why = "beam search looks for the most probable text and draws nothing"
                raise UsageError(what, why=why, fix=f"set {one.name} = {neutral}, or beams = 1")


def check_range(name: str, value: object, low: float | None, high: float | None = None) -> None:
    """Raises UsageError for a number outside of its range."""
    if not isinstance(value, (int, float)):
        return
    if math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high):
        return
    limits = " and ".join(f"{word} {one}" for word, one in (("at least", low), ("at most", high)) if one is not None)
    raise UsageError(f"{name} = {value} is out of range", why=f"{name} must be {limits}", fix=f"give {limits}")


def check_prompt(prompt: Sequence[int], vocab_size: int, max_length: int, held: str = "the model's window") -> None:
    """Refuse a prompt that a model cannot continue; ``held`` is what holds ``max_length`` positions.

    Raises UsageError for one that is empty or holds an unknown id, CapacityError for one that is longer.
    """
    if not prompt:
        raise UsageError("the prompt is empty", why="a model continues at least one token", fix="give some text")
    if min(prompt) < 0 or max(prompt) >= vocab_size:
        wrong = next(token for token in prompt if not 0 <= token < vocab_size)
        why = f"the model knows ids 0 to {vocab_size - 1}; the prompt was made with another tokenizer"
        fix = "encode the prompt with the model's own tokenizer"
        raise UsageError(f"token id {wrong} is not in the model's vocabulary", why=why, fix=fix)
    if len(prompt) > max_length:
        why, fix = f"{held} holds {max_length} positions", "shorten the prompt, or use a model with a longer window"
        raise CapacityError(f"the prompt has {len(prompt)} tokens, {max_length} are allowed", why=why, fix=fix)
