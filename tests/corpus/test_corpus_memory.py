"""The promise that memory does not grow with the text, measured in a fresh process."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, sys
from pathlib import Path
from seedbed.core.artifacts import Library
from seedbed.corpus.build import build_corpus
from seedbed.corpus.settings import CorpusSettings, SourceSettings

if __name__ == "__main__":
    root, home = sys.argv[1:]
    sources = (SourceSettings("many", root + "/many"), SourceSettings("one", root + "/one.txt"))
    build_corpus(CorpusSettings(sources=sources), Library(Path(home)), workers=2)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # the largest of the two
    print((own + 2 * worker) * 1024)
"""


def peak_bytes(tmp_path: Path, megabytes: int) -> int:
    """Peak memory of building a corpus, half of it small files and half one file."""
    generator = random.Random(megabytes)
    words = [f"{generator.randrange(10**6):x}" for _ in range(20_000)]
    root = tmp_path / f"text{megabytes}"
    (root / "many").mkdir(parents=True)
    for number in range(megabytes * 10):
        text = " ".join(generator.choices(words, k=8_500))
        (root / "many" / f"{number:05}.txt").write_text(text)
    with (root / "one.txt").open("w") as file:
        for _ in range(megabytes * 500):
            file.write(" ".join(generator.choices(words, k=170)) + "\n\n")
    program = tmp_path / "program.py"  # a file, since spawned workers import it
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(root), str(tmp_path / f"home{megabytes}")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.slow
def test_three_times_the_text_needs_no_more_memory(tmp_path: Path) -> None:
    small, large = peak_bytes(tmp_path, 100), peak_bytes(tmp_path, 300)
    assert large < 1e9
    assert large - small < 1e8
