"""Facts about this machine, for plans, reports and the provenance of numbers."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory, operating system and library versions."""
    import torch

    return {
        "processor": processor(),
        "cores": cores(),
        "memory_bytes": memory_bytes(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def cores() -> int:
    """Return the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Return memory in bytes: the physical one, or a container's share of it; 0 where unknown."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, AttributeError, OSError):
        return 0
    try:  # version 2 of Linux's control groups; a number, or "max"
        return min(physical, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return physical


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def matmul_flops(seconds: float = 0.3, size: int = 1536) -> float:
    """Measure the peak of float32 matrix products on the CPU, in FLOP per second (best of several)."""
    import torch

    generator = torch.Generator().manual_seed(0)  # leaves the global random state as it is
    left, right = (torch.randn(size, size, generator=generator) for _ in range(2))
    best, stop = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < stop or best == float("inf"):
        start = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def multiplies_bfloat16() -> bool:
    """Tell whether the processor has instructions for products of bfloat16 (AVX512-BF16, AMX)."""
    import torch

    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and check() for check in checks)


def read_bandwidth(bytes_read: int = 2**29, device: str = "cpu") -> float:
    """Measure the bytes a second that all threads, or a GPU ("cuda"), read from memory (best of several sums)."""
    import torch

    values, best = torch.ones(bytes_read // 4, device=device), float("inf")
    for _ in range(6):
        start = time.perf_counter()
        values.sum().item()  # waits for a GPU
        best = min(best, time.perf_counter() - start)
    return bytes_read / best


def available_bytes() -> int:
    """Return the bytes of memory available now, without other programs giving up theirs; 0 where unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return memory_bytes()
    try:  # a container's share of it
        group = Path("/sys/fs/cgroup")
        return min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        return free


INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "fma": "FMA",
    "f16c": "F16C",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_int8": "AMX INT8",
    "asimd": "NEON",
    "asimddp": "NEON dot product",
    "i8mm": "NEON INT8 matrices",
    "sve": "SVE",
}
"""Linux's names of what decides the speed of matrix products, and the makers' names."""


def instruction_sets(info: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """Return those of :data:`INSTRUCTION_SETS` that this processor has; empty where unknown."""
    try:
        lines = info.read_text(errors="replace").splitlines()
    except OSError:
        return ()
    stated = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    flags = set(stated.partition(":")[2].split())
    return tuple(name for flag, name in INSTRUCTION_SETS.items() if flag in flags)


def gpus() -> list[dict[str, Any]]:
    """List the GPUs that PyTorch can use: name, bytes of memory, bytes free."""
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found.append({"name": torch.cuda.get_device_name(index), "memory_bytes": total, "free_bytes": free})
    return found
