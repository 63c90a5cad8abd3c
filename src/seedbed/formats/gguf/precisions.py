"""Precisions of weights that GGUF files are written in, by llama.cpp's names."""

from typing import Literal

GgufPrecision = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]
