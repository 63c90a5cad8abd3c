"""The edge where text becomes ids and ids become text: prompts and conversations in, streamed text out.

Streamed pieces join to exactly the decoded reply: bytes of an unfinished character wait for the rest, and text that
may begin a stop string waits until it is clear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from seedbed.core.errors import CapacityError
from seedbed.inference.decoding import Finish, Token
from seedbed.inference.generate import Generator, TokenSource
from seedbed.inference.grammar import GrammarCompiler
from seedbed.inference.parameters import Sampling
from seedbed.inference.runners.making import known_ids, make_runner
from seedbed.inference.stops import StopScanner
from seedbed.models.store import LoadedModel
from seedbed.tokenizers.streaming import StreamDecoder
from seedbed.tokenizers.tokenizer import Tokenizer

Message = Mapping[str, str]
"""``{"role": "system" | "user" | "assistant", "content": …}``"""


@dataclass(frozen=True)
class Piece:
    """One token of a reply with the text that became certain with it (often empty, sometimes several characters)."""

    text: str
    token: Token
    finish: Finish | None = None
    """Set on the last piece."""


def make_generator(loaded: LoadedModel, *, fast: bool = True) -> Generator:
    """What continues a model's prompts. Keep it for several: it remembers what they begin with.

    Args:
        fast: on the kernel where there is one, which is built on first use and copies float weights into its own
            order. False: with the model's own modules, for a model that is still changing.
    """
    runner = make_runner(loaded) if fast else None
    grammars = GrammarCompiler(loaded.tokenizer)
    known = known_ids(loaded)
    return Generator(loaded.model, end_ids(loaded.tokenizer), runner=runner, grammars=grammars, known=known)


def generate_text(
    loaded: LoadedModel, prompt: str, sampling: Sampling, generator: Generator | None = None
) -> Iterator[str]:
    """Continue a prompt, as text.

    Raises:
        CapacityError: the prompt is longer than the model's window.
    """
    return _texts(stream_pieces(loaded, prompt_ids(loaded.tokenizer, prompt), sampling, generator))


def chat_reply(
    loaded: LoadedModel, messages: Sequence[Message], sampling: Sampling, generator: Generator | None = None
) -> Iterator[str]:
    """Answer a conversation, as text. Nothing is cut: see :func:`fit_conversation`.

    Raises:
        CapacityError: the conversation is longer than the model's window.
    """
    ids, _ = loaded.tokenizer.encode_chat(messages, add_generation_prompt=True)
    return _texts(stream_pieces(loaded, ids, sampling, generator))


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """A prompt as the model's texts begin: what the tokenizer puts before a text, then the text."""
    return tokenizer.encode_prompt(prompt)


def stream_pieces(
    loaded: LoadedModel, ids: Sequence[int], sampling: Sampling, generator: TokenSource | None = None
) -> Iterator[Piece]:
    """Generate after ``ids``, and end at the first stop string.

    Args:
        generator: one made by :func:`make_generator`; a new one unless given.

    Raises:
        UsageError: the prompt is empty, or holds an id that the model does not know.
        CapacityError: the prompt is longer than the model's window.
    """
    tokens = (generator or make_generator(loaded)).stream(ids, sampling)
    return pieces_of(tokens, loaded.tokenizer, sampling)


def pieces_of(tokens: Iterator[Token], tokenizer: Tokenizer, sampling: Sampling) -> Iterator[Piece]:
    """The text of tokens as they come, up to the first stop string."""
    return _pieces(tokens, StreamDecoder(tokenizer), StopScanner(sampling.stop))


def end_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Ids that end a reply: every special token that begins or ends a document or a turn; an unknown word does not."""
    return (tokenizer.special_ids - {tokenizer.unk_id}) | {tokenizer.end_id}


def fit_conversation(
    tokenizer: Tokenizer, messages: Sequence[Message], window: int, max_tokens: int
) -> tuple[list[int], int]:
    """Encode a conversation, leaving out the oldest turns until it fits and the reply has room.

    The system message and the last question always stay. The reply's room is ``max_tokens``, but at most a quarter of
    the window, so that a short window still holds some history.

    Returns:
        the ids, and how many messages were left out.

    Raises:
        CapacityError: the system message and the last question alone do not fit.
    """
    allowed = window - min(max_tokens, window // 4)
    kept = list(messages)
    first = 1 if kept and kept[0]["role"] == "system" else 0
    while True:
        ids, _ = tokenizer.encode_chat(kept, add_generation_prompt=True)
        if len(ids) <= allowed:
            return ids, len(messages) - len(kept)
        if len(kept) <= first + 1:
            raise CapacityError(
                f"the message has {len(ids)} tokens, {allowed} are allowed",
                why=f"the model's window holds {window} tokens, and the reply needs some of them",
                fix="ask in fewer words, shorten the system message, or use a model with a longer window",
            )
        del kept[first : _next_question(kept, first)]


def _next_question(messages: Sequence[Message], first: int) -> int:
    """Where the turn that begins at ``first`` ends: at the next message of the user."""
    following = range(first + 1, len(messages))
    return next((place for place in following if messages[place]["role"] == "user"), len(messages) - 1)


def _pieces(tokens: Iterator[Token], decoder: StreamDecoder, scanner: StopScanner) -> Iterator[Piece]:
    for token in tokens:
        fresh = "" if token.finish == "end" else decoder.push(token.id)
        if token.finish:
            fresh += decoder.flush()
        shown, stopped = scanner.push(fresh)
        if stopped:
            yield Piece(shown, token, "stop")
            return
        yield Piece(shown + scanner.flush() if token.finish else shown, token, token.finish)


def _texts(pieces: Iterator[Piece]) -> Iterator[str]:
    return (piece.text for piece in pieces if piece.text)
