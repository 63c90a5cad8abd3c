"""Build the model that a configuration describes."""

from __future__ import annotations

import torch

from seedbed.models.config import AnyConfig, EncoderDecoderConfig
from seedbed.models.decoder import Decoder
from seedbed.models.encoder_decoder import EncoderDecoder
from seedbed.models.task_model import TaskModel

AnyModel = Decoder | TaskModel | EncoderDecoder


def new_model(config: AnyConfig) -> AnyModel:
    """Build a model with weights that are not drawn yet."""
    if isinstance(config, EncoderDecoderConfig):
        return EncoderDecoder(config)
    return Decoder(config) if config.head == "lm" else TaskModel(config)


def skeleton(config: AnyConfig) -> AnyModel:
    """Build a model on the meta device: shapes without memory."""
    with torch.device("meta"):
        return new_model(config)
