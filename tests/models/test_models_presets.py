"""Published shapes have as many parameters as their makers say."""

import pytest

from seedbed.core.errors import UsageError
from seedbed.models.config import ModelConfig
from seedbed.models.parameter_counts import count_parameters
from seedbed.models.presets import preset, presets

EXACT = {
    "llama-7b": 6_738_415_616,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.2-1b": 1_235_814_400,
    "tinyllama-1.1b": 1_100_048_384,
    "smollm2-135m": 134_515_008,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "qwen2.5-0.5b": 494_032_768,
    "qwen3-0.6b": 596_049_920,
    "gemma-2-2b": 2_614_341_888,
    "gemma-3-1b": 999_885_952,
    "phi-2": 2_779_683_840,
    "phi-3-mini": 3_821_079_552,
    "starcoder2-3b": 3_030_371_328,
    "gpt-neox-20b": 20_554_567_680,
    "pythia-160m": 162_322_944,
    "opt-125m": 125_239_296,
    "bloom-560m": 559_214_592,
    "bert-base": 109_514_298,  # with the masked head, without the pooler
    "bert-large": 335_174_458,
    "roberta-base": 124_697_433,
    "minilm-l6": 22_713_216 - 384 * 385,  # without the pooler
    "t5-small": 60_506_624,
    "t5-base": 222_903_552,
    "flan-t5-base": 247_577_856,
    "bart-base": 139_420_416 + 50265,  # with the output's bias
}
"""Counted in the published files."""
PAPERS = {"transformer-base": 65e6, "transformer-big": 213e6, "bert-base": 110e6, "bert-large": 340e6}


@pytest.mark.parametrize("name", EXACT)
def test_a_shape_has_the_parameters_of_the_published_file(name: str) -> None:
    assert count_parameters(presets()[name]).total == EXACT[name]


@pytest.mark.parametrize("name", PAPERS)
def test_a_shape_has_the_parameters_that_its_paper_says(name: str) -> None:
    assert count_parameters(presets()[name]).total == pytest.approx(PAPERS[name], rel=0.035)


def test_all_published_shapes_are_counted() -> None:
    gpt = {"gpt1", "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "gpt3"}  # counted in test_models_decoder.py
    assert set(presets()) == set(EXACT) | gpt | {"transformer-base", "transformer-big"}


def test_only_language_models_can_be_trained_from_a_preset() -> None:
    assert isinstance(preset("qwen3-0.6b"), ModelConfig)
    with pytest.raises(UsageError, match="no preset"):
        preset("t5-small")
