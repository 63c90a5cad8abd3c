"""The names that `import seedbed` offers: all there, none paid for before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import seedbed


@pytest.mark.parametrize("name", [name for name in seedbed.__all__ if not name.startswith("__")])
def test_every_door_opens(name: str) -> None:
    assert getattr(seedbed, name).__name__ == name
    assert name in dir(seedbed)


def test_a_name_that_is_no_door_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        seedbed.nothing  # noqa: B018


def test_importing_seedbed_imports_nothing_heavy() -> None:
    program = "import sys, seedbed; print([m for m in ('torch', 'numpy', 'tokenizers', 'click') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
