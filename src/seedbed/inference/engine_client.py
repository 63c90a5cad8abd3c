"""A running engine behind a generator's face: each reader blocks its own thread, and all are computed together.

What :class:`~seedbed.inference.generate.Generator` is for one thread, this is beside a server's other requests.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

from torch import Tensor

from seedbed.core.errors import SeedbedError
from seedbed.inference.decoding import Token
from seedbed.inference.engine_thread import EngineThread
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Event, Request


class ThreadedGenerator:
    """Continues prompts on a running engine, for one piece of work; any number of threads may use one.

    Args:
        engine: does the work; whoever made it closes it.
        salt: only requests with the same one share cached prefixes.
        seconds: how long all of it may take.
    """

    def __init__(self, engine: EngineThread, *, salt: str = "", seconds: float | None = None) -> None:
        self._engine, self._salt = engine, salt
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._open: dict[str, SimpleQueue[Event]] = {}
        self._ended: SeedbedError | None = None

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> Iterator[Token]:
        """A reply's tokens as they are decided. What is not read to its end is cancelled.

        Raises:
            UsageError, CapacityError, QueueFull: now, not at the first token. SeedbedError: the work was ended.
        """
        return (event.token for event in self._events(prompt_ids, sampling.seeded(), echo=False) if event.token)

    def prompt_logprobs(self, prompt_ids: Sequence[int]) -> list[float]:
        """Natural log-probabilities of a prompt's tokens but the first; raises as :meth:`stream`."""
        [event] = self._events(prompt_ids, Sampling(max_tokens=1, temperature=0, seed=0), echo=True)
        return [one for one in event.prompt_logprobs or [] if one is not None]

    def embed(self, tokens: Sequence[int]) -> Tensor:
        """The mean (D,) of a text's last hidden states."""
        return self._engine.embed(tokens)

    def end(self, error: SeedbedError) -> None:
        """End all replies with an error, and those that would begin."""
        self._ended = error
        for name, inbox in list(self._open.items()):
            self._engine.cancel(name)
            inbox.put(Event(name, error=error))

    def _events(self, prompt_ids: Sequence[int], sampling: Sampling, echo: bool) -> Iterator[Event]:
        name, inbox = secrets.token_hex(12), SimpleQueue[Event]()
        request = Request(name, tuple(prompt_ids), sampling, self._salt, deadline=self._deadline, echo=echo)
        self._open[name] = inbox
        if self._ended:
            raise self._ended
        self._engine.submit(request, inbox.put)
        return self._read(name, inbox)

    def _read(self, name: str, inbox: SimpleQueue[Event]) -> Iterator[Event]:
        try:
            while True:
                event = inbox.get()
                if event.error:
                    raise event.error
                yield event
                if event.token and event.token.finish:
                    return
        finally:
            self._open.pop(name, None)
            self._engine.cancel(name)
