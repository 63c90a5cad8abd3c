"""Choose the files of a model in a repository: weights as safetensors or GGUF, configuration, tokenizer, texts.

Weights in other forms (pickles, TensorFlow, Flax, ONNX) are left where they are: a pickle runs the code of whoever made
it when it is opened, and the others are copies. Further folders are left out, save those of sentence-transformers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from seedbed.core.errors import CorruptError, NotFoundError, UsageError
from seedbed.formats.gguf.parts import part_names
from seedbed.hub.repository import Listing, RemoteFile

_TEXTS = ("README.md", "LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
_CONFIGURATION = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "spm.model"),
    *("sentencepiece.bpe.model", "chat_template*", "modules.json", "sentence_bert_config.json"),
    *("config_sentence_transformers.json", "[0-9]_*/config.json", "[0-9]_*/model.safetensors"),
)
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


def choose_model_files(listing: Listing, gguf: str | None = None, shards: Collection[str] = ()) -> ModelFiles:
    """Choose the files of a model.

    Args:
        gguf: the GGUF file to take, by its path or its name; only needed where there are several.
        shards: the files that the index names, whatever they are called (:func:`shards_of`).

    Raises:
        UsageError: there are no weights that can be read, or several GGUF models.
        NotFoundError: there is no such file.
    """
    files = listing.files
    if gguf is not None:
        return _gguf(listing, _named(listing, gguf))
    weights = _safetensors(listing, shards)
    if weights:
        if not any(file.path == "config.json" for file in files):
            raise UsageError(
                f"{listing.address} cannot be loaded",
                why="it has weights but no config.json, so their architecture is not stated",
                fix="choose a repository in the format of transformers, or a GGUF file",
            )
        return ModelFiles((*weights, *_fitting(files, (*_CONFIGURATION, *_TEXTS))))
    found = [file for file in files if file.path.lower().endswith(".gguf") and part_names(file.path)[0] == file.path]
    if len(found) == 1:
        return _gguf(listing, found[0])
    if found:
        raise UsageError(
            f"{listing.address} has {len(found)} GGUF files",
            why="; ".join(f"{file.path} ({file.bytes / 1e9:.2f} GB)" for file in sorted(found, key=lambda f: f.bytes)),
            fix=f"name one: `seedbed pull {listing.address} --file {found[0].path}`",
        )
    raise _nothing(listing)


def needs_index(listing: Listing) -> bool:
    """Return whether the index must be read to know a model's files; like transformers, the single file comes first."""
    paths = {file.path for file in listing.files}
    return INDEX in paths and WHOLE not in paths


def shards_of(index: Mapping[str, Any]) -> list[str]:
    """Return the files that an index names for its tensors. Raises CorruptError for what is no index."""
    places = index.get("weight_map")
    if not isinstance(places, Mapping) or not all(isinstance(name, str) for name in places.values()):
        raise CorruptError(f"{INDEX} is no index of shards", why="it has no weight_map", fix="choose another model")
    return list(dict.fromkeys(places.values()))


def _safetensors(listing: Listing, shards: Collection[str]) -> list[RemoteFile]:
    """Return the single file, else an index and its shards. Raises NotFoundError for a shard that is not there."""
    if not needs_index(listing):
        return [file for file in listing.files if file.path == WHOLE]
    return [listing.file(INDEX), *(listing.file(name) for name in shards)]


def _fitting(files: Sequence[RemoteFile], patterns: Sequence[str]) -> list[RemoteFile]:
    return [file for file in files if any(fnmatchcase(file.path, pattern) for pattern in patterns)]


def _gguf(listing: Listing, file: RemoteFile) -> ModelFiles:
    parts = [listing.file(name) for name in part_names(file.path)]
    return ModelFiles((*parts, *_fitting(listing.files, _TEXTS)), parts[0].path)


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
            why="it holds matrices to be added to another model, not a model",
            fix="pull the model that its adapter_config.json names as its base, download this repository's files into a"
            " folder and `seedbed import` it; then `seedbed serve MODEL --adapter`, or `seedbed merge MODEL --adapter`",
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
