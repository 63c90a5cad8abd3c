"""Train a tokenizer of one of six kinds with the ``tokenizers`` library.

``bpe`` and ``unigram`` work on bytes (written with GPT-2's byte alphabet) and know all 256 of them, so any text comes
back exactly. ``byte`` is that alphabet alone, ``char`` the characters seen. ``word`` keeps words with the space before
them, ``wordpiece`` cuts words as BERT does (spaces are not kept); what these three lack becomes ``<|unk|>``.
No kind normalizes text.

The split before merging is GPT-4's (tiktoken's cl100k_base) with one change: digits stand alone. Groups of three would
fill a quarter of a 4,096-piece vocabulary with numbers, and 1234 and 12345 would be cut at different places; single
digits keep place value visible. A run of spaces stays together, its last space joins the next word.

Left out: training with regularization (BPE dropout, subword sampling), which needs far larger models to pay.
Sources: Sennrich et al. 2016 (BPE), Kudo 2018 (unigram), Schuster and Nakajima 2012 (WordPiece).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import tokenizers
from seedbed.core.errors import DataError, UsageError
from seedbed.core.progress import progress
from seedbed.tokenizers.sample import chunks, spread_sample
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.special import MASK, SENTINEL, SPECIAL_TOKENS, UNKNOWN
from seedbed.tokenizers.token_bytes import BYTE_TO_CHARACTER
from seedbed.tokenizers.tokenizer import OURS, Tokenizer
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORD_SPLIT = r" ?[\p{L}\p{M}_]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}_]|\s+(?!\S)|\s+"
_ALPHABET = sorted(BYTE_TO_CHARACTER.values())
_SCORE_DIGITS = 6


def train_tokenizer(texts: Iterable[str], settings: TokenizerSettings) -> Tokenizer:
    """Train a tokenizer on texts. The same texts and settings give the same tokenizer, byte for byte.

    Raises:
        DataError: there is no text, or too little for the vocabulary that was asked for.
        UsageError: the vocabulary is too small to hold what this kind must have.
    """
    with progress(f"tokenizer ({settings.kind})", unit="characters") as bar:

        def counted(pieces: Iterable[str]) -> Iterator[str]:
            for piece in pieces:
                yield piece
                bar.advance(len(piece))

        made = _TRAINERS[settings.kind](counted(chunks(texts)), settings)
    more = [MASK] * settings.mask + [SENTINEL.format(number) for number in range(settings.sentinels)]
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in more])
    return Tokenizer.from_json(made.to_str(), {**OURS, "mask_token": MASK} if settings.mask else OURS)


def _train_bpe(texts: Iterable[str], settings: TokenizerSettings) -> tokenizers.Tokenizer:
    own = {"min_frequency": settings.min_frequency, "initial_alphabet": _ALPHABET}
    made, trainer = _byte_level(models.BPE(), settings), _trainer(trainers.BpeTrainer, settings, _specials(), **own)
    return _fit(made, trainer, spread_sample(texts, settings.max_bytes), settings)


def _train_unigram(texts: Iterable[str], settings: TokenizerSettings) -> tokenizers.Tokenizer:
    made = _byte_level(models.Unigram(), settings)
    trainer = _trainer(trainers.UnigramTrainer, settings, _specials(), initial_alphabet=_ALPHABET)
    fitted = _fit(made, trainer, spread_sample(texts, settings.max_bytes), settings)
    fitted.model = models.Unigram(_rounded(json.loads(fitted.to_str())["model"]["vocab"]))
    return fitted


def _trainer(
    kind: Callable[..., trainers.Trainer], settings: TokenizerSettings, specials: Sequence[str | AddedToken], **own: Any
) -> trainers.Trainer:
    return kind(vocab_size=settings.vocab_size, special_tokens=list(specials), show_progress=False, **own)


def _train_wordpiece(texts: Iterable[str], settings: TokenizerSettings) -> tokenizers.Tokenizer:
    """Train in two passes over the sample, held in memory: the characters inside words first, then the pieces.

    The library numbers "##" characters in the order of a hash map, and numbers decide which of two equally frequent
    pairs is merged. Handed in as special tokens they have the order given; the second model forgets that they were.
    """
    sample = list(spread_sample(texts, settings.max_bytes))
    first = _word_pieces({name: index for index, name in enumerate((*SPECIAL_TOKENS, UNKNOWN))})
    first.train_from_iterator(sample, trainers.WordPieceTrainer(vocab_size=1, show_progress=False))
    inner = sorted(piece for piece in first.get_vocab() if piece.startswith("##") and len(piece) == 3)
    trained = _word_pieces({})
    specials: list[str | AddedToken] = [*_specials(UNKNOWN), *inner]
    trainer = _trainer(trainers.WordPieceTrainer, settings, specials, min_frequency=settings.min_frequency)
    _fit(trained, trainer, sample, settings)
    made = _word_pieces(trained.get_vocab())
    made.add_special_tokens(_specials(UNKNOWN))
    return made


def _word_pieces(vocabulary: dict[str, int]) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.WordPiece(vocab=vocabulary, unk_token=UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(cleanup=False)
    return made


def _train_word(texts: Iterable[str], settings: TokenizerSettings) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(WORD_SPLIT), "isolated")
    made.decoder = decoders.Fuse()
    specials = _specials(UNKNOWN)
    trainer = _trainer(trainers.WordLevelTrainer, settings, specials, min_frequency=settings.min_frequency)
    return _fit(made, trainer, spread_sample(texts, settings.max_bytes), settings)


def _train_char(texts: Iterable[str], settings: TokenizerSettings) -> tokenizers.Tokenizer:
    """Collect every character of all the text (no sample: one that is missed could never be written)."""
    seen = set(chain.from_iterable(texts))
    if not seen:
        raise _no_text()
    made = tokenizers.Tokenizer(_without_merges((UNKNOWN, *sorted(seen)), unknown=UNKNOWN))
    made.decoder = decoders.Fuse()
    made.add_special_tokens(_specials(UNKNOWN))
    return made


def _train_byte(texts: Iterable[str], settings: TokenizerSettings) -> tokenizers.Tokenizer:
    """Build the 256 bytes in their order after the special tokens; nothing is learned from the text."""
    made = tokenizers.Tokenizer(_without_merges([BYTE_TO_CHARACTER[byte] for byte in range(256)]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(_specials())
    return made


_TRAINERS: dict[str, Callable[[Iterable[str], TokenizerSettings], tokenizers.Tokenizer]] = {
    "bpe": _train_bpe,
    "unigram": _train_unigram,
    "wordpiece": _train_wordpiece,
    "word": _train_word,
    "char": _train_char,
    "byte": _train_byte,
}


def _byte_level(model: models.Model, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    least = len(SPECIAL_TOKENS) + len(_ALPHABET)
    if settings.vocab_size < least:
        raise _too_small(settings, least + (settings.kind == "unigram"))
    made = tokenizers.Tokenizer(model)
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), "isolated"), as_bytes])
    made.decoder = decoders.ByteLevel()
    return made


def _without_merges(pieces: Sequence[str], unknown: str | None = None) -> models.BPE:
    """Build a model that cuts text into single characters; ids follow the special tokens."""
    vocabulary = {piece: index for index, piece in enumerate((*SPECIAL_TOKENS, *pieces))}
    return models.BPE(vocab=vocabulary, merges=[], unk_token=unknown)


def _specials(*more: str) -> list[AddedToken]:
    return [AddedToken(name, special=True, normalized=False) for name in (*SPECIAL_TOKENS, *more)]


def _fit(
    made: tokenizers.Tokenizer, trainer: trainers.Trainer, texts: Iterable[str], settings: TokenizerSettings
) -> tokenizers.Tokenizer:
    """Train, and make sure that the vocabulary has the size that was asked for."""
    read = 0

    def counted() -> Iterator[str]:
        nonlocal read
        for text in texts:
            read += len(text)
            yield text

    made.train_from_iterator(counted(), trainer=trainer)
    if read == 0:
        raise _no_text()
    possible, wanted = made.get_vocab_size(), settings.vocab_size
    if possible > wanted:  # the library's unigram trainer overshoots by far where only the alphabet fits
        raise _too_small(settings, wanted + 1 if settings.kind == "unigram" else possible)
    if possible < wanted:
        raise DataError(
            f"a vocabulary of {wanted} is larger than the text supports",
            why=f"{read:,} characters give {possible} pieces of kind {settings.kind}"
            f" with min_frequency {settings.min_frequency}",
            fix=f"ask for at most {possible} pieces, or give more text",
        )
    return made


def _rounded(vocabulary: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return the trained pieces with scores and order that do not change from run to run.

    The library adds up in the order of a hash map, and gives each byte it never met a score 0.0001 above the one
    before, in that same order. Here sums are rounded and those bytes share the lowest score.
    """
    names = set(SPECIAL_TOKENS)
    scores = {piece: score for piece, score in vocabulary if piece not in names}
    lowest = min(scores.values())
    unseen = lowest + 0.0001 * len(_ALPHABET)
    rounded = [
        (piece, round(lowest if len(piece) == 1 and score <= unseen else score, _SCORE_DIGITS))
        for piece, score in scores.items()
    ]
    return [*((name, 0.0) for name in SPECIAL_TOKENS), *sorted(rounded, key=lambda entry: (-entry[1], entry[0]))]


def _too_small(settings: TokenizerSettings, least: int) -> UsageError:
    return UsageError(
        f"a vocabulary of {settings.vocab_size} is too small for {settings.kind}",
        why=f"the special tokens and the single bytes or characters of this text alone are {least}",
        fix=f"ask for at least {least} pieces",
    )


def _no_text() -> DataError:
    return DataError(
        "there is no text to train a tokenizer on",
        why="every document is empty",
        fix="give a corpus or a file with text in it",
    )
