"""Prompts in, a stream of token ids out, in the caller's own thread: the engine's in-process face.

``stream(prompt_ids, sampling)`` yields tokens, the last of which says why it is the last. Streams that are read in
turns are computed together. Ids alone: text, and with it stop strings, live one level up in ``text.py``.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from typing import Protocol

from torch import Tensor

from seedbed.inference.beam import beam_search
from seedbed.inference.decoding import Token
from seedbed.inference.engine import Engine
from seedbed.inference.grammar import GrammarCompiler
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Event, Request, check_prompt
from seedbed.inference.runner import Runner
from seedbed.inference.runners.torch import TorchRunner
from seedbed.models.decoder import Decoder


class TokenSource(Protocol):
    """What continues prompts: a generator, or a running engine behind the same face (``threaded.py``)."""

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> Iterator[Token]:
        """A reply's tokens as they are decided."""

    def prompt_logprobs(self, prompt_ids: Sequence[int]) -> list[float]:
        """Natural log-probabilities of a prompt's tokens but the first."""

    def embed(self, tokens: Sequence[int]) -> Tensor:
        """The mean (D,) of a text's last hidden states."""


class Generator:
    """Continues prompts with one model.

    Args:
        model: a decoder in evaluation mode.
        end_ids: ids that end a reply.
        runner: computes; by default the model's own modules.
        grammars: for requests with a grammar.
        known: ids that may be drawn; all rows of the model's embedding unless given.
    """

    def __init__(
        self,
        model: Decoder,
        end_ids: Collection[int] = (),
        *,
        runner: Runner | None = None,
        grammars: GrammarCompiler | None = None,
        known: int | None = None,
    ) -> None:
        self.model = model
        self._known = known or model.config.vocab_size
        self.end_ids = frozenset(end_ids)
        self._runner, self._grammars = runner, grammars
        self._ids = map(str, itertools.count())
        self._inboxes: dict[str, deque[Event]] = {}

    @cached_property
    def engine(self) -> Engine:
        """Made when the first reply is sampled: beams keep caches of their own."""
        return Engine(self._runner or TorchRunner(self.model, known=self._known), self.end_ids, grammars=self._grammars)

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> Iterator[Token]:
        """Yield the reply's tokens as they are decided (with beams: all at the end).

        Raises:
            UsageError: the prompt is empty, or holds an id that the model does not know.
            CapacityError: the prompt is longer than the model's window.
        """
        if sampling.beams > 1:
            return iter(self._search(list(prompt_ids), sampling))
        request = Request(next(self._ids), tuple(prompt_ids), sampling.seeded())
        self.engine.prepare(request)  # refuse now, not at the first token
        return (event.token for event in self._events(request) if event.token)

    def prompt_logprobs(self, prompt_ids: Sequence[int]) -> list[float]:
        """Natural log-probabilities of a prompt's tokens but the first, each given those before it.

        Raises:
            UsageError, CapacityError: as for :meth:`stream`.
        """
        request = Request(next(self._ids), tuple(prompt_ids), Sampling(max_tokens=1, temperature=0, seed=0), echo=True)
        [event] = self._events(request)
        return [one for one in event.prompt_logprobs or [] if one is not None]

    def embed(self, tokens: Sequence[int]) -> Tensor:
        """The mean (D,) of a text's last hidden states.

        Raises:
            UsageError, CapacityError: the text cannot be read by the model.
        """
        runner = self.engine.runner
        check_prompt(tokens, runner.vocab_size, runner.max_length)
        return runner.hidden(tokens).mean(0)

    def _events(self, request: Request) -> Iterator[Event]:
        inbox = self._inboxes[request.id] = deque()
        self.engine.add(request)
        try:
            while True:
                while not inbox:
                    for event in self.engine.step():
                        self._inboxes[event.request_id].append(event)
                event = inbox.popleft()
                if event.token is None:
                    raise event.error or RuntimeError("an event without content")
                yield event
                if event.token.finish:
                    return
        finally:
            self.engine.abort(request.id)
            del self._inboxes[request.id]

    def _search(self, prompt: list[int], sampling: Sampling) -> list[Token]:
        window = self.model.config.max_length
        check_prompt(prompt, self._known, window)
        limit = min(sampling.max_tokens, window - len(prompt) + 1)
        beams, penalty = sampling.beams, sampling.length_penalty
        return beam_search(self.model, prompt, self.end_ids, limit, beams, penalty, known=self._known)
