"""Continuous batching: plan which positions of which sequences are computed next, without a tensor.

Every step, sequences that only wait for their newest token go first, one row each (and a few more under speculation);
what is left of the step's budget prefills prompts in chunks on the absolute grid, a block of each owner in turn, and
then admits from the queue: the owner with the fewest running sequences first, then its salt with the fewest, and within
a salt first come, first served. So no owner can starve another, whatever salts it chooses. Where slots or blocks are
lacking for an owner that has less, the youngest sequence of the owner that has most is preempted: it gives back
everything and waits at the head of its queue to be computed again. Whoever heads the queue is not passed, and an
admission never makes the largest holder larger, so everything ends.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Set
from dataclasses import dataclass, field

from seedbed.inference.grammar import Matcher
from seedbed.inference.kv_blocks import BlockPool, blocks_for, chain, chain_start
from seedbed.inference.request import Request
from seedbed.inference.runner import BLOCK, Runner, TokenChunk

BESIDE = 128  # positions of prompts in a step that also writes replies: their readers wait for the whole step
BESIDE_OTHERS = 32  # of one owner's prompts, where replies of others are written
FEW = 8  # replies that an owner may write in a step beside fewer of all others


@dataclass(eq=False)
class Running:
    """A request in progress: its tokens, the positions computed, the blocks it holds."""

    request: Request
    limit: int  # tokens its reply may have
    ends: frozenset[int]  # ids that end it
    plain: bool  # its tokens are the best ones and nothing else is wanted of the logits
    matcher: Matcher | None
    arrival: int
    tokens: list[int]  # prompt and reply
    computed: int = 0  # positions whose keys and values are in the blocks
    blocks: list[int] = field(default_factory=list)
    long: bool = False  # they are those of a sequence beyond the runner's ``switch_length``
    slot: int = -1  # names it to the runner while it runs; -1 while it waits
    proposal: list[int] = field(default_factory=list)  # guesses at the next tokens, computed along with the newest one
    hashes: list[bytes] = field(default_factory=list)  # the chain over its full blocks, as far as it was needed
    turn: int = 0  # in which its newest token was last computed
    published: int = 0  # how many of its blocks others may find
    echoed: list[float | None] | None = None  # the prompt's own log-probabilities collected so far
    echoed_top: list[tuple[tuple[int, float], ...]] = field(default_factory=list)

    @property
    def prompt_length(self) -> int:
        """Tokens of the prompt."""
        return len(self.request.prompt)

    @property
    def written(self) -> int:
        """Tokens of the reply so far."""
        return len(self.tokens) - self.prompt_length

    @property
    def decoding(self) -> bool:
        """Tell whether only the newest token is not computed yet."""
        return self.computed == len(self.tokens) - 1

    @property
    def echoing(self) -> bool:
        """Tell whether the prompt's own log-probabilities are still to be collected."""
        return self.request.echo and not self.written


@dataclass
class _Room:
    """Positions of prompts that a step has room for: ``left`` in all, ``beside`` an owner's where others write."""

    left: int
    beside: int
    writers: Set[str]
    taken: Counter[str] = field(default_factory=Counter)

    def of(self, owner: str) -> int:
        """Return an owner's."""
        return min(self.left, self.beside - self.taken[owner]) if self.writers - {owner} else self.left

    def take(self, owner: str, count: int) -> int:
        """Take so many of an owner's, and return them."""
        self.taken[owner] += count
        self.left -= count
        return count


class Scheduler:
    """The queue, the running sequences and their blocks.

    At most ``max_running`` sequences are computed at once, ``step_tokens`` rows a step; ``release`` is told each slot
    that a sequence leaves.
    """

    def __init__(
        self, runner: Runner, pool: BlockPool, max_running: int, step_tokens: int, release: Callable[[int], None]
    ) -> None:
        self.pool, self.exact, self.paged = pool, runner.exact, runner.paged
        self.step_tokens, self._release, self.switch_length = step_tokens, release, runner.switch_length
        self.running: list[Running] = []
        self.preemptions = self.prefix_hits = 0
        self.waiting = (Counter[str](), Counter[str]())  # requests and their prompts' tokens, by owner
        self._waiting: dict[tuple[str, str], deque[Running]] = {}  # by owner and salt
        self._served: dict[str, int] = {}  # the turn in which an owner's prompts were last computed
        self._turns = itertools.count()
        self._slots = list(range(max_running))

    def add(self, sequence: Running) -> None:
        """Queue a new sequence."""
        sequence.long = self._is_long(sequence)
        self._queue(sequence).append(sequence)

    def remove(self, sequence: Running) -> None:
        """Remove a sequence, running or waiting."""
        if sequence.slot >= 0:
            self._vacate(sequence)
        else:
            self._dequeue(sequence)

    def make_room(self) -> None:
        """Give every running sequence a block for its newest token; preempt the youngest where none is free.

        One that has grown beyond the runner's ``switch_length`` gives all its blocks back, to be computed anew.
        """
        for sequence in list(self.running):
            if self._is_long(sequence) and not sequence.long:
                self._requeue(sequence)
                sequence.long, sequence.hashes = True, []
        for sequence in list(self.running):
            while sequence.slot >= 0 and len(sequence.blocks) < blocks_for(len(sequence.tokens)):
                if not self._grow(sequence):
                    self._preempt(self._youngest_of(self._blocks_held().most_common(1)[0][0]))

    def plan(self) -> list[tuple[Running, TokenChunk]]:
        """Return the chunks of the next step; call after :meth:`make_room` and the proposals."""
        self._admit_newcomers()
        ready = self._writing()
        work = [(one, self._decode(one)) for one in ready]
        budget = self.step_tokens - sum(len(chunk.tokens) for _, chunk in work)
        budget = min(budget, BESIDE) if ready else budget
        room = _Room(budget, BESIDE_OTHERS if self.exact else BLOCK, {one.request.owner for one in ready})
        for sequence, allowed in self._shares(room).items():
            work += [(sequence, chunk) for chunk in self._prefill(sequence, allowed)]
        full = set[str]()
        while room.left and (owner := self._next_owner(full)) is not None:
            if not room.of(owner):
                full.add(owner)
            elif newcomer := self._admit(owner):
                chunks = list(self._prefill(newcomer, room.of(owner)))
                room.take(owner, sum(len(chunk.tokens) for chunk in chunks))
                work += [(newcomer, chunk) for chunk in chunks]
            else:
                break
        return work

    def _admit_newcomers(self) -> None:
        """Admit a sequence of each owner that has none whose prompt is being computed: others' may be long."""
        busy = {one.request.owner for one in self.running if not one.decoding}
        while (owner := self._next_owner(busy)) is not None and self._admit(owner, may_preempt=True):
            busy.add(owner)

    def _writing(self) -> list[Running]:
        """Return the sequences that write in this step: of an owner as many as of all others together, or a few.

        All wait for a step, which takes longer the more it computes; an owner's own take turns.
        """
        ready = [one for one in self.running if one.decoding]
        counts = Counter(one.request.owner for one in ready)
        alone = {one.request.owner for one in self.running} <= counts.keys() and len(counts) == 1
        found = []
        for owner, count in counts.items():
            own = [one for one in ready if one.request.owner == owner]
            if not alone and count > (most := max(FEW, len(ready) - count)):
                own.sort(key=lambda one: one.turn)
                for one in own[most:]:
                    one.proposal = []
                del own[most:]
            found += own
        for one in found:
            one.turn = next(self._turns)
        return found

    def _shares(self, room: _Room) -> dict[Running, int]:
        """Return the tokens of each prompt that are computed in this step: blocks, of each owner in turn."""
        left: dict[str, deque[Running]] = {}
        for one in self.running:
            if not one.decoding:
                left.setdefault(one.request.owner, deque()).append(one)
        self._served = {owner: turn for owner, turn in self._served.items() if owner in left}
        found: dict[Running, int] = {}
        while left and room.left:
            owner = min(left, key=lambda one: (self._served.get(one, -1), left[one][0].arrival))
            self._served[owner] = next(self._turns)
            sequence = left[owner][0]
            wanted = len(sequence.tokens) - sequence.computed - found.get(sequence, 0)
            share = room.take(owner, min(wanted, BLOCK, room.of(owner)))
            found[sequence] = found.get(sequence, 0) + share
            if share == wanted:
                left[owner].popleft()
            if not left[owner] or not room.of(owner):
                del left[owner]
        return found

    def publish(self, sequence: Running) -> None:
        """Publish the full blocks that other sequences may share."""
        for index in range(sequence.published, min(sequence.computed // BLOCK, self._shareable(sequence))):
            self.pool.publish(sequence.blocks[index], self._hashes(sequence, index + 1)[index])
            sequence.published = index + 1

    def _decode(self, sequence: Running) -> TokenChunk:
        """Return the chunk of the newest token and its proposals, as far as blocks are free."""
        proposed = len(sequence.tokens) + len(sequence.proposal)
        while len(sequence.blocks) < blocks_for(proposed) and self._grow(sequence):
            pass
        room = len(sequence.blocks) * BLOCK
        if self.switch_length is not None and not sequence.long:
            room = min(room, self.switch_length)
        del sequence.proposal[max(0, room - len(sequence.tokens)) :]
        tokens = [*sequence.tokens[sequence.computed :], *sequence.proposal]
        return self._chunk(sequence, sequence.computed, tokens)

    def _prefill(self, sequence: Running, budget: int) -> Iterator[TokenChunk]:
        """Yield chunks of at most ``budget`` tokens together."""
        start, known = sequence.computed, len(sequence.tokens)
        if sequence.echoing:
            budget = min(budget, BLOCK)  # every row's logits are kept
        while start < known and (end := self._end(sequence, start, budget)) - start <= budget:
            yield self._chunk(sequence, start, sequence.tokens[start:end])
            budget -= end - start
            start = end

    def _end(self, sequence: Running, start: int, budget: int) -> int:
        """Return the end of the chunk that begins at ``start``."""
        if self.exact:
            return min(start + max(budget, 1), len(sequence.tokens))
        if start >= sequence.prompt_length:
            return start + 1  # as it was computed the first time
        return min(start - start % BLOCK + BLOCK, sequence.prompt_length)

    def _chunk(self, sequence: Running, start: int, tokens: list[int]) -> TokenChunk:
        last = start + len(tokens) >= len(sequence.tokens)
        wanted = len(tokens) if sequence.echoing or sequence.proposal else int(last)
        adapter, long = sequence.request.adapter, sequence.long
        return TokenChunk(tokens, start, sequence.blocks, wanted, sequence.slot, adapter, long)

    def _next_owner(self, without: Collection[str] = ()) -> str | None:
        """Return the waiting owner that has the fewest running sequences, and of those the one that came first."""
        busy = self._slots_held()
        heads: dict[str, int] = {}
        for (owner, _), queue in self._waiting.items():
            heads[owner] = min(heads.get(owner, queue[0].arrival), queue[0].arrival)
        return min(heads.keys() - set(without), key=lambda owner: (busy[owner], heads[owner]), default=None)

    def _admit(self, owner: str | None, *, may_preempt: bool = False) -> Running | None:
        """Start an owner's next sequence, if it fits with one spare block for each running one, or can be made to."""
        if owner is None:
            return None
        busy = Counter(one.request.salt for one in self.running if one.request.owner == owner)
        queues = [queue for (one, _), queue in self._waiting.items() if one == owner]
        sequence = min(queues, key=lambda queue: (busy[queue[0].request.salt], queue[0].arrival))[0]
        if not self._slots and not (
            may_preempt and self._give_way(owner, Counter(one.request.owner for one in self.running), 1)
        ):
            return None
        shared: list[int] = []
        if not sequence.echoing:  # at least one token is computed, for its logits
            most = min((len(sequence.tokens) - 1) // BLOCK, self._shareable(sequence))
            shared = self.pool.match(self._hashes(sequence, most))
        wanted = blocks_for(len(sequence.tokens))
        while (blocks := self.pool.take(shared, wanted - len(shared), spare=len(self.running))) is None:
            if not (may_preempt and self._give_way(owner, self._blocks_held(), wanted)):
                return None
            shared = self.pool.match(self._hashes(sequence, len(shared)))
        self._dequeue(sequence)
        sequence.blocks, sequence.slot = blocks, heapq.heappop(self._slots)
        sequence.published, sequence.computed = len(shared), len(shared) * BLOCK
        self.prefix_hits += sequence.computed
        self.running.append(sequence)
        return sequence

    def _give_way(self, owner: str, held: Counter[str], wanted: int) -> bool:
        """Preempt the youngest sequence of the owner that holds most, if it would still hold no less than this one."""
        [(most, count)] = held.most_common(1) or [(owner, 0)]
        victim = self._youngest_of(most) if most != owner else None
        given = (len(victim.blocks) if victim and wanted > 1 else 1) if victim else 0
        if victim is None or count - given < held[owner] + wanted:
            return False
        self._preempt(victim)
        return True

    def _slots_held(self) -> Counter[str]:
        return Counter(one.request.owner for one in self.running)

    def _blocks_held(self) -> Counter[str]:
        held = Counter[str]()
        for one in self.running:
            held[one.request.owner] += len(one.blocks)
        return held

    def _youngest_of(self, owner: str) -> Running:
        return next(one for one in reversed(self.running) if one.request.owner == owner)

    def _grow(self, sequence: Running) -> bool:
        more = self.pool.take((), 1)
        sequence.blocks += more or ()
        return more is not None

    def _preempt(self, sequence: Running) -> None:
        self._requeue(sequence)
        self.preemptions += 1

    def _requeue(self, sequence: Running) -> None:
        self._vacate(sequence)
        self._queue(sequence).appendleft(sequence)

    def _is_long(self, sequence: Running) -> bool:
        return self.switch_length is not None and len(sequence.tokens) > self.switch_length

    def _vacate(self, sequence: Running) -> None:
        self.publish(sequence)
        self.pool.release(sequence.blocks)
        self.running.remove(sequence)
        self._release(sequence.slot)
        heapq.heappush(self._slots, sequence.slot)
        sequence.blocks, sequence.slot, sequence.computed = [], -1, 0
        sequence.proposal, sequence.echoed, sequence.echoed_top = [], None, []

    def _queue(self, sequence: Running) -> deque[Running]:
        """Count a sequence as waiting, and return the queue of its owner and salt. Other threads read the counts."""
        request = sequence.request
        self.waiting[0][request.owner] += 1
        self.waiting[1][request.owner] += sequence.prompt_length
        return self._waiting.setdefault((request.owner, request.salt), deque())

    def _dequeue(self, sequence: Running) -> None:
        request = sequence.request
        queue = self._waiting[request.owner, request.salt]
        queue.remove(sequence)
        if not queue:
            del self._waiting[request.owner, request.salt]
        for counts, less in zip(self.waiting, (1, sequence.prompt_length), strict=True):
            counts[request.owner] -= less
            if not counts[request.owner]:
                del counts[request.owner]

    def _shareable(self, sequence: Running) -> int:
        """Return how many first blocks may be shared: those of a reply only if the runner is exact."""
        if not self.paged:
            return 0
        return (len(sequence.tokens) if self.exact else sequence.prompt_length) // BLOCK

    def _hashes(self, sequence: Running, count: int) -> list[bytes]:
        """Return the chain over the first ``count`` blocks."""
        known = sequence.hashes
        for index in range(len(known), count):
            before = known[-1] if known else chain_start(sequence.request.salt, sequence.request.adapter, sequence.long)
            known.append(chain(before, sequence.tokens[index * BLOCK : (index + 1) * BLOCK]))
        return known[:count]
