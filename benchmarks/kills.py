"""Kill commands at random moments, and look at the library afterwards: consistent, the retry works, nothing is left.

python benchmarks/kills.py --seed 11 --count 500 [--only "docs add" --only train]
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))

import cli_runs
import killed_runs


def main() -> None:
    """Print every fault, and how many runs of each command were killed before their end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--only", action="append", choices=list(killed_runs.WORK))
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), told.seed, told.count, told.only or list(killed_runs.WORK))


def run(root: Path, seed: int, count: int, names: list[str]) -> None:
    """Kill each command in turn."""
    home, files = root / "home", root / "files"
    cli_runs.build(home)
    longest = {
        name: killed_runs.lasting(killed_runs.WORK[name], cli_runs.copied(home, root / name), files) for name in names
    }
    chance, killed, bad, began = random.Random(seed), Counter[str](), 0, time.monotonic()
    for number in range(count):
        name, copy = names[number % len(names)], cli_runs.copied(home, root / f"run{number}")
        seconds = chance.uniform(0, longest[name])
        ended = killed_runs.kill(cli_runs.with_paths(killed_runs.WORK[name].line.split(), files), copy, seconds)
        killed[name] += ended.code < 0
        if faults := killed_runs.faults(killed_runs.WORK[name], copy, files):
            bad += 1
            print(f"{name} after {seconds:.3f} s: {faults}", flush=True)
        if number % 50 == 49:
            print(f"{number + 1} runs, {killed.total()} killed before their end, {bad} with a fault", flush=True)
        shutil.rmtree(copy)
        for made in files.glob("OUT*"):
            shutil.rmtree(made)
    shares = ", ".join(f"{name} {number}" for name, number in killed.items())
    print(f"seed {seed}: {count} runs, {killed.total()} killed before their end ({shares}), {bad} with a fault")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
