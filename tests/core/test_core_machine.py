"""What the machine says of itself, within bounds that any machine keeps; the allocator in a process of its own."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from seedbed.core import machine


def test_the_machine_describes_itself() -> None:
    torch.set_num_threads(1)
    described = machine.describe_machine()
    assert described["cores"] == machine.cores()
    assert 1 <= machine.cores() <= (os.cpu_count() or 1)
    assert described["torch"] == torch.__version__
    assert json.loads(json.dumps(described)) == described
    assert described["processor"]


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux only")
def test_memory_is_at_most_what_the_kernel_counts() -> None:
    first = Path("/proc/meminfo").read_text().splitlines()[0].split()
    assert first[0] == "MemTotal:"
    assert 2**26 < machine.memory_bytes() <= int(first[1]) * 1024


def test_the_matrix_product_peak_is_plausible_and_leaves_the_random_state() -> None:
    torch.set_num_threads(1)
    before = torch.get_rng_state()
    peak = machine.matmul_flops(seconds=0.0, size=256)
    assert 1e7 < peak < 1e13  # an emulated core; more than any core there is
    assert torch.equal(torch.get_rng_state(), before)


ALLOCATOR = "from seedbed.core.allocator import keep_pages; print(keep_pages())"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.parametrize(("wish", "kept"), [(None, "True"), ("0", "False")])
def test_the_allocator_keeps_pages_unless_told_otherwise(wish: str | None, kept: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "SEEDBED_KEEP_PAGES"}
    environment |= {} if wish is None else {"SEEDBED_KEEP_PAGES": wish}
    done = subprocess.run(
        [sys.executable, "-c", ALLOCATOR], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{kept}\n"


FAULTS = """
import mmap, resource, sys
from seedbed.core.allocator import keep_pages
if sys.argv[1] == "keep":
    assert keep_pages()
import ctypes
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def once():
    block = libc.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    libc.free(block)
once()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
once()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * mmap.PAGESIZE)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_kept_pages_cost_no_second_fault() -> None:
    """A block that was freed is written again: without the setting its pages are fetched from the kernel anew."""
    faulted = {
        way: int(subprocess.run([sys.executable, "-c", FAULTS, way], capture_output=True, check=True).stdout)
        for way in ("keep", "default")
    }
    assert faulted["keep"] < 2**20
    assert faulted["default"] > faulted["keep"]
