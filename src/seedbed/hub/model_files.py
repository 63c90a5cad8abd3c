"""Choose the files of a model in a repository: weights as safetensors or GGUF, configuration, tokenizer, texts.

Weights in other forms (pickles, TensorFlow, Flax, ONNX) are left where they are: a pickle runs the code of whoever made
it when it is opened, and the others are copies. Further folders are left out, save those of sentence-transformers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from seedbed.core.errors import NotFoundError, UsageError
from seedbed.hub.repository import Listing, RemoteFile

_TEXTS = ("README.md", "LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
_CONFIGURATION = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "spm.model"),
    *("sentencepiece.bpe.model", "chat_template*", "modules.json", "sentence_bert_config.json"),
    *("config_sentence_transformers.json", "[0-9]_*/config.json", "[0-9]_*/model.safetensors"),
)
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_SPLIT_GGUF = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_PICKLE = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class ModelFiles:
    """The files to download, and the one to open: "" for the folder as a whole."""

    files: tuple[RemoteFile, ...]
    main: str = ""

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def weights(self) -> int:
        """Bytes of the weights alone."""
        return sum(file.bytes for file in self.files if file.path.endswith((".safetensors", ".gguf")))

    @property
    def stored(self) -> int:
        """About the bytes of the weights in the library: quantized GGUF files become float32."""
        if not self.main or re.search(r"b?f(16|32)", self.main, re.IGNORECASE):
            return self.weights
        return self.weights * (4 if re.search(r"q8", self.main, re.IGNORECASE) else 8)


def choose_model_files(listing: Listing, gguf: str | None = None) -> ModelFiles:
    """Choose the files of a model.

    Args:
        gguf: the GGUF file to take, by its path or its name; only needed where there are several.

    Raises:
        UsageError: there are no weights that can be read, several GGUF files, or one cut into parts.
        NotFoundError: there is no such file.
    """
    files = listing.files
    if gguf is not None:
        return _gguf(listing, _named(listing, gguf))
    weights = _safetensors(files)
    if weights:
        if not any(file.path == "config.json" for file in files):
            raise UsageError(
                f"{listing.address} cannot be loaded",
                why="it has weights but no config.json, so their architecture is not stated",
                fix="choose a repository in the format of transformers, or a GGUF file",
            )
        return ModelFiles((*weights, *_fitting(files, (*_CONFIGURATION, *_TEXTS))))
    found = [file for file in files if file.path.lower().endswith(".gguf")]
    if len(found) == 1:
        return _gguf(listing, found[0])
    if found:
        raise UsageError(
            f"{listing.address} has {len(found)} GGUF files",
            why="; ".join(f"{file.path} ({file.bytes / 1e9:.2f} GB)" for file in sorted(found, key=lambda f: f.bytes)),
            fix=f"name one: `seedbed pull {listing.address} --file {found[0].path}`",
        )
    raise _nothing(listing)


def _safetensors(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """Return the single file, else an index and its shards; like transformers, the single file where there are both."""
    whole = [file for file in files if file.path == WHOLE]
    index = [file for file in files if file.path == INDEX]
    return whole or [*index, *(file for file in files if index and _SHARD.fullmatch(file.path))]


def _fitting(files: Sequence[RemoteFile], patterns: Sequence[str]) -> list[RemoteFile]:
    return [file for file in files if any(fnmatchcase(file.path, pattern) for pattern in patterns)]


def _gguf(listing: Listing, file: RemoteFile) -> ModelFiles:
    if _SPLIT_GGUF.search(file.path):
        raise UsageError(
            f"{file.path} is a part of a model",
            why="GGUF files in several parts are not read",
            fix="choose a file in one part, or join them with llama.cpp's `llama-gguf-split --merge`"
            " and `seedbed import` the result",
        )
    return ModelFiles((file, *_fitting(listing.files, _TEXTS)), file.path)


def _named(listing: Listing, name: str) -> RemoteFile:
    found = [file for file in listing.files if file.path == name or file.path.rpartition("/")[2] == name]
    if len(found) != 1 or not found[0].path.lower().endswith(".gguf"):
        known = ", ".join(file.path for file in listing.files if file.path.lower().endswith(".gguf"))
        raise NotFoundError(
            f"{listing.address} has no GGUF file {name!r}",
            why=f"its GGUF files are {known}" if known else "it has none",
            fix="name one of them in full" if known else "leave out --file",
        )
    return found[0]


def _nothing(listing: Listing) -> UsageError:
    names = [file.path for file in listing.files]
    if "adapter_config.json" in names:
        return UsageError(
            f"{listing.address} is only an adapter",
            why="it holds LoRA matrices to be added to another model, not a model",
            fix="pull a repository in which it was merged, or merge it with peft (`merge_and_unload`) and import that",
        )
    pickles = [name for name in names if name.endswith(_PICKLE)]
    if pickles:
        return UsageError(
            f"{listing.address} has its weights only as pickle files",
            why=f"{', '.join(pickles[:3])}: opening a pickle runs whatever code its maker put into it",
            fix="see whether a pull request of the repository holds safetensors (`--revision refs/pr/1`), or convert"
            " it with transformers on a machine you can lose: "
            f"`AutoModel.from_pretrained('{listing.address.repo}').save_pretrained('DIR')`, then `seedbed import DIR`",
        )
    return UsageError(
        f"{listing.address} has no weights that can be read",
        why=f"it holds {', '.join(names[:8]) or 'nothing'}; safetensors or GGUF is needed",
        fix="choose another repository (`seedbed search`)",
    )
