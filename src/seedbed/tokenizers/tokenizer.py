"""A tokenizer: text to ids and back, special tokens, chat, and the hash that ties models to it.

Wraps the ``tokenizers`` library. Special tokens spelled in a text are plain text to :meth:`Tokenizer.encode`; only the
chat template's own text may write them. Files are Hugging Face's (``tokenizer.json``, ``tokenizer_config.json``), so
``transformers`` loads what is saved here and :meth:`Tokenizer.from_file` loads what others published
(``open_tokenizer`` loads folders without a ``tokenizer.json``). Tokens that a published tokenizer puts around a text
are not part of :meth:`Tokenizer.encode`; :meth:`Tokenizer.wrap` and :meth:`Tokenizer.encode_prompt` add it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from seedbed.core import files
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CorruptError, NotFoundError, UsageError
from seedbed.core.library_errors import library_errors
from seedbed.tokenizers import published
from seedbed.tokenizers.bounds import check_table
from seedbed.tokenizers.chat_spans import (
    MessageSpan,
    RewrittenContents,
    generation_header,
    render_spans,
    segments,
    turn_text,
)
from seedbed.tokenizers.chat_template import DEFAULT_TEMPLATE, check_variables, in_first_turn, read_texts, render
from seedbed.tokenizers.plain import PlainText, library_tokenizer
from seedbed.tokenizers.special import BOS, END, PAD
from seedbed.tokenizers.token_bytes import BYTE_TO_CHARACTER, Spelling, spelling_of
from seedbed.tokenizers.tokenizer_json import keeps_text, processor_ids, steps_of

TOKENIZER_FILE = "tokenizer.json"
_KEPT = (
    "model_max_length",
    "padding_side",
    "truncation_side",
    "model_input_names",
    "add_bos_token",
    "add_eos_token",
)  # entries of a configuration that others act on, written again as they were
OURS = {"bos_token": BOS, "eos_token": END, "pad_token": PAD, "chat_template": DEFAULT_TEMPLATE}


class Tokenizer:
    """Text to ids and back. Made by :meth:`from_file`, :meth:`open`, :meth:`from_json` or ``train_tokenizer``."""

    def __init__(self, text: str, config: Mapping[str, Any]) -> None:
        """Use the text of a ``tokenizer.json`` with the entries of a ``tokenizer_config.json``."""
        self.table: Mapping[str, Any] = json.loads(text)  # the whole ``tokenizer.json``; not to be changed
        check_table(self.table)
        self._inner = library_tokenizer(text)
        self.model_kind = str(self.table["model"]["type"])  # "BPE", "Unigram", "WordPiece" or "WordLevel"
        self._names = {key: published.token_name(config.get(key)) for key in published.NAMED_TOKENS}
        self._listed = published.listed_names(config)
        self._config = {key: config[key] for key in (*_KEPT, "clean_up_tokenization_spaces") if key in config}
        self.chat_templates: dict[str, str] = published.templates_by_name(config.get("chat_template"))
        self.chat_template: str = self.chat_templates.get(published.DEFAULT_NAME, DEFAULT_TEMPLATE)
        added = self._inner.get_added_tokens_decoder()
        self._added = {index: token.content for index, token in added.items()}
        # ids by piece, as ``tokenizer.json`` spells them; not to be changed
        self.vocabulary: Mapping[str, int] = self._inner.get_vocab(with_added_tokens=True)
        self._flagged = frozenset(index for index, token in added.items() if token.special)

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """Load a ``tokenizer.json`` (or the folder that holds it) and the configuration beside it.

        Raises NotFoundError where there is no such file, CorruptError where it is not a tokenizer.
        """
        path = path / TOKENIZER_FILE if path.is_dir() else path
        if not path.is_file():
            raise NotFoundError(f"there is no tokenizer {path}", why="no such file", fix=f"name a {TOKENIZER_FILE}")
        with library_errors(lambda why: _not_a_tokenizer(str(path), why)):
            text = published.read_text(path)
            config = published.read_saved(path.parent)
        return cls.from_json(text, config, origin=str(path))

    @classmethod
    def open(cls, artifact: Artifact) -> Tokenizer:
        """Load a stored tokenizer; raises CorruptError where a file no longer has the hash it was stored with."""
        artifact.verify()
        return cls.from_file(artifact.file(TOKENIZER_FILE))

    @classmethod
    def from_json(
        cls, text: str, config: Mapping[str, Any] | None = None, *, origin: str = TOKENIZER_FILE
    ) -> Tokenizer:
        """Make one from the text of a ``tokenizer.json``; without a configuration, our special tokens and template.

        Raises CorruptError where the text is not a tokenizer.
        """
        with library_errors(lambda why: _not_a_tokenizer(origin, why)):
            return cls(text, OURS if config is None else config)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json``, which ``transformers`` loads too."""
        files.write_text(folder / TOKENIZER_FILE, self._inner.to_str(pretty=True) + "\n")
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **{key: name for key, name in self._names.items() if name},
            "clean_up_tokenization_spaces": False,
            **self._config,
            **({"extra_special_tokens": self._listed} if self._listed else {}),
            **({"chat_template": published.written_templates(self.chat_templates)} if self.chat_templates else {}),
        }
        files.write_json(folder / published.CONFIG_FILE, config)

    def store(
        self,
        library: Library,
        parents: Iterable[Artifact] = (),
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Artifact:
        """Keep it in the library as an artifact of kind "tokenizer"."""
        with library.writing("tokenizer", parents=parents, config=config, name=name) as draft:
            self.save(draft.path)
            draft.metrics.update(vocab_size=self.vocab_size, hash=self.hash)
        return draft.result

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical ``tokenizer.json`` and the chat template: equal hashes give equal ids."""
        canonical = json.loads(self._inner.to_str())
        return files.sha256_text(files.canonical_json({"tokenizer": canonical, "chat_template": self.chat_template}))

    def require(self, hash: str, what: str) -> None:
        """Refuse by a UsageError to work with what another tokenizer made, one with another ``hash``."""
        if hash != self.hash:
            raise UsageError(
                f"{what} was made with another tokenizer",
                why=f"it needs the tokenizer with hash {hash[:12]}…, this one has {self.hash[:12]}…",
                fix="use the tokenizer it was made with (`seedbed show` names it), or make it again with this one",
            )

    @cached_property
    def vocab_size(self) -> int:
        """Rows an embedding needs: the highest id plus one."""
        return max(self.vocabulary.values()) + 1

    @cached_property
    def bos_id(self) -> int:
        """The token that begins a document; the end token where a published tokenizer has none."""
        return self._id_of("bos_token", "eos_token")

    @cached_property
    def end_id(self) -> int:
        """The token that ends a document and a chat turn (eos)."""
        return self._id_of("eos_token")

    @cached_property
    def pad_id(self) -> int:
        """The token that fills batches; the end token where a published tokenizer has none."""
        return self._id_of("pad_token", "eos_token")

    @cached_property
    def unk_id(self) -> int | None:
        """The token for text that the vocabulary lacks; None where nothing is lacking."""
        model = self.table["model"]
        if model["type"] == "Unigram":
            found: int | None = model.get("unk_id")
            return found
        return self.vocabulary.get(model.get("unk_token") or "")

    @cached_property
    def is_lossless(self) -> bool:
        """Return whether any text comes back exactly: all 256 bytes are pieces and nothing normalizes."""
        splits = steps_of(self.table, "pre_tokenizer")
        return (
            self.table.get("normalizer") is None
            and any(step["type"] == "ByteLevel" for step in splits)
            and all(keeps_text(step) for step in splits)
            and any(step["type"] == "ByteLevel" for step in steps_of(self.table, "decoder"))
            and all(character in self.vocabulary for character in BYTE_TO_CHARACTER.values())
        )

    @property
    def has_template(self) -> bool:
        """Return whether the chat template is its own, and not our default."""
        return published.DEFAULT_NAME in self.chat_templates

    @cached_property
    def takes_system(self) -> bool:
        """Return whether the chat template takes a message of the system and prints it."""
        said = [{"role": "system", "content": "seedbed"}, {"role": "user", "content": "a"}]
        try:
            return "seedbed" in self.render_chat(said, add_generation_prompt=True)
        except UsageError:
            return False

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids of special tokens: those with the flag, and those that the chat template writes around contents.

        Published tokenizers leave the flag out for some that end turns. What a template looks for in contents, such as
        ``</think>``, is none.
        """
        sought = " ".join(read_texts(self.chat_template)).replace("</", "<")
        found = (index for index in self._own_ids if self._added[index] in self._turn_text)
        return self._flagged | {index for index in found if self._added[index].replace("</", "<") not in sought}

    @cached_property
    def _own_ids(self) -> frozenset[int]:
        """The ids of added tokens that the chat template spells or writes: no text of a user may write them."""
        marks = {index: text for index, text in self._added.items() if not (text.isspace() or text.strip().isalnum())}
        spelled = {index for index, text in marks.items() if text in self.chat_template}
        if marks.keys() <= self._flagged | spelled:
            return frozenset(spelled)
        return frozenset(spelled | {index for index, text in marks.items() if text in self._turn_text})

    @cached_property
    def _turn_text(self) -> str:
        return turn_text(self.chat_template, **self._spelled_names)

    @property
    def drops_first_space(self) -> bool:
        """Return whether the first space of a decoded text only marks a first word (WordPiece, SentencePiece)."""
        return self._spelling.drops_first_space

    def encode(self, text: str) -> list[int]:
        """Return ids of a text, without special tokens; special tokens spelled in it are plain text.

        Raises DataError for a lone surrogate, which is no Unicode text.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return ids of several texts, on all cores; as :meth:`encode`."""
        return self._plain.encode(texts)

    def wrap(self, ids: Sequence[int]) -> list[int]:
        """Return ids of a text with the tokens around it, such as [CLS] and [SEP]; nothing around ours."""
        before, after = self.wrap_ids
        return [*before, *ids, *after]

    def encode_prompt(self, text: str) -> list[int]:
        """Return ids of a text that a model is to continue, begun as the model's texts begin.

        With the tokens that the tokenizer puts before a text; where none are stated, with the bos token if there is
        one that is not the eos token too (which stands between texts).
        """
        before, _ = self.wrap_ids
        return [*(before or [self.bos_id] * self.begins_with_bos), *self.encode(text)] or [self.bos_id]

    @cached_property
    def begins_with_bos(self) -> bool:
        """Return whether texts begin with the bos token by default: there is one, and it is not the eos token too."""
        bos, eos = self._names["bos_token"], self._names["eos_token"]
        return "add_bos_token" not in self._config and bos != eos and bos in self.vocabulary

    @property
    def names(self) -> Mapping[str, str]:
        """Special tokens by their role, ``bos_token`` and so on, as far as they have one and are there."""
        return {key: name for key, name in self._names.items() if name is not None and name in self.vocabulary}

    @cached_property
    def wrap_ids(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids that :meth:`wrap` puts before a text and after it."""
        return processor_ids(self.table.get("post_processor"))

    @cached_property
    def _plain(self) -> PlainText:
        return self._closed_to(self.special_ids)

    @cached_property
    def _plain_for_users(self) -> PlainText:
        return self._closed_to(self.special_ids | self._own_ids)

    def _closed_to(self, ids: frozenset[int]) -> PlainText:
        """Return an encoder of plain text that gives none of these ids."""
        if ids == self._flagged:
            return PlainText(self.table, self._inner)
        added = [{**token, "special": token["id"] in ids} for token in self.table.get("added_tokens") or ()]
        return PlainText(table := {**self.table, "added_tokens": added}, library_tokenizer(json.dumps(table)))

    def decode(self, ids: Iterable[int], *, keep_special: bool = False) -> str:
        """Return the text of ids; invalid UTF-8 becomes U+FFFD, special tokens are left out unless asked for."""
        parts = (self._spelled(index) if keep_special else self.token_bytes(index) for index in ids)
        data = b"".join(parts)
        return (data.removeprefix(b" ") if self.drops_first_space else data).decode("utf-8", "replace")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        r"""Return readable pieces, one an id; bytes of an incomplete character as ``\xe2``."""
        return [self._spelled(index).decode("utf-8", "backslashreplace") for index in ids]

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes one token stands for; b"" for special tokens (the unknown token spells its name)."""
        return b"" if token in self.special_ids and token != self.unk_id else self._spelled(token)

    def render_chat(self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = False) -> str:
        """Return the text of a chat, special tokens spelled out; raises UsageError where the template fails."""
        return "".join(span.text for span in self._spans(messages, add_generation_prompt, {}))

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool = False,
        variables: Mapping[str, object] | None = None,
    ) -> tuple[list[int], list[bool]]:
        """Return ids of a chat, and for each whether an assistant writes it: its contents, what the template puts
        between a reply's header and them, and the end of the turn. Of a message of ``weight`` 0 nothing counts: it is
        not to be learned. Where the template has no place for a system, its text begins the first user's turn.

        Text is cut into tokens at the template's tokens and around what an assistant writes, where generation begins
        too. ``variables`` are further ones of the template. Raises UsageError where the template fails, refuses these
        messages, or does not read a variable that says something.
        """
        ids: list[int] = []
        mask: list[bool] = []
        told = messages if self.takes_system else in_first_turn(messages)
        spans = self._spans(told, add_generation_prompt, variables or {})
        before = None
        for segment in segments(spans, self._token_pattern, self._header):
            plain = self._plain if segment.written else self._plain_for_users
            if segment.special:
                found = [self.vocabulary[segment.text]]
            else:
                found = plain.encode_part(segment.text, first=before is None, after_text=before is False)
            before = segment.special
            ids += found
            mask += [segment.written and segment.learned] * len(found)
        return ids, mask

    def _spans(
        self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool, variables: Mapping[str, object]
    ) -> list[MessageSpan]:
        check_variables(self.chat_template, variables, self._spelled_names)
        told = {**variables, **self._spelled_names, "add_generation_prompt": add_generation_prompt}
        try:
            return render_spans(self.chat_template, messages, **told)
        except RewrittenContents:  # a prompt is needed without a mask, if no content spells a token
            if not add_generation_prompt or any(self._token_pattern.search(one["content"]) for one in messages):
                raise
            return [MessageSpan(render(self.chat_template, messages, **told))]

    @cached_property
    def _header(self) -> str:
        return generation_header(self.chat_template, **self._spelled_names)

    @property
    def _spelled_names(self) -> dict[str, str]:
        return {key: name or "" for key, name in self._names.items()}

    @cached_property
    def _token_pattern(self) -> re.Pattern[str]:
        """A pattern of the template's tokens in its text, longest first, with the spaces some of them swallow."""
        ids = self.special_ids | self._own_ids
        added = [token for index, token in self._inner.get_added_tokens_decoder().items() if index in ids]
        alternatives = (
            (r"\s*" if token.lstrip else "") + re.escape(token.content) + (r"\s*" if token.rstrip else "")
            for token in sorted(added, key=lambda token: -len(token.content))
        )
        return re.compile(f"({'|'.join(alternatives)})") if added else re.compile("((?!))")

    @cached_property
    def _spelling(self) -> Spelling:
        return spelling_of(self.table)

    @cached_property
    def _bytes(self) -> dict[int, bytes]:
        """Bytes of every id; added tokens stand for their own text."""
        to_bytes = self._spelling.to_bytes
        holes = dict.fromkeys(range(self.vocab_size), b"")  # numbers that a published vocabulary left out
        known = {index: to_bytes(piece) for piece, index in self.vocabulary.items() if index not in self._added}
        return holes | known | {index: content.encode() for index, content in self._added.items()}

    def _spelled(self, token: int) -> bytes:
        try:
            return self._bytes[token]
        except KeyError:
            why = f"the vocabulary has ids 0 to {self.vocab_size - 1}"
            raise UsageError(f"there is no token {token}", why=why, fix="use ids this tokenizer made") from None

    def _id_of(self, *keys: str) -> int:
        for key in keys:
            name = self._names[key]
            if name is not None and name in self.vocabulary:
                return self.vocabulary[name]
        why = f"{published.CONFIG_FILE} names none that is in the vocabulary"
        fix = f'add "{keys[-1]}": "…" to the {published.CONFIG_FILE} beside its {TOKENIZER_FILE}'
        raise UsageError(f"this tokenizer has no {keys[0]}", why=why, fix=fix)


def _not_a_tokenizer(origin: str, why: str) -> CorruptError:
    usual = why, "give a tokenizer.json, or train one with `seedbed tokenizer train`"
    why, fix = files.mistaken(Path(origin)) or usual
    return CorruptError(f"{origin} is not a tokenizer", why=why, fix=fix)
