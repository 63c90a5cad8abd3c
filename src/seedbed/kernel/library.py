"""Compile the kernel once for this machine and load it; without a compiler there is none, and PyTorch computes.

``source/kernels.cpp`` includes the headers beside it, so one command compiles all. The library is kept in the user's
cache folder under a name made of everything that went into it: these files, the compiler's version, its options and the
processor's abilities, so that a stale one is never loaded. It is plain C called through ctypes: nothing depends on
PyTorch's own binary interface, and a call releases Python's lock.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

import platformdirs

from seedbed.core.leftovers import draft_directory
from seedbed.core.progress import say

SOURCES = Path(__file__).with_name("source")
_ALWAYS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-w")
_TRIES = (("-march=native", "-fopenmp"), ("-fopenmp",), ("-march=native",), ())
"""Options tried in turn: not every compiler knows its processor or has OpenMP."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the compiled kernel, or None where it cannot be built or ``SEEDBED_KERNEL=torch`` forbids it."""
    if os.environ.get("SEEDBED_KERNEL", "") == "torch":
        return None
    return compiled()


@functools.cache
def compiled(*defines: str) -> ctypes.CDLL | None:
    """Return the kernel built with some preprocessor definitions (``SEEDBED_PORTABLE``: no processor-specific code)."""
    names = (os.environ.get("CXX", ""), "g++", "clang++", "c++")
    compiler = next((path for name in names if name and (path := shutil.which(name))), None)
    if compiler is None:
        say("no C++ compiler found: generation runs on PyTorch alone, several times slower (install g++ or clang)")
        return None
    for options in _TRIES:
        found = _load(compiler, (*_ALWAYS, *options, *(f"-D{name}" for name in defines)))
        if found is not None:
            return found
    say("the kernel could not be compiled: generation runs on PyTorch alone, several times slower")
    return None


def _load(compiler: str, options: tuple[str, ...]) -> ctypes.CDLL | None:
    path = platformdirs.user_cache_path("seedbed", ensure_exists=True) / f"kernels-{_key(compiler, options)}.so"
    if not path.exists() and not _build(compiler, options, path):
        return None
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError:  # such as a cache folder mounted without execution
        return None
    loaded.seedbed_run.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    loaded.seedbed_run.restype = None
    loaded.seedbed_place.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
    return loaded


def _build(compiler: str, options: tuple[str, ...], path: Path) -> bool:
    """Compile aside, then rename: two processes may do it at once."""
    say("compiling the kernel for this processor (once, about 20 seconds)")
    with draft_directory(path) as folder:
        made = folder / path.name
        command = [compiler, *options, str(SOURCES / "kernels.cpp"), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode == 0:
            made.rename(path)
    return done.returncode == 0


def _key(compiler: str, options: tuple[str, ...]) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    digest = hashlib.sha256()
    sources = [path.read_bytes() for path in sorted(SOURCES.iterdir()) if path.suffix in (".cpp", ".h")]
    for part in (*sources, version, " ".join(options).encode(), _processor().encode()):
        digest.update(part)
    return digest.hexdigest()[:16]


def _processor() -> str:
    """Return the machine's kind and, on Linux, its instruction sets."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {flags}"
