"""A tiny model with a byte tokenizer: in a library, and as a published folder."""

from __future__ import annotations

from pathlib import Path

import torch

from seedbed.core.artifacts import Artifact, Library
from seedbed.formats.exporting import export_huggingface, load_for_export
from seedbed.models.decoder import Decoder
from seedbed.models.presets import default_model
from seedbed.models.store import save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer


def tiny_model(
    library: Library, name: str, *parents: Artifact, licence: str = "mit", seed: int = 0, pieces: bool = False
) -> Artifact:
    """A model of one layer with random weights, stored under a name; its tokens are bytes, or pieces."""
    torch.set_num_threads(1)
    settings = TokenizerSettings(vocab_size=270) if pieces else TokenizerSettings(kind="byte")
    tokenizer = train_tokenizer(["some text of some words, some of them again " * 9], settings)
    model = Decoder(default_model(1, tokenizer.vocab_size, 64, d_model=64, n_heads=2, d_ff=128))
    model.initialise(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed + 1)))
    with library.writing("model", parents=parents, name=name) as draft:
        draft.licence = licence
        draft.metrics = {"valid_loss": 5.25}
        save_model(draft.path, model.eval(), tokenizer)
    return draft.result


def published_folder(tmp_path: Path) -> Path:
    """The same as others publish it."""
    folder = tmp_path / "published"
    export_huggingface(load_for_export(tiny_model(Library(tmp_path / "maker"), "tiny")), folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    return folder
