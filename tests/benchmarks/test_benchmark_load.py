"""A small run of the benchmark of loading, as a user would start it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "load.py"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
def test_both_load_the_same_model() -> None:
    command = [sys.executable, str(SCRIPT), "--shape", "tiny", "--rounds", "1", "--json"]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert len(result["logit_sums"]) == 1  # both computed the same
    for state in ("warm", "cold"):
        measured = result["results"][state]["measured"]
        assert measured.keys() == {"seedbed", "transformers"}
        for answers in measured.values():
            assert 0 < answers[0]["load"] < answers[0]["first logits"]
            assert 0 < answers[0]["memory loaded"] <= answers[0]["memory used"]
        ours, theirs = (measured[who][0]["load"] for who in ("seedbed", "transformers"))
        assert result["results"][state]["ratios"]["load"] == [pytest.approx(ours / theirs)]
