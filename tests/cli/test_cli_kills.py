"""Killed at random moments, every command leaves a consistent library, can be run again, and leaves nothing behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import cli_runs
import killed_runs
import pytest

SEED, EACH = 20261201, 2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A library with one of each."""
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("kills") / "home"
    patch.setenv("SEEDBED_HOME", str(home))
    cli_runs.build(home)
    yield home
    patch.undo()


@pytest.mark.slow
@pytest.mark.parametrize("name", killed_runs.WORK)
def test_a_killed_command_leaves_a_consistent_library(home: Path, tmp_path: Path, name: str) -> None:
    work, files = killed_runs.WORK[name], home.parent / "files"
    longest = killed_runs.lasting(work, cli_runs.copied(home, tmp_path / "whole"), files)
    for number, seconds in enumerate(killed_runs.moments(SEED, longest, EACH)):
        copy = cli_runs.copied(home, tmp_path / f"home{number}")
        killed_runs.kill(cli_runs.with_paths(work.line.split(), files), copy, seconds)
        assert killed_runs.faults(work, copy, files) == [], (name, seconds)
        for made in files.glob("OUT*"):
            shutil.rmtree(made)
