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

from seedbed.core.artifacts import Library
from seedbed.core.errors import NewerError, SeedbedError
from seedbed.core.leftovers import clear
from seedbed.core.machine import available_bytes, cores, gpus, instruction_sets, memory_bytes, processor
from seedbed.core.progress import progress
from seedbed.core.units import bytes_text
from seedbed.core.version import __version__
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
_FORMER = (
    *("*/.draft-*", "*/..draft-*", "*/.removed-*", "*/.*.old-*"),
    *(".building-*", ".pushing-*", "docs/*/.store.sqlite.*-*"),
)
"""Names of drafts that earlier versions made."""
_LITTLE_MEMORY, _LITTLE_DISK = 2 * 10**9, 2 * 10**9


@dataclass(frozen=True)
class Diagnosis:
    """A line of the report: state, subject, finding and fix."""

    state: State
    what: str
    found: str
    fix: str = ""


def _finding(what: str, found: str, fix: str = "", state: State = "warn") -> Diagnosis:
    """Return a line that is ok where there is nothing to fix."""
    return Diagnosis(state if fix else "ok", what, found, fix)


def diagnose(library: Library, *, verify: bool = False, offline: bool = False) -> list[Diagnosis]:
    """Check this machine and a library; ``verify`` hashes every file of every artifact, ``offline`` asks no hub."""
    machine = (_python(), _torch(), _kernel(), _memory(), _disk(library))
    stored = (_names(library), _artifacts(library, verify), _leftovers(library))
    return [finding for check in (*machine, *stored, _hub(offline), _extras()) for finding in check]


def _python() -> Iterator[Diagnosis]:
    yield _finding("seedbed", __version__)
    fix = "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer"
    yield _finding("Python", f"{platform.python_version()} on {platform.platform()}", fix, "problem")


def _torch() -> Iterator[Diagnosis]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Diagnosis("problem", "PyTorch", f"cannot be imported: {error}", "pip install --force-reinstall torch")
        return
    yield _finding("PyTorch", torch.__version__)
    for gpu in gpus():
        room = f"{bytes_text(gpu['free_bytes'])} of {bytes_text(gpu['memory_bytes'])} free"
        yield _finding("GPU", f"{gpu['name']}, {room}")
    if not torch.cuda.is_available():
        seen = shutil.which("nvidia-smi") is not None
        fix = "install a build of PyTorch with CUDA (pytorch.org/get-started)" if seen else ""
        yield _finding("GPU", "there, but not for this PyTorch" if seen else "none", fix)


def _kernel() -> Iterator[Diagnosis]:
    sets = instruction_sets()
    yield _finding("processor", f"{processor()}, {cores()} cores")
    slow = sets and not {"AVX2", "NEON"} & set(sets)
    fix = "expect slow generation: the kernel is made for AVX2, AVX-512 or NEON" if slow else ""
    yield _finding("instruction sets", ", ".join(sets) or "unknown", fix)
    if os.environ.get("SEEDBED_KERNEL", "") == "torch":
        yield _finding("kernel", "switched off by SEEDBED_KERNEL=torch", "unset it: generation is slower")
        return
    from seedbed.kernel.library import library

    if library() is not None:
        yield _finding("kernel", "compiled for this processor")
        return
    compiler = next((found for name in ("g++", "clang++", "c++") if (found := shutil.which(name))), None)
    why = f"{compiler} could not compile it" if compiler else "no C++ compiler"
    fix = "see what the compiler says; PyTorch computes instead, slower" if compiler else "install g++ or clang"
    yield _finding("kernel", f"none: {why}", fix)


def _memory() -> Iterator[Diagnosis]:
    total, free = memory_bytes(), available_bytes()
    fix = "close other programs; `seedbed fit MODEL` says what fits" if total > 0 and free < _LITTLE_MEMORY else ""
    yield _finding("memory", f"{bytes_text(total)}, {bytes_text(free)} free" if total else "unknown", fix)


def _disk(library: Library) -> Iterator[Diagnosis]:
    existing = next(folder for folder in (library.root, *library.root.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        fix = "set SEEDBED_HOME to a folder of yours"
        yield Diagnosis("problem", "library", f"{library.root} cannot be written", fix)
        return
    free = shutil.disk_usage(existing).free
    remedy = "free some (`seedbed ls`, `seedbed rm NAME`) or set SEEDBED_HOME to a larger disk"
    found = f"{library.root}, {bytes_text(free)} free on its disk"
    yield _finding("library", found, remedy if free < _LITTLE_DISK else "")


def _names(library: Library) -> Iterator[Diagnosis]:
    for name, why in library.bad_names().items():
        fix = f"make it again under that name, or remove the name: `seedbed rm {name}`"
        yield Diagnosis("problem", "name", f"{name} points to no artifact: {why}", fix)
    yield _finding("names", str(len(library.names())))


def _artifacts(library: Library, verify: bool) -> Iterator[Diagnosis]:
    """Check that every manifest can be read, and with ``verify`` whether every file has its hash."""
    paths = sorted(path for path in library.root.glob("*/*") if len(path.name) == 64 and path.is_dir())
    damaged = 0
    with progress("checking artifacts", len(paths), "artifacts") as bar:
        for path in paths:
            try:
                artifact = library.get(path.name)
                if verify:
                    (artifact.path / "verified.json").unlink(missing_ok=True)  # read every byte again
                    artifact.verify()
            except SeedbedError as error:
                damaged += 1
                newer = isinstance(error, NewerError)
                yield Diagnosis("warn" if newer else "problem", "artifact", f"{error.what}: {error.why}", error.fix)
            except OSError as error:
                damaged += 1
                yield Diagnosis("problem", "artifact", f"{path}: {error}", "check who may read it")
            bar.advance()
    how = "hashed" if verify else "not hashed, see --verify"
    yield _finding("artifacts", f"{len(paths) - damaged} whole ({how})")


def _leftovers(library: Library) -> Iterator[Diagnosis]:
    """Clear the remains of killed processes; name those of versions that did not mark theirs, and unfinished pulls."""
    folders = [path for pattern in ("*", "*/*", "*/*/*") for path in library.root.glob(pattern) if path.is_dir()]
    cleared = [path for folder in (library.root, *folders) for path in clear(folder)]
    if cleared:
        yield _finding("leftovers", f"{len(cleared)} of killed programs, cleared now")
    left = [path for pattern in _FORMER for path in library.root.glob(pattern)]
    if left:
        fix = "if no seedbed is running, remove " + ", ".join(map(str, left[:3]))
        yield _finding("leftovers", f"{len(left)} of stopped programs, {bytes_text(sum(map(_size, left)))}", fix)
    for path in sorted(path for path in library.root.glob("pulls/*") if path.is_dir()):
        fix = f"run `seedbed pull` again to finish it; {path} has what was fetched"
        yield _finding("pull", f"{path.name} is not finished, {bytes_text(_size(path))}", fix)
    for path in sorted(library.root.glob("*/*.form*.backup")) + sorted(library.root.glob("docs/*/*.form*.backup")):
        yield _finding("backup", f"{path}, {bytes_text(_size(path))}, from before a change of form")


def _size(path: Path) -> int:
    return sum(one.stat(follow_symlinks=False).st_size for one in (path, *path.rglob("*")) if not one.is_dir())


def _hub(offline: bool) -> Iterator[Diagnosis]:
    hub = Hub(offline=offline)
    if hub.offline:
        yield _finding("hub", "not asked (offline)")
    elif (error := hub.unreachable()) is None:
        yield _finding("hub", f"{hub.endpoint} answers; {'a token' if hub.token else 'no token'} is here")
    else:
        fix = "only pull, search and push need it; behind a proxy set HTTPS_PROXY, for a mirror HF_ENDPOINT"
        yield _finding("hub", f"{hub.endpoint} does not answer: {error}", fix)


def _extras() -> Iterator[Diagnosis]:
    missing = []
    for extra, (package, purpose) in EXTRAS.items():
        try:
            yield _finding(extra, f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            missing.append(f"{extra} ({purpose})")
    if missing:
        yield _finding("extras not installed", ", ".join(missing))
