"""README and docs: every `$ seedbed …` line in a console block runs, in order, from a fresh library."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
TINY = (
    "seedbed train quickstart --corpus docs --set name=quickstart --set pretrain.model.depth=1 "
    "--set pretrain.model.context=512 --set pretrain.steps=4 --set pretrain.batch=2 "
    "--set finetune.steps=2 --set finetune.batch=2"
)


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def run(line: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell in the repository, with this environment's `seedbed` first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"SEEDBED_HOME": str(home), "OMP_NUM_THREADS": "1", "PATH": path}
    return subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=environment, input="Hello\n", capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with a tiny model called `quickstart`, trained on these pages."""
    home = tmp_path_factory.mktemp("home")
    done = run(TINY, home)
    assert done.returncode == 0, done.stderr
    return home


def test_every_page_has_commands() -> None:
    without = {page.name for page in PAGES if not commands(page)}
    assert without <= {"architecture.md", "decisions.md", "log.md"}


def test_the_tests_that_pages_name_are_there() -> None:
    named = {one for page in PAGES for one in re.findall(r"tests/[\w/]+\.py::\w+", page.read_text(encoding="utf-8"))}
    assert named
    for path, name in (one.split("::") for one in named):
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.M), f"{path}::{name}"


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_the_commands_on_a_page_run(page: Path, trained: Path, tmp_path: Path) -> None:
    """Pages that talk about `quickstart` get a library that has it; the others begin with an empty one."""
    lines = commands(page)
    needs_model = any(
        re.search(r"\bseedbed (run|chat|eval|show|plan|quantize|bench|serve|ask) .*quickstart", line) for line in lines
    )
    home = trained if needs_model else tmp_path
    for line in lines:
        assert "seedbed " in line, line
        done = run(line, home)
        assert done.returncode == 0, f"$ {line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(("page", "count"), [("chat.md", 2), ("documents.md", 2)])
def test_the_python_on_a_page_runs(page: str, count: int, trained: Path) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == count
    for block in blocks:
        done = run(f"{sys.executable} - <<'END'\n{block}END\n", trained)
        assert done.returncode == 0, done.stderr
