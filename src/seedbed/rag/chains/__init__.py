"""Ways to answer a question from passages, each a plain function over a chat model.

Those that ask a model raise CapacityError where the question leaves no room for a passage in its window.
"""

from typing import Literal, get_args

Chain = Literal["cited", "stuff", "refine", "map-reduce", "map-rerank", "quote", "extract"]
CHAINS: tuple[Chain, ...] = get_args(Chain)
