"""A GGUF model in several files, as llama.cpp's ``gguf-split`` writes them: ``NAME-00001-of-00003.gguf`` and so on.

The first part has the metadata; each has tensors of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from seedbed.core.errors import CorruptError, NotFoundError
from seedbed.formats.gguf.file import GgufFile, open_gguf
from seedbed.formats.gguf.parts import part_names

COUNT, _TENSORS = "split.count", "split.tensors.count"


class SplitGguf:
    """The parts of a model as one file; a :class:`~seedbed.models.checkpoint.Checkpoint`."""

    def __init__(self, parts: Sequence[GgufFile]) -> None:
        self.origin, self.metadata = parts[0].origin, parts[0].metadata
        self._places = {name: part for part in parts for name in part.names()}

    def names(self) -> Sequence[str]:
        """Return the names of all tensors, in the order of parts and files."""
        return list(self._places)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape, outermost axis first."""
        return self._places[name].shape(name)

    def kind(self, name: str) -> str:
        """Return GGUF's name of the tensor's type."""
        return self._places[name].kind(name)

    def dtype(self, name: str) -> torch.dtype:
        """Return the precision that :meth:`read` gives."""
        return self._places[name].dtype(name)

    def read(self, name: str) -> Tensor:
        """Read one tensor; raises as :meth:`GgufFile.read`."""
        return self._places[name].read(name)


def open_whole_gguf(path: Path) -> GgufFile | SplitGguf:
    """Open a GGUF file, with the other parts where it is one of several.

    Raises as :func:`open_gguf`, and:
        NotFoundError: a part is missing, or the file's name does not tell those of the others.
        CorruptError: the parts do not belong together.
    """
    first = open_gguf(path)
    count = first.metadata.get(COUNT, 1)
    if not isinstance(count, int) or count <= 1:
        return first
    names = part_names(path.name)
    if len(names) != count:
        raise NotFoundError(
            f"{path} is one of {count} parts of a model",
            why=f"its {COUNT} is {count}, and its name does not say what the others are called",
            fix=f"name them NAME-00001-of-{count:05}.gguf and so on, in one folder",
        )
    if missing := [name for name in names if not path.with_name(name).is_file()]:
        raise NotFoundError(
            f"{path} is one of {count} parts of a model",
            why=f"{len(missing)} are missing: {', '.join(missing[:3])}",
            fix="put all parts into one folder",
        )
    parts = [open_gguf(path.with_name(name)) for name in names]
    held, wanted = sum(len(part.names()) for part in parts), parts[0].metadata.get(_TENSORS)
    if any(part.metadata.get(COUNT) != count for part in parts) or (wanted is not None and wanted != held):
        why = f"they hold {held} tensors of {wanted}, and state {sorted({str(p.metadata.get(COUNT)) for p in parts})}"
        raise CorruptError(
            f"the parts of {path} do not belong together", why=why, fix="fetch or copy all of them again"
        )
    return SplitGguf(parts)
