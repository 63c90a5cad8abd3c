"""Threads for parallel test processes, and the rule that CI may only skip what `allowed_skips.toml` lists.

Set before PyTorch is imported: with several pytest processes on a machine, each one computes on a single thread.
"""

from __future__ import annotations

import fnmatch
import os
import tomllib
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ALLOWED = tomllib.loads(Path(__file__).with_name("allowed_skips.toml").read_text(encoding="utf-8"))["skip"]


def refused_skips(skipped: list[tuple[str, str]]) -> list[str]:
    """Return the skips, as "file: reason", that no entry of `allowed_skips.toml` covers.

    Args:
        skipped: test file (relative to the project) and reason of each.
    """
    return sorted(
        {
            f"{file}: {reason}"
            for file, reason in skipped
            if not any(fnmatch.fnmatch(file, one["file"]) and one["reason"] in reason for one in ALLOWED)
        }
    )


class Skips:
    """Collects skips while tests run, and fails a CI run that skipped what is not allowed."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a skipped test."""
        if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
            self.found.append((report.nodeid.split("::")[0], report.longrepr[2]))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that skips itself while it is read."""
        if report.skipped and isinstance(report.longrepr, tuple):
            self.found.append((report.nodeid, report.longrepr[2]))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn a good exit status into a failure where a skip is not allowed."""
        self.refused = refused_skips(self.found)
        if self.refused and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which skips failed the run."""
        for line in self.refused:
            terminalreporter.write_line(f"not an allowed skip (tests/allowed_skips.toml): {line}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    """Watch skips where CI is set, in the process that reports."""
    if os.environ.get("CI") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Skips())
