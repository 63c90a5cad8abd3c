"""Accounting of KV blocks: holders, known contents, and the order of reuse. No tensors.

A full block is known by a SHA-256 chain over its tokens and all before it, so that equal hashes mean equal history
(vLLM's prefix caching). The chain begins with the request's salt and adapter: different salts never share. A block
nobody holds keeps its content until it is needed, least recently used first; the pool itself is thus the byte cap.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence

from seedbed.inference.runner import BLOCK


def chain_start(salt: str, adapter: str | None, long: bool = False) -> bytes:
    """Return the hash before the first block; ``long`` texts may have other keys."""
    return hashlib.sha256(json.dumps([salt, adapter, *["long"] * long]).encode()).digest()


def chain(before: bytes, tokens: Sequence[int]) -> bytes:
    """Return the hash of a full block whose history has the hash ``before``."""
    return hashlib.sha256(before + array("q", tokens).tobytes()).digest()


def blocks_for(positions: int) -> int:
    """Return the number of blocks that hold so many positions."""
    return -(-positions // BLOCK)


class BlockPool:
    """``count`` blocks with reference counts and the cache of published ones."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._holders: Counter[int] = Counter()
        self._untouched = 0  # this block and all after it were never used
        self._blank: deque[int] = deque()  # free without known content
        self._cached: OrderedDict[int, None] = OrderedDict()  # free with known content, least recently used first
        self._hash: dict[int, bytes] = {}
        self._block: dict[bytes, int] = {}

    @property
    def free(self) -> int:
        """Blocks nobody holds."""
        return self.count - self._untouched + len(self._blank) + len(self._cached)

    @property
    def cached(self) -> int:
        """Blocks with published content, held or not."""
        return len(self._hash)

    def match(self, hashes: Sequence[bytes]) -> list[int]:
        """Return the blocks of the longest published beginning of a chain."""
        found = []
        for one in hashes:
            if one not in self._block:
                break
            found.append(self._block[one])
        return found

    def take(self, shared: Sequence[int], fresh: int, spare: int = 0) -> list[int] | None:
        """Hold ``shared`` blocks and ``fresh`` new ones, or nothing unless ``spare`` stay free."""
        if self.free - sum(not self._holders[block] for block in shared) < fresh + spare:
            return None
        for block in shared:
            self._cached.pop(block, None)
        blocks = [*shared, *(self._next() for _ in range(fresh))]
        self._holders.update(blocks)
        return blocks

    def release(self, blocks: Sequence[int]) -> None:
        """Release a sequence's blocks, the last first: the first, which more prompts share, stay longest."""
        for block in reversed(blocks):
            self._holders[block] -= 1
            if self._holders[block]:
                continue
            del self._holders[block]
            if block in self._hash:
                self._cached[block] = None
            else:
                self._blank.appendleft(block)  # so that a sequence's blocks are handed out in the order they had

    def publish(self, block: int, content: bytes) -> None:
        """Publish a full block under its hash; of blocks with one content the first stays published."""
        if content not in self._block and block not in self._hash:
            self._block[content], self._hash[block] = block, content

    def _next(self) -> int:
        if self._blank:
            return self._blank.popleft()
        if self._untouched < self.count:
            self._untouched += 1
            return self._untouched - 1
        block, _ = self._cached.popitem(last=False)
        del self._block[self._hash.pop(block)]
        return block
