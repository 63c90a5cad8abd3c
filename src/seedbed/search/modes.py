"""Ways to search a collection: by words (BM25), by vectors, or by both (hybrid)."""

from typing import Literal, get_args

Mode = Literal["hybrid", "words", "vector"]
MODES: tuple[Mode, ...] = get_args(Mode)
