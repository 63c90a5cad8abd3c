"""Encoder–decoders at work: one text is read whole, another written token by token from cached states.

Greedy, sampled or by beam search, with the rules that published models come with (generation_config.json, else
config.json): the token that a target starts with, those that end it, a first and a last one that are forced, and those
that never come. As in Hugging Face's ``generate``, rules act on log-probabilities in beam search: a forced token costs
nothing.

Left out: batches of several texts; rules on repeated or shortest texts (``no_repeat_ngram_size``, ``min_length``),
which some published summarizers ask for; grammars.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from seedbed.core.errors import UsageError
from seedbed.inference.beam import search, spread
from seedbed.inference.parameters import Sampling, check_prompt
from seedbed.inference.request import Token
from seedbed.inference.sampler import choose, finish_of, top_logprobs
from seedbed.models.encoder_decoder import EncoderDecoder
from seedbed.models.factory import AnyModel
from seedbed.models.store import Loaded, kind_of
from seedbed.nn.mixer import State
from seedbed.tokenizers.tokenizer import Tokenizer

_ANY_LENGTH = 2**31  # of a source without a table of positions


@dataclass(frozen=True)
class Rules:
    """The rules of a published model for its targets; tokens as ids."""

    start: int  # fed first, and no part of the target
    ends: frozenset[int]  # any of them ends it
    first: int | None = None  # forced in the first place
    last: int | None = None  # forced in the last place there is room for
    never: tuple[int, ...] = ()  # may not come

    def adjust(self, scores: Tensor, written: int, limit: int) -> Tensor:
        """Return scores (…, V) of a target's next token, after ``written`` of at most ``limit``, under these rules."""
        forced = self.last if written == limit - 1 else None
        forced = self.first if forced is None and written == 0 else forced
        if forced is not None:
            return torch.full_like(scores, -torch.inf).index_fill(-1, torch.tensor(forced, device=scores.device), 0.0)
        return scores.index_fill(-1, torch.tensor(self.never, dtype=torch.long, device=scores.device), -torch.inf)


class Seq2Seq:
    """Writes targets for sources with one model, from ``load_any``.

    Raises UsageError for a model that is no encoder–decoder, or whose rules name tokens that it does not have.
    """

    def __init__(self, loaded: Loaded[AnyModel]) -> None:
        if not isinstance(loaded.model, EncoderDecoder):
            what, why = "does not write one text from another", f"it is {kind_of(loaded.model.config)}"
            fix = "choose an encoder–decoder, such as T5, BART or Marian"
            raise UsageError(f"model {loaded.artifact.id[:12]} {what}", why=why, fix=fix)
        self.model, self.tokenizer = loaded.model, loaded.tokenizer
        self.known = min(self.tokenizer.vocab_size, self.model.config.decoder.vocab_size)
        self.rules = rules_of(loaded.published, self.tokenizer, self.known)

    def source(self, text: str) -> list[int]:
        """Return the ids of a source text, with what the tokenizer puts around it."""
        return self.tokenizer.wrap(self.tokenizer.encode(text))

    def stream(self, source: Sequence[int], sampling: Sampling) -> Iterator[Token]:
        """Yield a target's tokens as they are decided (with beams: all at the end).

        Raises as :func:`check_prompt`, and UsageError where a grammar is asked for.
        """
        config = self.model.config
        unlimited = config.encoder.position == "relative"
        check_prompt(source, self.known, _ANY_LENGTH if unlimited else config.encoder.max_length)
        if sampling.grammar is not None:
            what, why = "an encoder–decoder follows no grammar", "grammars are for decoders here"
            raise UsageError(what, why=why, fix="leave it out, or use a decoder")
        limit = min(sampling.max_tokens, config.decoder.max_length)
        if sampling.beams > 1:
            return iter(self._search(source, sampling, limit))
        return self._sample(source, sampling.seeded(), limit)

    def _sample(self, source: Sequence[int], sampling: Sampling, limit: int) -> Iterator[Token]:
        ends: Collection[int] = () if sampling.ignore_end else self.rules.ends
        logits, states = self._begin(source, limit)
        reply: list[int] = []
        while True:
            row = logits[0, : self.known].float()
            token = choose(self.rules.adjust(row, len(reply), limit), [self.rules.start], reply, sampling)
            reply.append(token)
            total = float(row.logsumexp(-1))
            finish = finish_of(token, len(reply), ends, limit)
            yield Token(token, float(row[token]) - total, finish, top_logprobs(row, total, sampling.top_logprobs))
            if finish:
                return
            logits, states = self._advance([token], states)

    def _search(self, source: Sequence[int], sampling: Sampling, limit: int) -> list[Token]:
        logits, narrow = self._begin(source, limit)
        states = spread(narrow, self.model.decoder.new_state(sampling.beams, limit), sampling.beams)
        adjust = partial(self.rules.adjust, limit=limit)
        return search(logits, states, self._advance, self.rules.ends, limit, sampling, self.known, adjust)

    @torch.inference_mode()
    def _begin(self, source: Sequence[int], limit: int) -> tuple[Tensor, list[State]]:
        """Read the source. Returns the logits (1, V) of the first token, and states with room for ``limit``."""
        memory = self.model.encode(torch.tensor([list(source)], device=self._device))
        return self._advance([self.rules.start], self.model.decoder.new_state(1, limit), memory)

    @torch.inference_mode()
    def _advance(
        self, tokens: Sequence[int], states: list[State], memory: Tensor | None = None
    ) -> tuple[Tensor, list[State]]:
        """Feed one token to each of B targets, the first with ``memory``. Returns logits (B, V), and new states."""
        logits, states = self.model.step(torch.tensor(tokens, device=self._device)[:, None], states, memory)
        return logits[:, -1], states

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def rules_of(published: Mapping[str, Any], tokenizer: Tokenizer, known: int) -> Rules:
    """Read the rules of a model as it was published; for one of ours, start and end are the tokenizer's.

    Raises UsageError for rules that name tokens which the model does not have.
    """
    given = {name: value for name, value in published.get("generation", {}).items() if value is not None}
    stated = {**published.get("config", {}), **given}

    def token(*names: str) -> int | None:
        found = next((stated[name] for name in names if stated.get(name) is not None), None)
        return None if found is None else _checked(found, known, names[0])

    start, ends = token("decoder_start_token_id", "bos_token_id"), stated.get("eos_token_id")
    listed = ends if isinstance(ends, list) else [] if ends is None else [ends]
    words = [*(stated.get("suppress_tokens") or ()), *(stated.get("bad_words_ids") or ())]
    single = [word if not isinstance(word, list) else word[0] if len(word) == 1 else None for word in words]
    return Rules(
        tokenizer.bos_id if start is None else start,
        frozenset(_checked(one, known, "eos_token_id") for one in listed) or frozenset([tokenizer.end_id]),
        token("forced_bos_token_id"),
        token("forced_eos_token_id"),
        tuple(word for word in single if isinstance(word, int) and 0 <= word < known),
    )


def _checked(token: object, known: int, name: str) -> int:
    if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < known:
        why = f"the model's tokenizer has ids 0 to {known - 1}"
        fix = "import the model again with the tokenizer that belongs to it"
        raise UsageError(f"{name} is {token!r}", why=why, fix=fix)
    return token
