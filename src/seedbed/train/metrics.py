"""metrics.jsonl: one JSON object a line, appended as the run goes; TensorBoard beside it when installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from seedbed.core import files

TIMING = ("seconds", "tokens_per_second")
"""Fields that no two runs share."""


class MetricsLog:
    """The log of one stage of a run."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self.board = _tensorboard(folder / "tensorboard")

    def rewind(self, step: int) -> None:
        """Forget lines after ``step``: a resumed run writes them again."""
        kept = [line for line in read_metrics(self.path) if line["step"] <= step]
        files.write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def write(self, step: int, **values: float) -> None:
        """Append a line."""
        with files.disk_errors(self.path.parent), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush the event files."""
        if self.board is not None:
            self.board.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a metrics file; a last line that a killed process left half-written is dropped."""
    lines: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
    return lines


def _tensorboard(folder: Path) -> Any:
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))
