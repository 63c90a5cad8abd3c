"""The error family: three lines, exit codes, and the way through a process boundary."""

from __future__ import annotations

import pickle
from multiprocessing import get_context

import pytest

from seedbed.core import errors
from seedbed.core.errors import SeedbedError

CODES = {
    "SeedbedError": 1,
    "UsageError": 2,
    "ConfigError": 2,
    "DataError": 1,
    "CorruptError": 1,
    "NewerError": 1,
    "TrainingError": 1,
    "GateError": 3,
    "NotFoundError": 4,
    "CapacityError": 5,
    "InterruptedRun": 130,
}
FAMILY = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SeedbedError)]


def test_exit_codes() -> None:
    assert {kind.__name__: kind.exit_code for kind in FAMILY} == CODES


@pytest.mark.parametrize("kind", FAMILY)
def test_an_error_survives_pickling(kind: type[SeedbedError]) -> None:
    back = pickle.loads(pickle.dumps(kind("what", why="why", fix="fix")))
    assert type(back) is kind
    assert (back.what, back.why, back.fix, back.args) == ("what", "why", "fix", ("what",))


def fail(number: int) -> None:
    raise errors.DataError(f"file {number}", why="empty", fix="fill it")


def test_an_error_crosses_from_a_worker_process() -> None:
    with get_context("spawn").Pool(1) as pool, pytest.raises(errors.DataError) as caught:
        pool.map(fail, [7])
    assert str(caught.value) == "error: file 7\nwhy: empty\nfix: fill it"


def test_three_lines_whatever_a_library_says() -> None:
    error = SeedbedError("a\nb", why="  c:\r\n\td ", fix="e\u2028f")
    assert str(error) == "error: a b\nwhy: c: d\nfix: e f"
