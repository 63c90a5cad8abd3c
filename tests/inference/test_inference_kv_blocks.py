"""The block pool against a plain model of what it should hold, and against hashes written out by hand."""

from __future__ import annotations

import hashlib
import json
import struct

from hypothesis import given
from hypothesis import strategies as st

from seedbed.inference.kv_blocks import BlockPool, blocks_for, chain, chain_start


def test_the_chain_is_sha256_over_everything_before() -> None:
    start = hashlib.sha256(json.dumps(["salt", None]).encode()).digest()
    first = hashlib.sha256(start + struct.pack("<3q", 1, 2, 3)).digest()
    assert chain(chain_start("salt", None), [1, 2, 3]) == first
    assert chain(first, [4]) == hashlib.sha256(first + struct.pack("<q", 4)).digest()


def test_salt_and_adapter_cannot_be_confused() -> None:
    starts = [chain_start(salt, adapter) for salt in ("", "a", "ab", "null") for adapter in (None, "", "a", "b")]
    assert len(set(starts)) == len(starts)


def test_blocks_cover_positions() -> None:
    assert [blocks_for(count) for count in (0, 1, 64, 65, 128)] == [0, 1, 1, 2, 2]


def test_blocks_with_content_are_used_last_and_the_tail_of_a_text_before_its_beginning() -> None:
    pool = BlockPool(4)
    held = pool.take([], 3)
    assert held == [0, 1, 2]
    for block, name in zip(held, (b"a", b"b", b"c"), strict=True):
        pool.publish(block, name)
    pool.release(held)
    assert pool.take([], 1) == [3]  # the blank one first
    assert pool.take([], 1) == [2]
    assert pool.match([b"a", b"b", b"c"]) == [0, 1]
    assert pool.match([b"c"]) == []


def test_a_chain_with_a_gap_is_known_up_to_the_gap() -> None:
    """What follows a block that is gone has keys and values of a history that is not there."""
    pool = BlockPool(4)
    held = pool.take([], 4)
    assert held is not None
    for block, name in zip(held, (b"a", b"b", b"c", b"d"), strict=True):
        pool.publish(block, name)
    pool.release([held[1]])
    assert pool.match([b"a", b"b", b"c", b"d"]) == held  # it is free, but not yet used again
    assert pool.take([], 1) == [held[1]]
    assert pool.match([b"a", b"b", b"c", b"d"]) == [held[0]]
    assert pool.match([b"b", b"c"]) == []
    assert pool.match([b"c", b"d"]) == held[2:]


def test_nothing_is_taken_where_not_all_fits() -> None:
    pool = BlockPool(3)
    held = pool.take([], 1)
    pool.publish(held[0], b"a")
    pool.release(held)
    assert pool.take([0], 3) is None
    assert pool.take([0], 2, spare=1) is None
    assert pool.free == 3
    assert pool.take([0], 1, spare=1) == [0, 1]


def test_the_first_block_with_a_content_stays_the_known_one() -> None:
    pool = BlockPool(2)
    one, other = pool.take([], 2)
    pool.publish(one, b"x")
    pool.publish(other, b"x")
    assert pool.match([b"x"]) == [one]
    assert pool.cached == 1
    pool.publish(one, b"y")  # it has a content already: one block under two names would outlive the first
    assert pool.match([b"y"]) == []
    assert pool.match([b"x"]) == [one]
    assert pool.cached == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=60), st.integers(1, 12))
def test_no_block_is_ever_given_to_two_unless_shared(moves: list[tuple[int, int]], count: int) -> None:
    """Texts are "aaa…" of one letter: block i of a text has the content (letter, i)."""
    pool, held = BlockPool(count), list[tuple[int, list[int]]]()
    content: dict[int, bytes] = {}
    for letter, size in moves:
        if size == 0 and held:
            pool.release(held.pop(letter % len(held))[1])
            continue
        names = [bytes([letter, index]) for index in range(size)]
        shared = pool.match(names)
        assert [content[block] for block in shared] == names[: len(shared)]
        in_use = {block for _, blocks in held for block in blocks}
        blocks = pool.take(shared, size - len(shared))
        assert (blocks is None) == (len(in_use | set(shared)) + size - len(shared) > count)
        if blocks is None:
            continue
        assert blocks[: len(shared)] == shared
        assert not in_use & set(blocks[len(shared) :])
        for block, name in zip(blocks[len(shared) :], names[len(shared) :], strict=True):
            content[block] = name
            pool.publish(block, name)
        held.append((letter, blocks))
    assert pool.free == count - len({block for _, blocks in held for block in blocks})
