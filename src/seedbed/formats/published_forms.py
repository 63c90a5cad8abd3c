"""Forms that models are published in, and precisions of weights in GGUF files by llama.cpp's names."""

from typing import Literal

PublishedForm = Literal["hf", "gguf"]
GgufPrecision = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]
