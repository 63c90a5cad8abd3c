"""Adapters that PEFT wrote: patterns as regular expressions, layers trained whole, and import as adapters of a base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model

from seedbed.app.merge import merged
from seedbed.app.transfer import import_published
from seedbed.core.artifacts import Library
from seedbed.core.errors import NotFoundError, UsageError
from seedbed.models.store import load_model
from seedbed.serve.adapters import read_adapters
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

TOKENIZER = train_tokenizer(["seeds in a bed of seeds"] * 4, TokenizerSettings(kind="byte"))
IDS = torch.tensor([TOKENIZER.encode("seeds in a bed")])


def base(folder: Path) -> transformers.LlamaForCausalLM:
    torch.manual_seed(1)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=TOKENIZER.vocab_size, hidden_size=32, intermediate_size=48, num_hidden_layers=12,
            num_attention_heads=4, max_position_embeddings=64, bos_token_id=0, eos_token_id=1,
            tie_word_embeddings=False,
        )
    )  # fmt: skip
    model.save_pretrained(folder)
    TOKENIZER.save(folder)
    return model.eval()


def tuned(tmp_path: Path, **settings: Any) -> PeftModel:
    """An adapter of the model in ``base`` with random numbers in every part, saved in ``adapter`` and read by PEFT."""
    model = get_peft_model(base(tmp_path / "base"), LoraConfig(r=4, lora_alpha=8, **settings))
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(0.0, 0.2, generator=generator)
    model.peft_config["default"].base_model_name_or_path = "somewhere/base"
    model.save_pretrained(tmp_path / "adapter")
    return PeftModel.from_pretrained(base(tmp_path / "base"), tmp_path / "adapter").eval()


def imported(tmp_path: Path) -> Library:
    library = Library(tmp_path / "home")
    import_published(library, tmp_path / "base")
    return library


def close(library: Library, name: str, theirs: Any) -> None:
    with torch.no_grad():
        ours, wanted = load_model(library.get(name, "model")).model(IDS)[0], theirs(IDS).logits
    torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-4)


PATTERNS = [
    {"alpha_pattern": {r".*\.1\..*v_proj": 32}, "rank_pattern": {r"model\.layers\.\d+\.self_attn\.q_proj": 2}},
    {"alpha_pattern": {"(q|k)_proj": 3, "v_proj": 5}},
    {"alpha_pattern": {r"layers\.[02]\.self_attn\.q_proj": 64}},
    {"alpha_pattern": {"q_pro": 64, "^model.layers.1.self_attn.q_proj": 16}},
    {"alpha_pattern": {"q_proj": 2, r"layers\.1\..*": 64}, "use_rslora": True, "rank_pattern": {"v_proj": 9}},
]


@pytest.mark.parametrize("settings", PATTERNS, ids=str)
def test_patterns_are_regular_expressions_as_in_peft(tmp_path: Path, settings: dict[str, Any]) -> None:
    theirs = tuned(tmp_path, target_modules=["q_proj", "k_proj", "v_proj"], **settings)
    library = imported(tmp_path)
    merged(library, "m", ["base"], [tmp_path / "adapter"])
    close(library, "m", theirs)


def test_layers_that_were_trained_whole_are_taken(tmp_path: Path) -> None:
    theirs = tuned(tmp_path, target_modules=["q_proj"], modules_to_save=["lm_head", "embed_tokens"])
    library = imported(tmp_path)
    merged(library, "m", ["base"], [tmp_path / "adapter"])
    close(library, "m", theirs)


def test_an_adapter_with_more_tokens_names_both_numbers(tmp_path: Path) -> None:
    model, rows = base(tmp_path / "base"), TOKENIZER.vocab_size
    model.resize_token_embeddings(rows + 4)
    settings = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head", "embed_tokens"])
    get_peft_model(model, settings).save_pretrained(tmp_path / "adapter")
    with pytest.raises(UsageError, match="rows") as refused:
        merged(imported(tmp_path), "m", ["base"], [tmp_path / "adapter"])
    assert str(rows) in refused.value.why
    assert str(rows + 4) in refused.value.why


def test_a_peft_folder_is_imported_as_an_adapter_of_its_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ranks and scales of its own in every layer; it is served, and merged it is what PEFT computes."""
    theirs = tuned(tmp_path, target_modules=["q_proj", "v_proj"], **PATTERNS[0])
    library = imported(tmp_path)
    name, artifact = import_published(library, tmp_path / "adapter", "mine")
    assert (name, artifact.kind) == ("mine", "adapter")
    assert list(artifact.manifest.parents) == [library.get("base", "model").id]
    told = capsys.readouterr().err
    assert "seedbed serve base --adapter" in told
    assert "seedbed merge base --adapter" in told
    assert read_adapters(library, "base", {"served": "mine"})["served"].parts.keys() >= {"blocks.0.mixer.q"}
    merged(library, "m", ["base"], [artifact.path])
    close(library, "m", theirs)


def test_without_its_base_the_error_names_it(tmp_path: Path) -> None:
    tuned(tmp_path, target_modules=["q_proj"])
    with pytest.raises(NotFoundError, match="is an adapter") as refused:
        import_published(Library(tmp_path / "home"), tmp_path / "adapter")
    assert "somewhere/base" in refused.value.why
    assert "seedbed merge" in refused.value.fix
