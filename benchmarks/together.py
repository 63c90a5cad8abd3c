"""Eight sequences together on PyTorch's runner, beside one, and beside eight in turn: milliseconds a step on a CPU.

    SEEDBED_KERNEL=torch python benchmarks/together.py --width 576 --layers 30

A step computes the newest token of every sequence. ``tiles`` is what a server uses, ``in turn`` what one reader uses;
their runs alternate, and medians are printed.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from seedbed.inference.runner import TokenChunk
from seedbed.inference.runners.torch import TILE_ROWS, TorchRunner
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder

BLOCKS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"width": 256, "layers": 6, "vocab": 4096, "length": 400, "rounds": 9, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes = {"vocab_size": options.vocab, "d_model": options.width, "n_layers": options.layers}
    model = Decoder(ModelConfig(**sizes, n_heads=options.width // 64, max_length=64 * BLOCKS)).eval()
    runners = {"tiles": TorchRunner(model, cache_bytes=1 << 30, rows=TILE_ROWS)}
    runners["in turn"] = TorchRunner(model, cache_bytes=1 << 30, rows=1)
    owned = [list(range(BLOCKS * slot, BLOCKS * (slot + 1))) for slot in range(8)]
    for runner in runners.values():
        runner.forward([TokenChunk([1] * options.length, 0, blocks, 0, slot) for slot, blocks in enumerate(owned)])
    times: dict[tuple[str, int], list[float]] = {(name, count): [] for name in runners for count in (1, 8)}
    for step in range(options.rounds):
        for (name, count), taken in times.items():
            newest = [TokenChunk([3], options.length + step, owned[slot], 1, slot) for slot in range(count)]
            begun = time.perf_counter()
            runners[name].forward(newest)
            taken.append(1000 * (time.perf_counter() - begun))
    medians = {key: statistics.median(taken) for key, taken in times.items()}
    for (name, count), median in medians.items():
        print(f"{name:8} {count} sequences {median:8.1f} ms")
    for name in runners:
        print(f"8 together / 1 {name}: {medians['tiles', 8] / medians[name, 1]:.2f}")


if __name__ == "__main__":
    main()
