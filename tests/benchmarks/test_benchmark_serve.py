"""A small run of the load benchmark as a user would start it, and the parts that decide what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from seedbed.core.errors import UsageError

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import serve as benchmark  # noqa: E402

LOAD = benchmark.Load(clients=4, requests=2, prompt=9, new=6)
SIZES = ("--shape", "tiny", "--clients", "4", "--requests", "2", "--prompt", "9", "--new", "6", "--rounds", "2")


def answer(*arguments: str) -> Any:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "benchmarks" / "serve.py"), *SIZES, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def test_every_reply_is_measured() -> None:
    result = answer("--peers", "", "--json")
    [turns] = result["turns"].values()
    assert len(turns) == 2
    for turn in turns:
        assert turn["tokens/s"] == pytest.approx(6 * turn["requests/s"])
        assert 0 < turn["time to first token, p50"] <= turn["time to first token, p99"]
        assert turn["time to first token, p50"] < turn["time to whole reply, p50"]
    assert result["ratios"] == {}
    assert 0 <= result["guessed"] < 1


@pytest.mark.skipif(not find_spec("llama_cpp"), reason="llama-cpp-python is not installed")
def test_the_servers_take_turns() -> None:
    result = answer("--json")
    assert {who: len(turns) for who, turns in result["turns"].items()} == {"seedbed": 2, "llama-cpp-python": 2}
    assert "ours is better by" in answer()


def test_percentiles_are_of_all_replies() -> None:
    turn = benchmark.Turn(4.0, [float(one) for one in range(101)], [1.0] * 40, [2.0] * 8)
    figures = turn.figures(LOAD)
    assert (figures["requests/s"], figures["tokens/s"]) == (2.0, 12.0)
    assert (figures["time to first token, p50"], figures["time to first token, p99"]) == (50.0, 99.0)
    assert figures["time between tokens, p99"] == 1.0


def test_a_ratio_above_one_is_in_our_favour() -> None:
    ours = [{"tokens/s": 6.0, "time to first token, p50": 1.0}]
    peer = [{"tokens/s": 2.0, "time to first token, p50": 4.0}]
    assert benchmark.ratios({"seedbed": ours, "peer": peer}) == {
        "peer": {"tokens/s": [3.0], "time to first token, p50": [4.0]}
    }


def test_the_vocabulary_reads_a_letter_as_a_token() -> None:
    tokenizer = benchmark._tokenizer(512)
    assert tokenizer.vocab_size == 512
    assert len(tokenizer.encode("seedbed")) == 7
    assert tokenizer.decode([511]) == "w511,"


def test_an_unknown_peer_is_refused() -> None:
    done = CliRunner().invoke(benchmark.main, ["--peers", "vllm"])
    assert isinstance(done.exception, UsageError)
