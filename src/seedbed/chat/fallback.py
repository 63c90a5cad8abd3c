"""Several models as one: the first that answers does, and one that failed lately is asked last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, Unpack

from seedbed.chat.messages import Delta, Message, Reply
from seedbed.chat.model import ChatModel, ReplyOptions
from seedbed.core.errors import CapacityError, DataError, SeedbedError, UsageError

T = TypeVar("T")


class Fallback:
    """Asks models in their order until one answers; implements ChatModel.

    An error that is the caller's fault (an option, a message) is raised at once: every model would say so. A stream
    falls back only before its first piece. What it says of windows and tokens holds for whichever model answers: the
    shortest window and the highest count of those that can be asked. A model that failed is asked after the others for
    ``rest`` seconds.
    """

    def __init__(self, models: Sequence[ChatModel], *, rest: float = 30.0) -> None:
        if not models:
            raise UsageError("there is no model to ask", why="the list is empty", fix="give at least one model")
        self.models, self.rest = tuple(models), rest
        self._failed: dict[int, float] = {}

    @property
    def name(self) -> str:
        """The names of all, in order."""
        return "|".join(self._all(lambda model: model.name))

    @property
    def context_window(self) -> int:
        """Tokens that prompt and reply together may have."""
        return min(self._all(lambda model: model.context_window))

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text, at most."""
        return max(self._all(lambda model: model.count_tokens(text)))

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a prompt, at most."""
        return max(self._all(lambda model: model.count_prompt(messages)))

    def reply(self, messages: Sequence[Message], **options: Unpack[ReplyOptions]) -> Reply:
        """The whole answer of the first model that gives one. Raises what they raise; see :func:`none_works`."""
        return self._first(lambda model: model.reply(messages, **options))

    def stream(self, messages: Sequence[Message], **options: Unpack[ReplyOptions]) -> Iterator[Delta]:
        """The answer of the first model that begins one, as it is written."""

        def begin(model: ChatModel) -> tuple[list[Delta], Iterator[Delta]]:
            deltas = iter(model.stream(messages, **options))
            return [delta for delta in (next(deltas, None),) if delta is not None], deltas

        head, rest = self._first(begin)
        yield from head
        yield from rest

    def _first(self, ask: Callable[[ChatModel], T]) -> T:
        errors = []
        for place in self._order():
            try:
                return ask(self.models[place])
            except SeedbedError as error:
                errors.append(self._note(place, error))
        raise none_works(errors)

    def _all(self, ask: Callable[[ChatModel], T]) -> list[T]:
        """Ask the models that can be asked; those that rest are left out while there are others."""
        found, errors = [], []
        order = self._order()
        for place in [one for one in order if not self._rests(one)] or order:
            try:
                found.append(ask(self.models[place]))
            except SeedbedError as error:
                errors.append(self._note(place, error))
        if not found:
            raise none_works(errors)
        return found

    def _note(self, place: int, error: SeedbedError) -> SeedbedError:
        """Remember that a model failed. Raises the error where it is the caller's."""
        if isinstance(error, (UsageError, DataError)):
            raise error
        if not isinstance(error, CapacityError):  # the next prompt may fit
            self._failed[place] = time.monotonic()
        return error

    def _order(self) -> list[int]:
        return sorted(range(len(self.models)), key=self._rests)

    def _rests(self, place: int) -> bool:
        return place in self._failed and time.monotonic() - self._failed[place] < self.rest


def none_works(errors: Sequence[SeedbedError]) -> SeedbedError:
    """One error for several: of their kind, where they are of one."""
    if len(errors) == 1:
        return errors[0]
    kinds = {type(error) for error in errors}
    kind = kinds.pop() if len(kinds) == 1 else SeedbedError
    why = "; ".join(f"{error.what} ({error.why})" for error in errors)
    return kind("none of the models answers", why=why, fix=errors[0].fix)
