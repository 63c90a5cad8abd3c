"""The generation engine: requests in, tokens out, one forward a step for all sequences together.

The same request gives the same ids and log-probabilities alone or in any batch, cold or from cached prefixes, with or
without speculation, preempted or not: noise is keyed by (seed, position), and the scheduler composes only work whose
bits do not depend on it. The engine knows token ids, never text, and has no thread: whoever owns it calls ``step``.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch

from seedbed.core.errors import CorruptError, NotFoundError, SeedbedError, UsageError
from seedbed.inference import sampler
from seedbed.inference.grammar import GrammarCompiler
from seedbed.inference.kv_blocks import BlockPool
from seedbed.inference.parameters import Sampling, check_prompt
from seedbed.inference.request import DeadlineError, Event, QueueFull, Request, Token, in_use
from seedbed.inference.runner import BLOCK, LogitRows, Runner, TokenChunk
from seedbed.inference.scheduler import Running, Scheduler
from seedbed.inference.speculation import Speculator

_NONE: Mapping[str, int] = {}


@dataclass(frozen=True)
class EngineLimits:
    """The limits of one engine."""

    max_running: int = 64  # sequences computed at once
    max_waiting: int = 1024  # requests in the queue; an owner alone may have half, and more owners less each
    max_waiting_tokens: int = 2_000_000  # tokens of their prompts, likewise
    step_tokens: int = 512  # positions of one step


@dataclass(frozen=True)
class Stats:
    """State and counters of an engine since it was made; counters are tokens unless said otherwise."""

    running: int
    waiting: int
    waiting_tokens: int
    blocks: int
    free_blocks: int
    cached_blocks: int
    steps: int
    preemptions: int
    prefix_hits: int
    computed: int
    generated: int
    drafted: int
    accepted: int


class Engine:
    """Batches requests over one runner.

    Args:
        runner: computes. end_ids: end a reply.
        grammars: for requests with a grammar; None refuses them.
        speculate: guess tokens ahead by prompt lookup; only an exact runner can.
    """

    def __init__(
        self,
        runner: Runner,
        end_ids: Collection[int],
        *,
        limits: EngineLimits = EngineLimits(),
        grammars: GrammarCompiler | None = None,
        speculate: bool = True,
    ) -> None:
        self.runner, self.limits = runner, limits
        self.end_ids, self._grammars = frozenset(end_ids), grammars
        self._speculator = Speculator() if runner.exact and runner.paged and speculate else None
        self.window = min(runner.max_length, runner.block_count * BLOCK)
        self._arrivals = itertools.count()
        self._steps = self._computed = self._generated = 0
        self._ended, self._gap = 0.0, 1.0
        self._sequences: dict[str, Running] = {}
        self._scheduler = self._new_scheduler()

    @property
    def idle(self) -> bool:
        """Tell whether there is nothing to do."""
        return not self._sequences

    def add(self, request: Request) -> None:
        """Queue a request.

        Raises:
            UsageError: a parameter or the grammar cannot be used, or the prompt is empty or holds an unknown id.
            CapacityError: the prompt is too long. QueueFull: too much is waiting.
        """
        sequence = self.prepare(request)
        self.check_queue(sequence)
        self.enqueue(sequence)

    def prepare(self, request: Request) -> Running:
        """Check a request and compile its grammar; touches nothing shared, so any thread may do it."""
        sampling = request.sampling
        held = "the model's window" if self.window == self.runner.max_length else "the cache"
        check_prompt(request.prompt, self.runner.vocab_size, self.window, held)
        self._check(request)
        limit = min(sampling.max_tokens, self.window - len(request.prompt) + 1)  # the last one needs no position
        ends, matcher = frozenset() if sampling.ignore_end else self.end_ids, None
        if sampling.grammar and self._grammars:
            ends, matcher = self.end_ids | {self._grammars.end_id}, self._grammars.compile(sampling.grammar)
        plain, tokens = _is_plain(sampling), list(request.prompt)
        return Running(request, limit, ends, plain, matcher, next(self._arrivals), tokens)

    def check_queue(
        self, sequence: Running, arriving: Mapping[str, int] = _NONE, arriving_tokens: Mapping[str, int] = _NONE
    ) -> None:
        """Raise QueueFull where a sequence would take more of the queue than its owner's share.

        An owner may have as many places as are left free by all: alone half of them, and so there is always room for
        another (Choudhury and Hahne 1998, dynamic thresholds of shared memory). ``arriving``: what is counted besides.
        """
        waiting, limits = self._scheduler.waiting, self.limits
        owner, added = sequence.request.owner, (1, sequence.prompt_length)
        found = zip(
            waiting, (arriving, arriving_tokens), (limits.max_waiting, limits.max_waiting_tokens), added, strict=True
        )
        for held, coming, most, more in found:
            own, all_ = held[owner] + coming.get(owner, 0), held.total() + sum(coming.values())
            if own + more > most - all_:
                why = f"{waiting[0][owner]} of your requests are waiting with {waiting[1][owner]} tokens"
                full = QueueFull("your share of the queue is full", why=why, fix="try again later")
                full.retry_after = min(60, max(1, math.ceil(self._gap)))
                raise full

    def enqueue(self, sequence: Running) -> None:
        """Queue a sequence that :meth:`prepare` made. Raises UsageError for an id that is in use."""
        if sequence.request.id in self._sequences:
            raise in_use(sequence.request.id)
        self._sequences[sequence.request.id] = sequence
        self._scheduler.add(sequence)

    def abort(self, request_id: str) -> None:
        """Forget a request, wherever it is; no event follows. Unknown ids are ignored: it may just have ended."""
        if sequence := self._sequences.pop(request_id, None):
            self._scheduler.remove(sequence)

    def step(self) -> list[Event]:
        """Compute one step, and return its events."""
        events = list(self._expired())
        self._scheduler.make_room()
        if self._speculator:
            self._speculator.propose([one for one in self._scheduler.running if one.decoding])
        work = self._scheduler.plan()
        if work:
            self._steps += 1
            rows = self.runner.forward([chunk for _, chunk in work])
            best = rows.logits.gather(1, torch.tensor(rows.best, device=rows.logits.device)[:, None])[:, 0].tolist()
            place = 0
            for sequence, chunk in work:
                events += self._advance(sequence, chunk, rows, best, place)
                place += chunk.wanted
        return events

    def fail(self) -> list[str]:
        """Drop everything, cached blocks too, after a step that raised. Returns the ids of what was dropped."""
        dropped = list(self._sequences)
        for sequence in self._scheduler.running:
            self._release(sequence.slot)
        self._sequences.clear()
        self._scheduler = self._new_scheduler()
        return dropped

    def stats(self) -> Stats:
        """Return a snapshot; any thread may call this."""
        scheduler, pool, guesses = self._scheduler, self._scheduler.pool, self._speculator
        return Stats(
            running=len(scheduler.running),
            waiting=scheduler.waiting[0].total(),
            waiting_tokens=scheduler.waiting[1].total(),
            blocks=pool.count,
            free_blocks=pool.free,
            cached_blocks=pool.cached,
            steps=self._steps,
            preemptions=scheduler.preemptions,
            prefix_hits=scheduler.prefix_hits,
            computed=self._computed,
            generated=self._generated,
            drafted=guesses.drafted if guesses else 0,
            accepted=guesses.accepted if guesses else 0,
        )

    def _new_scheduler(self) -> Scheduler:
        rows = self.runner.max_rows
        running = min(self.limits.max_running, max(1, rows - BLOCK))
        rows = min(rows, max(self.limits.step_tokens, running + BLOCK))  # prompts always have room to go on
        return Scheduler(self.runner, BlockPool(self.runner.block_count), running, rows, self._release)

    def _check(self, request: Request) -> None:
        sampling, known = request.sampling, self.runner.vocab_size
        if request.adapter is not None and request.adapter not in self.runner.adapters:
            why = f"the model has {', '.join(self.runner.adapters) or 'none'}"
            raise NotFoundError(f"there is no adapter {request.adapter}", why=why, fix="name one of the model's")
        if sampling.beams > 1:
            what, why = "the engine cannot search with beams", "it draws tokens one by one"
            raise UsageError(what, why=why, fix="set beams = 1")
        if sampling.grammar and not self._grammars:
            what, why = "this engine takes no grammars", "it was made without a tokenizer"
            raise UsageError(what, why=why, fix="leave out the grammar")
        if wrong := [token for token, _ in sampling.logit_bias if not 0 <= token < known]:
            why = f"the model knows ids 0 to {known - 1}"
            raise UsageError(f"logit_bias names token {wrong[0]}", why=why, fix="use ids of its tokenizer")

    def _release(self, slot: int) -> None:
        self.runner.release(slot)
        if self._speculator:
            self._speculator.release(slot)

    def _expired(self) -> Iterator[Event]:
        now = time.monotonic()
        for sequence in list(self._sequences.values()):
            if sequence.request.deadline is not None and now > sequence.request.deadline:
                late = DeadlineError("the request took too long", why="its deadline passed", fix="ask for less")
                yield self._failed(sequence, late)

    def _failed(self, sequence: Running, error: SeedbedError) -> Event:
        self.abort(sequence.request.id)
        return Event(sequence.request.id, error=error)

    def _advance(
        self, sequence: Running, chunk: TokenChunk, rows: LogitRows, best: list[float], first: int
    ) -> Iterator[Event]:
        """Take a computed chunk into its sequence, and yield events; its rows of logits begin at ``first``."""
        self._computed += len(chunk.tokens)
        sequence.computed = min(chunk.start + len(chunk.tokens), len(sequence.tokens))
        if sequence.echoing:
            _echo(sequence, chunk, rows, first)
        if sequence.computed == len(sequence.tokens):
            try:
                yield from self._sample(sequence, rows, best, first + chunk.wanted - 1 - len(sequence.proposal))
            except SeedbedError as error:
                yield self._failed(sequence, error)
                return
        if sequence.slot >= 0:
            self._scheduler.publish(sequence)

    def _sample(self, sequence: Running, rows: LogitRows, best: list[float], first: int) -> Iterator[Event]:
        """Yield tokens from row ``first`` on, as long as the sampled token equals the proposed one."""
        proposal, sequence.proposal = sequence.proposal, []
        accepted = 0
        while True:
            token = self._token(sequence, rows, best, first + accepted)
            echoed, sequence.echoed = sequence.echoed, None
            top = sequence.echoed_top if echoed and sequence.request.sampling.top_logprobs else None
            yield Event(sequence.request.id, token, None, echoed, top)
            if token.finish:
                self.abort(sequence.request.id)
                now = time.monotonic()
                self._ended, self._gap = now, 0.9 * self._gap + 0.1 * min(60, now - (self._ended or now))
                return
            if accepted == len(proposal) or token.id != proposal[accepted]:
                break
            accepted += 1
            sequence.computed += 1
        if proposal and self._speculator:
            self._speculator.learn(sequence, len(proposal), accepted)

    def _token(self, sequence: Running, rows: LogitRows, best: list[float], row: int) -> Token:
        """Choose the next token from a row of logits, and append it."""
        sampling, prompt = sequence.request.sampling, sequence.request.prompt
        top: tuple[tuple[int, float], ...] = ()
        if not math.isfinite(rows.logsumexp[row]):
            why = "a weight is not a number, or a product overflowed"
            raise CorruptError("the model's scores are not numbers", why=why, fix="train or quantize it anew")
        if sequence.plain:
            chosen, logit = rows.best[row], best[row]
        else:
            logits = rows.logits[row]
            allowed = sequence.matcher.allowed() if sequence.matcher else None
            chosen = sampler.choose(logits, prompt, sequence.tokens[len(prompt) :], sampling, allowed)
            logit = float(logits[chosen])
            if sampling.top_logprobs:
                top = sampler.top_logprobs(logits, rows.logsumexp[row], sampling.top_logprobs)
        finish = sampler.finish_of(chosen, sequence.written + 1, sequence.ends, sequence.limit)
        if sequence.matcher and not finish:
            sequence.matcher.consume(chosen)
        sequence.tokens.append(chosen)
        self._generated += 1
        return Token(chosen, logit - rows.logsumexp[row], finish, top)


def _is_plain(sampling: Sampling) -> bool:
    """Tell whether the model's best token is taken and nothing else of the logits is needed."""
    changed = sampling.repetition_penalty != 1 or sampling.frequency_penalty or sampling.presence_penalty
    return sampling.greedy and not (changed or sampling.logit_bias or sampling.grammar or sampling.top_logprobs)


def _echo(sequence: Running, chunk: TokenChunk, rows: LogitRows, first: int) -> None:
    """Collect the log-probabilities of the prompt's tokens that follow a chunk's positions."""
    following = sequence.tokens[chunk.start + 1 : chunk.start + 1 + len(chunk.tokens)]
    sequence.echoed = sequence.echoed or [None]
    for row, token in enumerate(following, first):
        sequence.echoed.append(float(rows.logits[row, token]) - rows.logsumexp[row])
        if count := sequence.request.sampling.top_logprobs:
            sequence.echoed_top.append(sampler.top_logprobs(rows.logits[row], rows.logsumexp[row], count))
