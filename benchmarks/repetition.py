"""Replies that repeat themselves: how often a model's end in a loop, what the guard saves, and what it cuts wrongly.

A model answers prompts with the guard off; the detector of `seedbed.chat.repetition` then reads the replies, and pieces
of human text as long as a reply, of which every one that it would cut is a mistake. Constants are chosen on every other
prompt and document, and the figures are those of the rest, with Wilson's 95 % interval. "Ends in a loop" is wider than
the guard's rule, so that it cannot be right by definition: at the end stand three copies of a period or more, 24 tokens
in all.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seedbed.chat.local import LocalModel
from seedbed.chat.messages import Message
from seedbed.chat.repetition import COPIES, TOKENS, LoopDetector
from seedbed.core.progress import track
from seedbed.evaluation.right_answers import Share, share
from seedbed.inference.parameters import Sampling
from seedbed.tokenizers.tokenizer import Tokenizer

PROMPTS = "tasks/instruction_following/self_instruct_user_oriented_252.jsonl"
TEXTS = {"books": 8, "docs": 6, "textbooks": 6}
"""Megabytes of each kind of human text."""
GRID = [(copies, tokens) for copies in (3, 4, 5) for tokens in (32, 48, 64, 96)]
LOOP = 3, 24
"""Copies and tokens of a loop at the end of a reply."""
_TOGETHER = 20  # replies that are written at once


@dataclass(frozen=True)
class Written:
    """A reply: its tokens without the end token, and whether the model ended it itself."""

    ids: list[int]
    ended: bool


def read_prompts(path: Path, limit: int) -> list[str]:
    """Return instructions, each with its first input."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:limit]]
    return ["\n\n".join(filter(None, (row["instruction"], row["instances"][0]["input"]))) for row in rows]


def write_replies(model: LocalModel, prompts: Sequence[str], temperature: float, most: int) -> list[Written]:
    """Answer prompts with the raw engine, so that nothing ends a reply but the model; a prompt's number is its seed."""
    found: dict[int, Written] = {}
    turns = [range(first, min(first + _TOGETHER, len(prompts))) for first in range(0, len(prompts), _TOGETHER)]
    for turn in track(turns, f"replies at temperature {temperature:g}", len(turns), "turns"):
        ids = {one: model.prompts.encode([Message("user", prompts[one])]) for one in turn}
        sampling = {one: Sampling(max_tokens=most, temperature=temperature, seed=one) for one in turn}
        streams = {one: model.client.stream(ids[one], sampling[one]) for one in turn}
        found |= {one: Written([], False) for one in turn}
        while streams:
            for one in list(streams):
                token = next(streams[one])
                if token.finish == "end":
                    found[one] = Written(found[one].ids, True)
                else:
                    found[one].ids.append(token.id)
                if token.finish:
                    del streams[one]
    return [found[one] for one in range(len(prompts))]


def human_pieces(folder: Path, tokenizer: Tokenizer, length: int) -> Iterator[tuple[str, int, list[int]]]:
    """Yield human text in pieces of so many tokens, with its kind and the number of its document."""
    for kind, megabytes in TEXTS.items():
        left, number = megabytes * 1_000_000, 0
        for path in sorted(folder.glob(f"{kind}-*.jsonl.xz")):
            with lzma.open(path, "rt", encoding="utf-8") as lines:
                for line in lines:
                    if left <= 0:
                        break
                    text = json.loads(line)["text"][:400_000]
                    left, number, ids = left - len(text.encode()), number + 1, tokenizer.encode(text)
                    yield from ((kind, number, ids[at : at + length]) for at in range(0, len(ids), length))


def cut_at(ids: Sequence[int], copies: int = COPIES, tokens: int = TOKENS) -> int | None:
    """Return the number of tokens after which the guard ends a reply."""
    detector = LoopDetector(copies, tokens)
    return next((place for place, token in enumerate(ids, 1) if detector.add(token)), None)


def ends_in_loop(ids: Sequence[int]) -> bool:
    """Tell whether the end of a reply is a loop; every period is tried."""
    copies, tokens = LOOP
    for period in range(1, len(ids) // copies + 1):
        tail = ids[-max(copies * period, tokens) :]
        if len(tail) >= tokens and tail[period:] == tail[:-period]:
            return True
    return False


def judge(replies: Sequence[Written], copies: int = COPIES, tokens: int = TOKENS) -> dict[str, object]:
    """Return what the guard does to replies that were written without it."""
    cuts = [cut_at(one.ids, copies, tokens) for one in replies]
    looped = [not one.ended and ends_in_loop(one.ids) for one in replies]
    pairs = list(zip(replies, cuts, strict=True))
    saved = sum(len(one.ids) - cut for one, cut in pairs if cut is not None)
    return {
        "ends in a loop, guard off": told(share(looped)),
        "ends in a loop, guard on": told(share(loop and cut is None for loop, cut in zip(looped, cuts, strict=True))),
        "cut": told(share(cut is not None for cut in cuts)),
        "cut, and would have ended by itself": sum(one.ended for one, cut in pairs if cut is not None),
        "tokens saved": f"{saved} of {sum(len(one.ids) for one in replies)}",
    }


def told(one: Share) -> str:
    """Return a share in words."""
    return f"{one.value:.2%} ({one.low:.2%} to {one.high:.2%}) of {one.count}"


def judge_text(pieces: Sequence[tuple[str, int, list[int]]], tokenizer: Tokenizer) -> dict[str, object]:
    """Return the share of human pieces that would be cut: each of them is a mistake; and some of them."""
    loose = [(kind, number, ids) for kind, number, ids in pieces if cut_at(ids, 3, 24)]  # all others are never cut
    halves = [[one for one in pieces if one[1] % 2 == half] for half in (0, 1)]
    counts = {
        f"{copies} copies, {tokens} tokens": sum(
            n % 2 == 0 and bool(cut_at(ids, copies, tokens)) for _, n, ids in loose
        )
        for copies, tokens in GRID
    }
    wrong = [one for one in loose if cut_at(one[2])]
    shown = [f"{kind} {number}: {tokenizer.decode(ids[: cut_at(ids)])[-300:]!r}" for kind, number, ids in wrong]
    kinds = {kind: told(share(bool(one in wrong) for one in halves[1] if one[0] == kind)) for kind in TEXTS}
    return {
        f"choosing: pieces cut of {len(halves[0])}": counts,
        "cut": told(share(one in wrong for one in halves[1])),
        **kinds,
        "examples, of both halves": shown[:10],
    }


def run(options: argparse.Namespace) -> dict[str, object]:
    """Write or read the replies, and judge them and human text."""
    model = LocalModel.open(options.model)
    prompts, results = read_prompts(options.data / PROMPTS, options.replies), dict[str, object]()
    for temperature in options.temperature:
        kept = options.keep / f"replies-{temperature:g}.json" if options.keep else None
        if kept and kept.exists():
            replies = [Written(ids, ended) for ids, ended in json.loads(kept.read_text())]
        else:
            replies = write_replies(model, prompts, temperature, options.max_tokens)
            if kept:
                kept.write_text(json.dumps([[one.ids, one.ended] for one in replies]))
        grid = {f"{copies} copies, {tokens} tokens": judge(replies[::2], copies, tokens) for copies, tokens in GRID}
        choosing = {name: [one["cut"], one["tokens saved"]] for name, one in grid.items()}
        results[f"temperature {temperature:g}"] = {"choosing": choosing, **judge(replies[1::2])}
    if options.text:
        pieces = list(human_pieces(options.data / "pretrain", model.tokenizer, options.max_tokens))
        results["human text"] = judge_text(pieces, model.tokenizer)
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("SEEDBED_DATA", "."))
    parser.add_argument("--data", type=Path, default=data, help="a folder like $SEEDBED_DATA")
    parser.add_argument("--model", default="smollm2", help="a model of the library")
    parser.add_argument(
        "--temperature", type=float, nargs="+", default=[0.0, 0.8], help="0.8 is ours, of no model's own"
    )
    parser.add_argument("--replies", type=int, default=200)
    parser.add_argument("--max-tokens", type=int, default=256, help="of a reply, and of a piece of human text")
    parser.add_argument("--keep", type=Path, help="a folder to keep the replies in, and to read them from again")
    parser.add_argument("--text", action=argparse.BooleanOptionalAction, default=True, help="read human text too")
    print(json.dumps(run(parser.parse_args()), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
