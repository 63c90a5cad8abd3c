"""`seedbed bench`: how fast a model runs on this machine, beside what the machine allows."""

from __future__ import annotations

from dataclasses import asdict

import click

from seedbed.cli import options
from seedbed.cli.common import print_json, print_table
from seedbed.core.artifacts import Library
from seedbed.core.units import bytes_text


@click.command("bench")
@options.model
@click.option("--prompt-tokens", default=512, show_default=True, type=click.IntRange(1), help="Tokens of the prompt.")
@click.option("--max-tokens", default=128, show_default=True, type=click.IntRange(2), help="Tokens to decode.")
@click.option("--sequences", default=8, show_default=True, type=click.IntRange(1, 64), help="How many at once.")
@options.common_flags
def bench_command(model: str, prompt_tokens: int, max_tokens: int, sequences: int, as_json: bool) -> None:
    """Measure prefill, decoding, loading time and memory of MODEL on this machine.

    "of limit" compares decoding with the speed at which memory can deliver the weights once a token; a small model
    that stays in the processor's cache can pass it. benchmarks/decode.py compares with other programs.

    \b
    Example:
      seedbed bench quickstart --max-tokens 32
    """
    import resource
    import sys
    import time

    artifact = Library().get(model, "model")  # before the slow import
    from seedbed.evaluation.speed import measure_speed
    from seedbed.models.store import load_model

    started = time.perf_counter()
    loaded = load_model(artifact)
    seconds = time.perf_counter() - started
    speed = measure_speed(loaded, prompt_tokens, max_tokens, sequences)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    figures = {**asdict(speed), "limit": speed.limit, "share": speed.share, "load_seconds": seconds, "peak_bytes": peak}
    if as_json:
        print_json({"model": loaded.artifact.id, "quantization": loaded.quantization, **figures})
        return
    rows = [
        ["prefill", f"{speed.prefill:,.0f} tokens/s", ""],
        ["decode", f"{speed.decode:,.0f} tokens/s", f"{speed.share:.0%} of limit ({speed.limit:,.0f} tokens/s)"],
        [f"decode, {speed.sequences} at once", f"{speed.together:,.0f} tokens/s", ""],
        ["weights", bytes_text(speed.weight_bytes), f"read at up to {bytes_text(speed.bandwidth)}/s"],
        ["loading", f"{seconds:.2f} s", ""],
        ["peak memory", bytes_text(peak), "with Python and PyTorch"],
    ]
    print_table(["what", "figure", ""], rows, right=(1,))
