"""Encodings found in texts whose encoding is known, beside charset-normalizer and chardet on the same bytes.

    python benchmarks/text_encodings.py TEXTS [--json]

TEXTS is a folder of texts in UTF-8, ``da.txt``, ``pl.txt`` … by language. Each is encoded in the encodings of its
language and cut, at spaces, into pieces of 50, 200 and 2,000 bytes with two characters or more above 127. A piece is
right if decoding gives its text. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seedbed.documents.encoding import detect

ENCODINGS = {
    **dict.fromkeys(["da", "de", "es", "fi", "fr", "is", "it", "nb", "nl", "pt", "sv"], ("cp1252",)),
    **dict.fromkeys(["cs", "hr", "hu", "pl", "ro", "sk", "sl"], ("cp1250", "iso-8859-2")),
    **dict.fromkeys(["et", "lt", "lv"], ("cp1257", "iso-8859-13")),
    **dict.fromkeys(("bg", "ru"), ("cp1251", "koi8-r", "iso-8859-5", "cp866")),
    "uk": ("cp1251", "koi8-u"),
    "mk": ("cp1251",),
    "sr": ("cp1251",),
    "tr": ("cp1254",),
    "el": ("cp1253",),
    "he": ("cp1255",),
    "ar": ("cp1256",),
    "ja": ("shift_jis", "euc_jp", "iso2022_jp"),
    "zh": ("gb18030",),
    "zh_TW": ("big5",),
    "ko": ("euc_kr",),
}
WIDE = ("ja", "zh", "zh_TW", "ko")
SIZES = {50: 12, 200: 12, 2000: 6}
"""Bytes of a piece, and how many pieces of each text."""
Finder = Callable[[bytes], str]


def finders() -> dict[str, Finder]:
    """Return ours and those peers that are installed."""
    found: dict[str, Finder] = {"seedbed": lambda data: detect(io.BytesIO(data), "piece").name}
    if find_spec("charset_normalizer"):
        from_bytes: Any = importlib.import_module("charset_normalizer").from_bytes
        found["charset-normalizer"] = lambda data: getattr(from_bytes(data).best(), "encoding", "cp1252")
    if find_spec("chardet"):
        peer: Any = importlib.import_module("chardet").detect
        found["chardet"] = lambda data: peer(data)["encoding"] or "cp1252"
    return found


def pieces(text: str, language: str, size: int, count: int) -> Iterator[str]:
    """Yield pieces of about ``size`` bytes that hold two characters or more above 127."""
    places, length = random.Random(f"{language} {size}"), size // 2 if language in WIDE else size
    for _ in range(30 * count):
        if count == 0 or len(text) <= length:
            return
        start = places.randrange(len(text) - length)
        piece = text[start : start + length]
        if language not in WIDE:
            piece = " ".join(piece.split(" ")[1:-1])
        if sum(character > "\x7f" for character in piece.strip()) >= 2:
            count -= 1
            yield piece.strip()


def is_right(text: str, encoding: str, name: str) -> bool:
    """Return whether what was encoded in one encoding is the same text in another."""
    try:
        return text.encode(encoding).decode(name, "replace") == text
    except LookupError:
        return False


def main() -> None:
    """Print the share right by size, and the milliseconds of a piece."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--json", action="store_true")
    given, peers = parser.parse_args(), finders()
    right, there, seconds = Counter[str](), Counter[str](), dict.fromkeys(peers, 0.0)
    for path in sorted(given.texts.glob("*.txt")):
        whole = path.read_text(encoding="utf-8")
        for encoding in ENCODINGS.get(path.stem, ()):
            text = whole.encode(encoding, "ignore").decode(encoding)
            for size, count in SIZES.items():
                for piece in pieces(text, path.stem, size, count):
                    for name, find in peers.items():
                        began = time.process_time()
                        found = find(piece.encode(encoding))
                        seconds[name] += time.process_time() - began
                        for key in (f"{name} {size}", f"{name} {path.stem} {encoding}"):
                            there[key] += 1
                            right[key] += is_right(piece, encoding, found)
    rows = {key: {"right": right[key], "of": there[key]} for key in there}
    if given.json:
        print(json.dumps(rows))
        return
    for key, row in rows.items():
        print(f"{key:40} {row['right']:5} of {row['of']:5}  {row['right'] / row['of']:.1%}")
    for name in peers:
        pieces_seen = sum(there[f"{name} {size}"] for size in SIZES)
        print(f"{name}: {1000 * seconds[name] / max(1, pieces_seen):.1f} ms of processor time a piece")


if __name__ == "__main__":
    main()
