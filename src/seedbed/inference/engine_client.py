"""The client of the engine: prompts in, streams of token ids, scores and vectors out.

The engine runs in the reader's own thread, or in an owner thread beside a server's other requests; the client is the
same. Streams that are read in turns are computed together. Ids alone: text stands one level up, in ``chat/``.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import chain
from queue import SimpleQueue

from torch import Tensor

from seedbed.core.errors import SeedbedError, UsageError
from seedbed.inference.beam import beam_search
from seedbed.inference.engine import Engine, Stats
from seedbed.inference.grammar import GrammarCompiler
from seedbed.inference.parameters import Sampling, check_prompt
from seedbed.inference.published_sampling import PublishedSampling, published_sampling
from seedbed.inference.request import Event, Request, Token, in_use
from seedbed.inference.runners.making import known_ids, make_runner
from seedbed.inference.runners.torch import TorchRunner
from seedbed.models.decoder import Decoder
from seedbed.models.store import LoadedModel
from seedbed.tokenizers.tokenizer import Tokenizer

Deliver = Callable[[Event], None]


def make_client(loaded: LoadedModel, *, fast: bool = True) -> EngineClient:
    """Build an engine for a model and its client, for one thread. Keep it: it remembers what prompts begin with.

    A ``fast`` one is on the kernel where there is one, which is built on first use and copies float weights into its
    own order; the other uses the model's own modules, for a model that is still changing.
    """
    runner = make_runner(loaded) if fast else TorchRunner(loaded.model, known=known_ids(loaded))
    engine = Engine(runner, ends_of(loaded), grammars=GrammarCompiler(loaded.tokenizer))
    return EngineClient(engine, decoder=loaded.model)


def ends_of(loaded: LoadedModel) -> frozenset[int]:
    """Return the ids that end a reply of a model: its tokenizer's, and those that its publishers name besides."""
    return end_ids(loaded.tokenizer) | frozenset(sampling_of_publishers(loaded).ends)


def sampling_of_publishers(loaded: LoadedModel) -> PublishedSampling:
    """Return the sampling that a model was published with; nothing is stated for one that was made here."""
    return published_sampling(loaded.published, loaded.tokenizer.vocab_size)


def end_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Return the ids that end a reply: all special tokens of documents and turns, but not the unknown word."""
    return (tokenizer.special_ids - {tokenizer.unk_id}) | {tokenizer.end_id}


class EngineClient:
    """Asks one engine for replies, scores and vectors.

    Args:
        engine: an owner thread, which any number of threads may then ask; or an engine alone, which the readers step
            themselves, all in one thread. Its maker closes it.
        salt: only requests with the same salt share cached prefixes.
        owner: whose share of the engine is used.
        seconds: limit for all that is asked, from now on.
        decoder: the engine's model, for beam search, which keeps caches of its own; None refuses beams.
        adapter: name of the LoRA adapter that replies are written with.
    """

    def __init__(
        self,
        engine: EngineThread | Engine,
        *,
        salt: str = "",
        owner: str = "",
        seconds: float | None = None,
        decoder: Decoder | None = None,
        adapter: str | None = None,
    ) -> None:
        self._engine = SteppedEngine(engine) if isinstance(engine, Engine) else engine
        self._salt, self._owner, self._decoder, self._adapter = salt, owner, decoder, adapter
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._open: dict[str, Deliver] = {}
        self._ended: SeedbedError | None = None

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> Iterator[Token]:
        """Yield a reply's tokens as they are decided (with beams: all at the end). An unread rest is cancelled.

        Raises as :meth:`submit`, now and not at the first token; later SeedbedError where the work was ended.
        """
        if sampling.beams > 1 and self._decoder is not None:
            return iter(self._search(self._decoder, prompt_ids, sampling))
        return (event.token for event in self._events(prompt_ids, sampling.seeded()) if event.token)

    def prompt_logprobs(self, prompt_ids: Sequence[int]) -> list[float]:
        """Return natural log-probabilities of a prompt's tokens but the first; raises as :meth:`stream`."""
        greedy = Sampling(max_tokens=1, temperature=0, seed=0)
        [event] = self._events(prompt_ids, greedy, echo=True)
        return [one for one in event.prompt_logprobs or [] if one is not None]

    def embed(self, tokens: Sequence[int]) -> Tensor:
        """Return the mean (D,) of a text's last hidden states.

        Raises UsageError or CapacityError where the model cannot read the text, or works with an adapter.
        """
        if self._adapter:
            why = f"{self._adapter} is an adapter, and vectors are made without it"
            raise UsageError("an adapter makes no vectors", why=why, fix="name its base model")
        return self._engine.embed(tokens, self._owner)

    def submit(self, prompt_ids: Sequence[int], sampling: Sampling, deliver: Deliver, *, echo: bool = False) -> str:
        """Ask for a reply. Returns the id of the request; ``deliver`` gets its events, in the engine's thread.

        Raises as :meth:`Engine.add`, and SeedbedError where the work was ended.
        """
        name = secrets.token_hex(12)
        self._open[name] = deliver
        try:
            if self._ended:
                raise self._ended
            request = Request(
                name,
                tuple(prompt_ids),
                sampling,
                salt=self._salt,
                owner=self._owner,
                adapter=self._adapter,
                deadline=self._deadline,
                echo=echo,
            )
            self._engine.submit(request, deliver)
            if self._ended:  # meanwhile, in another thread
                raise self._ended
        except SeedbedError:
            self.cancel(name)
            raise
        return name

    def cancel(self, request_id: str) -> None:
        """End a request without further events; one that has ended is ignored."""
        if self._open.pop(request_id, None):
            self._engine.cancel(request_id)

    def end(self, error: SeedbedError) -> None:
        """End all requests with an error, and those that would begin."""
        self._ended = error
        for name, deliver in list(self._open.items()):
            self.cancel(name)
            deliver(Event(name, error=error))

    def _events(self, prompt_ids: Sequence[int], sampling: Sampling, echo: bool = False) -> Iterator[Event]:
        inbox = SimpleQueue[Event]()
        events = self._read(inbox, self.submit(prompt_ids, sampling, inbox.put, echo=echo))
        next(events)  # a generator that has begun runs its end when it is closed or forgotten, read or not
        return events

    def _read(self, inbox: SimpleQueue[Event], name: str) -> Iterator[Event]:
        """Yield an event of no meaning, then those of a request. One that is not read to its end is cancelled."""
        try:
            event = Event(name)
            yield event
            while not (event.token and event.token.finish):
                event = self._engine.receive(inbox)
                if event.error:
                    raise event.error
                yield event
        finally:
            self.cancel(name)

    def _search(self, model: Decoder, prompt: Sequence[int], sampling: Sampling) -> list[Token]:
        engine, window = self._engine.engine, model.config.max_length
        check_prompt(prompt, engine.runner.vocab_size, window)
        limit = min(sampling.max_tokens, window - len(prompt) + 1)
        switch = model.config.switch_length
        if switch is not None and len(prompt) <= switch < len(prompt) + limit - 1:
            what, why = "beams cannot cross the length at which rotary factors change", f"LongRoPE does so at {switch}"
            raise UsageError(
                what, why=why, fix=f"ask for at most {switch - len(prompt) + 1} tokens, or leave out beams"
            )
        return beam_search(model, prompt, engine.end_ids, limit, sampling, engine.runner.vocab_size)


class SteppedEngine:
    """An engine in its readers' own thread: whoever waits for an event steps it, for all of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._routes: dict[str, Deliver] = {}

    def submit(self, request: Request, deliver: Deliver) -> None:
        """Queue a request; raises as :meth:`Engine.add`."""
        self.engine.add(request)
        self._routes[request.id] = deliver

    def cancel(self, request_id: str) -> None:
        """Forget a request."""
        self._routes.pop(request_id, None)
        self.engine.abort(request_id)

    def receive(self, inbox: SimpleQueue[Event]) -> Event:
        """Step until an inbox has an event."""
        while inbox.empty():
            for event in self.engine.step():
                if deliver := self._routes.get(event.request_id):
                    deliver(event)
        return inbox.get()

    def embed(self, tokens: Sequence[int], owner: str = "") -> Tensor:
        """Return the mean (D,) of a text's last hidden states. Raises as :meth:`EngineClient.embed`."""
        return _mean_hidden(self.engine, tokens)


class EngineThread:
    """Runs an engine in an owner thread until :meth:`close`. Any thread may call its methods, deliveries' too.

    Only the owner touches the model; others hand in requests and get events.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._changed = threading.Condition()  # guards what follows, and the engine's queue while the owner fills it
        self._inbox: deque[Callable[[], None]] = deque()
        self._jobs: dict[str, deque[tuple[Future[Tensor], Sequence[int]]]] = {}  # by owner, the next one first
        self._routes: dict[str, Deliver] = {}
        self._arriving = Counter[str]()  # requests, by owner
        self._arriving_tokens = Counter[str]()
        self._running = True
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request, deliver: Deliver) -> None:
        """Queue a request; ``deliver`` gets its events, in the owner thread, until a last token or an error.

        The checks, and compiling a grammar, happen here and now; raises as :meth:`EngineClient.submit`.
        """
        sequence = self.engine.prepare(request)
        with self._changed:
            self._require_open()
            if request.id in self._routes:
                raise in_use(request.id)
            self.engine.check_queue(sequence, self._arriving, self._arriving_tokens)
            self._routes[request.id] = deliver
            self._arriving[request.owner] += 1
            self._arriving_tokens[request.owner] += sequence.prompt_length
            self._post(partial(self.engine.enqueue, sequence))

    def cancel(self, request_id: str) -> None:
        """End a request without further events. Its id is free again when the owner has seen this."""
        with self._changed:
            if request_id in self._routes:
                self._routes[request_id] = _ignore
                self._post(partial(self._forget, request_id))

    def receive(self, inbox: SimpleQueue[Event]) -> Event:
        """Wait for the next event of an inbox, which the owner thread fills."""
        return inbox.get()

    def embed(self, tokens: Sequence[int], owner: str = "") -> Tensor:
        """Return the mean (D,) of a text's last hidden states; waits for it. Raises as :meth:`EngineClient.embed`.

        Owners take turns.
        """
        check_prompt(tokens, self.engine.runner.vocab_size, self.engine.runner.max_length)
        future: Future[Tensor] = Future()
        with self._changed:
            self._require_open()
            self._jobs.setdefault(owner, deque()).append((future, tokens))
            self._changed.notify_all()
        return future.result()

    def stats(self) -> Stats:
        """Return the engine's state and counters."""
        return self.engine.stats()

    def close(self) -> None:
        """Stop the thread; what is still running ends with an error."""
        with self._changed:
            self._running = False
            self._changed.notify_all()
        self._thread.join()

    def _require_open(self) -> None:
        if not self._running:
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
        for future, _ in chain.from_iterable(self._jobs.values()):
            future.set_exception(_stopped())

    def _receive(self) -> bool:
        """Wait for something to do and take in what was posted. Returns whether to go on."""
        with self._changed:
            self._changed.wait_for(lambda: self._inbox or self._jobs or not self._running or not self.engine.idle)
            while self._inbox:
                self._inbox.popleft()()
            self._arriving.clear()
            self._arriving_tokens.clear()
            return self._running

    def _step(self) -> list[Event]:
        try:
            return self.engine.step()
        except Exception as error:
            logging.getLogger(__name__).exception("a step of the engine failed")
            broken = SeedbedError("the engine failed", why=repr(error), fix="try again; the log has the details")
            return [Event(request_id, error=broken) for request_id in self.engine.fail()]

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
            self.engine.abort(request_id)
            self._routes.pop(request_id, None)

    def _work(self) -> None:
        """Embed one text at a time, so that replies go on in between, and of each owner in turn."""
        with self._changed:
            if not self._jobs:
                return
            owner, jobs = next(iter(self._jobs.items()))
            del self._jobs[owner]
            future, tokens = jobs.popleft()
            if jobs:
                self._jobs[owner] = jobs  # behind the others
        try:
            future.set_result(_mean_hidden(self.engine, tokens))
        except Exception as error:
            future.set_exception(error)


def _ignore(event: Event) -> None:
    """Drop an event: the reader of its request has left."""


def _stopped() -> SeedbedError:
    return SeedbedError("the engine is shutting down", why="the server was told to stop", fix="try again later")


def _mean_hidden(engine: Engine, tokens: Sequence[int]) -> Tensor:
    check_prompt(tokens, engine.runner.vocab_size, engine.runner.max_length)
    return engine.runner.hidden(tokens).mean(0)
