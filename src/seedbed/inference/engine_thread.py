"""One owner thread over an engine: others hand in requests and get events; only the owner touches the model."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial

from torch import Tensor

from seedbed.core.errors import SeedbedError
from seedbed.inference.engine import Engine, Stats
from seedbed.inference.request import Event, Request, check_prompt, in_use

Deliver = Callable[[Event], None]


class EngineThread:
    """Runs an engine until :meth:`close`. All methods may be called from any thread, deliveries' included."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changed = threading.Condition()  # guards what follows, and the engine's queue while the owner fills it
        self._inbox: deque[Callable[[], None]] = deque()
        self._jobs: deque[tuple[Future[Tensor], Sequence[int]]] = deque()
        self._routes: dict[str, Deliver] = {}
        self._arriving, self._arriving_tokens = 0, 0
        self._open, self._running = True, True
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request, deliver: Deliver) -> None:
        """Queue a request; ``deliver`` gets its events, in the owner thread, until a last token or an error.

        The checks, and compiling a grammar, happen here and now.

        Raises:
            UsageError, CapacityError: it cannot be honoured. QueueFull: too much is waiting.
            SeedbedError: the engine is shutting down.
        """
        sequence = self._engine.prepare(request)
        with self._changed:
            self._require_open()
            if request.id in self._routes:
                raise in_use(request.id)
            self._engine.check_queue(self._arriving + 1, self._arriving_tokens + sequence.prompt_length)
            self._routes[request.id] = deliver
            self._arriving, self._arriving_tokens = self._arriving + 1, self._arriving_tokens + sequence.prompt_length
            self._post(partial(self._engine.enqueue, sequence))

    def cancel(self, request_id: str) -> None:
        """End a request without further events. Its id is free again when the owner has seen this."""
        with self._changed:
            if request_id in self._routes:
                self._routes[request_id] = _ignore
                self._post(partial(self._forget, request_id))

    def embed(self, tokens: Sequence[int]) -> Tensor:
        """The mean (D,) of a text's last hidden states; waits for it.

        Raises:
            UsageError, CapacityError: the text cannot be read by the model.
        """
        check_prompt(tokens, self._engine.runner.vocab_size, self._engine.runner.max_length)
        future: Future[Tensor] = Future()
        with self._changed:
            self._require_open()
            self._jobs.append((future, tokens))
            self._changed.notify_all()
        return future.result()

    def stats(self) -> Stats:
        """A snapshot."""
        return self._engine.stats()

    def drain(self, seconds: float) -> bool:
        """Take nothing new and wait for what is running. Returns whether all of it ended in time."""
        with self._changed:
            self._open = False
            return self._changed.wait_for(lambda: not self._routes and not self._jobs, seconds)

    def close(self) -> None:
        """Stop the thread; what is still running ends with an error."""
        with self._changed:
            self._open = self._running = False
            self._changed.notify_all()
        self._thread.join()

    def _require_open(self) -> None:
        if not self._open:
            raise _stopped()

    def _post(self, command: Callable[[], None]) -> None:
        self._inbox.append(command)
        self._changed.notify_all()

    def _run(self) -> None:
        while self._receive():
            for event in self._step():
                self._send(event)
            self._work()
        for request_id in list(self._routes):
            self._send(Event(request_id, error=_stopped()))
        for future, _ in self._jobs:
            future.set_exception(_stopped())

    def _receive(self) -> bool:
        """Wait for something to do and take in what was posted. Returns whether to go on."""
        with self._changed:
            self._changed.wait_for(lambda: self._inbox or self._jobs or not self._running or not self._engine.idle)
            while self._inbox:
                self._inbox.popleft()()
            self._arriving = self._arriving_tokens = 0
            return self._running

    def _step(self) -> list[Event]:
        try:
            return self._engine.step()
        except Exception as error:
            logging.getLogger(__name__).exception("a step of the engine failed")
            broken = SeedbedError("the engine failed", why=repr(error), fix="try again; the log has the details")
            return [Event(request_id, error=broken) for request_id in self._engine.fail()]

    def _send(self, event: Event) -> None:
        try:
            self._routes.get(event.request_id, _ignore)(event)
        except Exception:
            logging.getLogger(__name__).exception("a reader of request %s failed", event.request_id)
            self.cancel(event.request_id)
        if event.error or (event.token and event.token.finish):
            self._forget(event.request_id)

    def _forget(self, request_id: str) -> None:
        with self._changed:
            self._engine.abort(request_id)
            self._routes.pop(request_id, None)
            self._changed.notify_all()

    def _work(self) -> None:
        """Embed one text, so that replies go on in between."""
        if not self._jobs:
            return
        future, tokens = self._jobs[0]
        try:
            future.set_result(self._engine.runner.hidden(tokens).mean(0))
        except Exception as error:
            future.set_exception(error)
        with self._changed:
            self._jobs.popleft()
            self._changed.notify_all()


def _ignore(event: Event) -> None:
    """For a request whose reader has left."""


def _stopped() -> SeedbedError:
    return SeedbedError("the engine is shutting down", why="the server was told to stop", fix="try again later")
