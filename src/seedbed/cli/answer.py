"""A streamed answer of a chat model, timed while it comes."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from seedbed.chat.messages import Delta, Reply


@dataclass
class StreamedAnswer:
    """An answer as it comes; ``reply`` is set at its end. Times are of ``time.perf_counter()``."""

    texts: list[str] = field(default_factory=list)
    reply: Reply | None = None
    started: float = field(default_factory=time.perf_counter)
    first: float = 0.0

    def read(self, deltas: Iterator[Delta]) -> Generator[Delta]:
        """Yield the same pieces. Closing it ends the answer."""
        try:
            for delta in deltas:
                self.first = self.first or time.perf_counter()
                self.texts.append(delta.text)
                self.reply = delta.reply or self.reply
                yield delta
        finally:
            if isinstance(deltas, Generator):
                deltas.close()

    def report(self) -> dict[str, object]:
        """Return the whole answer as JSON values; times in seconds."""
        assert self.reply is not None  # on the last piece
        reply, seconds = self.reply, time.perf_counter() - self.started
        return {
            "model": reply.model,
            "text": reply.text,
            "finish": reply.finish,
            "prompt_tokens": reply.usage.prompt_tokens,
            "completion_tokens": reply.usage.completion_tokens,
            "logprobs": reply.logprobs,
            "seconds_to_first_token": round(self.first - self.started, 4),
            "seconds": round(seconds, 4),
            "tokens_per_second": round(reply.usage.completion_tokens / seconds, 1),
        }
