"""Checks of this machine and of a library, each with its fix where something is wrong."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from seedbed import __version__
from seedbed.core.artifacts import Library
from seedbed.core.errors import CorruptError, SeedbedError
from seedbed.core.machine import available_bytes, cores, gpus, instruction_sets, memory_bytes, processor
from seedbed.core.progress import progress
from seedbed.core.units import bytes_text
from seedbed.hub.hub import Hub

State = Literal["ok", "warn", "problem"]
EXTRAS = {
    "parquet": ("pyarrow", "data sets in Parquet files"),
    "eval": ("sacrebleu", "further measures of quality"),
    "sql": ("SQLAlchemy", "documents from databases"),
    "otel": ("opentelemetry-sdk", "traces for OpenTelemetry"),
    "tensorboard": ("tensorboard", "curves of training in TensorBoard"),
    "langchain": ("langchain-core", "LangChain's interfaces"),
    "docs-all": ("markitdown", "slides, tables and mail as documents"),
    "cluster": ("ray", "training on several machines"),
}
"""Extra → a package of it, and what it is for."""
_LITTLE_MEMORY, _LITTLE_DISK = 2 * 10**9, 2 * 10**9


@dataclass(frozen=True)
class Diagnosis:
    """A line of the report: state, subject, finding and fix."""

    state: State
    what: str
    found: str
    fix: str = ""


def diagnose(library: Library, *, verify: bool = False, offline: bool = False) -> list[Diagnosis]:
    """Check this machine and a library.

    Args:
        verify: hash every file of every artifact.
        offline: do not ask the hub.
    """
    checks = (
        *(_python(), _torch(), _kernel(), _memory(), _disk(library), _names(library), _artifacts(library, verify)),
        *(_leftovers(library), _hub(offline), _extras()),
    )
    return [finding for check in checks for finding in check]


def _python() -> Iterator[Diagnosis]:
    yield Diagnosis("ok", "seedbed", __version__)
    right = sys.version_info >= (3, 11)
    found = f"{platform.python_version()} on {platform.platform()}"
    yield Diagnosis("ok" if right else "problem", "Python", found, "" if right else "install Python 3.11 or newer")


def _torch() -> Iterator[Diagnosis]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Diagnosis("problem", "PyTorch", f"cannot be imported: {error}", "pip install --force-reinstall torch")
        return
    yield Diagnosis("ok", "PyTorch", torch.__version__)
    for gpu in gpus():
        room = f"{bytes_text(gpu['free_bytes'])} of {bytes_text(gpu['memory_bytes'])} free"
        yield Diagnosis("ok", "GPU", f"{gpu['name']}, {room}")
    if not torch.cuda.is_available():
        seen = shutil.which("nvidia-smi") is not None
        fix = "install a build of PyTorch with CUDA (pytorch.org/get-started)" if seen else ""
        yield Diagnosis("warn" if seen else "ok", "GPU", "there, but not for this PyTorch" if seen else "none", fix)


def _kernel() -> Iterator[Diagnosis]:
    sets = instruction_sets()
    yield Diagnosis("ok", "processor", f"{processor()}, {cores()} cores")
    quick = {"AVX2", "NEON"} & set(sets)
    fix = "" if quick or not sets else "expect slow generation: the kernel is made for AVX2, AVX-512 or NEON"
    yield Diagnosis("warn" if fix else "ok", "instruction sets", ", ".join(sets) or "unknown", fix)
    if os.environ.get("SEEDBED_KERNEL", "") == "torch":
        yield Diagnosis("warn", "kernel", "switched off by SEEDBED_KERNEL=torch", "unset it: generation is slower")
        return
    from seedbed.kernel.library import library

    if library() is not None:
        yield Diagnosis("ok", "kernel", "compiled for this processor")
        return
    compiler = next((found for name in ("g++", "clang++", "c++") if (found := shutil.which(name))), None)
    why = f"{compiler} could not compile it" if compiler else "no C++ compiler"
    fix = "see what the compiler says; PyTorch computes instead, slower" if compiler else "install g++ or clang"
    yield Diagnosis("warn", "kernel", f"none: {why}", fix)


def _memory() -> Iterator[Diagnosis]:
    total, free = memory_bytes(), available_bytes()
    little = total > 0 and free < _LITTLE_MEMORY
    yield Diagnosis(
        "warn" if little else "ok",
        "memory",
        f"{bytes_text(total)}, {bytes_text(free)} free" if total else "unknown",
        "close other programs; `seedbed fit MODEL` says what fits" if little else "",
    )


def _disk(library: Library) -> Iterator[Diagnosis]:
    existing = next(folder for folder in (library.root, *library.root.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        yield Diagnosis(
            "problem", "library", f"{library.root} cannot be written", "set SEEDBED_HOME to a folder of yours"
        )
        return
    free = shutil.disk_usage(existing).free
    little = free < _LITTLE_DISK
    fix = "free some (`seedbed ls`, `seedbed rm NAME`) or set SEEDBED_HOME to a larger disk" if little else ""
    yield Diagnosis("warn" if little else "ok", "library", f"{library.root}, {bytes_text(free)} free on its disk", fix)


def _names(library: Library) -> Iterator[Diagnosis]:
    names = library.names()
    held = {path.name for path in library.root.glob("*/*") if len(path.name) == 64}
    for name, target in names.items():
        if target not in held:
            gone = f"{name} points to {target[:12]}, which is not there"
            yield Diagnosis("problem", "name", gone, f"delete {library.root / 'refs' / name}, or make it again")
    yield Diagnosis("ok", "names", str(len(names)))


def _artifacts(library: Library, verify: bool) -> Iterator[Diagnosis]:
    """Check that every manifest can be read, and with ``verify`` that every file has its hash."""
    paths = sorted(path for path in library.root.glob("*/*") if len(path.name) == 64 and path.is_dir())
    damaged = 0
    with progress("checking artifacts", len(paths), "artifacts") as bar:
        for path in paths:
            try:
                artifact = library.get(path.name)
                if verify:
                    (artifact.path / "verified.json").unlink(missing_ok=True)  # read every byte again
                    artifact.verify()
            except (SeedbedError, OSError) as error:
                damaged += 1
                why, fix = (error.why, error.fix) if isinstance(error, SeedbedError) else (str(error), "")
                lost = why if isinstance(error, CorruptError) else f"{path} has no manifest"
                yield Diagnosis("problem", "artifact", lost, fix or f"delete {path}")
            bar.advance()
    how = "hashed" if verify else "not hashed, see --verify"
    yield Diagnosis("ok", "artifacts", f"{len(paths) - damaged} whole ({how})")


def _leftovers(library: Library) -> Iterator[Diagnosis]:
    """Find the remains of killed processes: drafts, half-removed artifacts, and unfinished pulls."""
    left = [path for pattern in ("*/.draft-*", "*/..draft-*", "*/.removed-*") for path in library.root.glob(pattern)]
    pulls = [path for path in library.root.glob("pulls/*") if path.is_dir()]
    if left:
        size = bytes_text(sum(map(_size, left)))
        fix = "delete " + ", ".join(map(str, left[:3])) + " if no seedbed is running"
        yield Diagnosis("warn", "leftovers", f"{len(left)} of stopped programs, {size}", fix)
    for path in pulls:
        fix = f"run `seedbed pull` again to finish it, or delete {path}"
        yield Diagnosis("warn", "pull", f"{path.name} is not finished, {bytes_text(_size(path))}", fix)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _hub(offline: bool) -> Iterator[Diagnosis]:
    hub = Hub(offline=offline)
    if hub.offline:
        yield Diagnosis("ok", "hub", "not asked (offline)")
        return
    error = hub.unreachable()
    if error is None:
        yield Diagnosis("ok", "hub", f"{hub.endpoint} answers; {'a token' if hub.token else 'no token'} is here")
    else:
        fix = "only pull, search and push need it; behind a proxy set HTTPS_PROXY, for a mirror HF_ENDPOINT"
        yield Diagnosis("warn", "hub", f"{hub.endpoint} does not answer: {error}", fix)


def _extras() -> Iterator[Diagnosis]:
    missing = []
    for extra, (package, purpose) in EXTRAS.items():
        try:
            yield Diagnosis("ok", extra, f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            missing.append(f"{extra} ({purpose})")
    if missing:
        yield Diagnosis("ok", "extras not installed", ", ".join(missing))
