"""Limits of one server, all that a request can meet."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed.core.config import setting


@dataclass(frozen=True)
class ServeSettings:
    """Limits of a server; sizes in bytes, times in seconds."""

    memory_bytes: int = setting(4 << 30, "Weights and caches of all loaded models together.", at_least=1)
    cache_bytes: int = setting(1 << 30, "Keys and values of one model.", at_least=1)
    hosts: tuple[str, ...] = setting((), "Host names it answers to, besides localhost and addresses.")
    body_bytes: int = setting(4 << 20, "Largest request body.", at_least=1)
    bodies_bytes: int = setting(256 << 20, "Bodies of all requests together; a key may have half.", at_least=1)
    body_seconds: float = setting(30.0, "Time for a request body to arrive.", at_least=0.01)
    header_seconds: float = setting(10.0, "Time for the headers of a request to arrive.", at_least=0.01)
    json_depth: int = setting(64, "Deepest nesting of a request body.", at_least=1)
    request_seconds: float = setting(
        600.0, "Time for a reply; what is not written then ends with an error.", at_least=0.1
    )
    send_seconds: float = setting(60.0, "Time for a reader to take what was sent.", at_least=0.01)
    buffer_events: int = setting(4096, "Tokens a stream may be ahead of its reader.", at_least=1)
    drain_seconds: float = setting(
        30.0, "Time for running requests to end when the server is told to stop.", at_least=0
    )
    text_chars: int = setting(1_000_000, "Longest text that is tokenized for one prompt.", at_least=1)
    work_waiting: int = setting(256, "Requests of one key that may wait to be tokenized.", at_least=1)
    chains: int = setting(16, "Questions to documents that are answered at once.", at_least=1)
    key_chains: int = setting(4, "Of these, questions of one key.", at_least=1)
    chains_waiting: int = setting(32, "Questions of one key that may wait.", at_least=1)
    stored_bytes: int = setting(64 << 20, "Stored responses of one key.", at_least=1)
    stored_seconds: float = setting(30 * 86400.0, "Age at which a stored response is deleted.", at_least=1)
