"""The sampling that a published model asks for: its generation_config.json, as its artifact keeps it, in our terms.

Read are temperature, top_k, top_p, min_p, repetition_penalty and the tokens that end a reply (those of its config.json
too); ``do_sample: false`` is temperature 0. A value of the wrong type or out of range is left out, and a remark says
so. Left out on purpose: the length of a reply, beams and rules on repeated n-grams; of GGUF files, samplers that there
are none of here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from seedbed.core.errors import UsageError
from seedbed.inference.parameters import Sampling

_WHOLE = {one.name for one in fields(Sampling) if isinstance(one.default, int)}


@dataclass(frozen=True)
class PublishedSampling:
    """The sampling that publishers state for a model; None where they say nothing.

    ``ends``: ids of tokens that end a reply. ``remarks``: what is stated and cannot be used, with the reason.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    ends: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def values(self) -> dict[str, float]:
        """The parameters of sampling that are stated."""
        stated = {name: getattr(self, name) for name in SAMPLED}
        return {name: value for name, value in stated.items() if value is not None}

    def over(self, sampling: Sampling) -> Sampling:
        """Return a sampling with what is stated in place of what it has."""
        return replace(sampling, **self.values)  # type: ignore[arg-type]


NOTHING_STATED = PublishedSampling()
"""Of a model whose publishers say nothing, and of completions, which are as they are asked for."""
SAMPLED = tuple(one.name for one in fields(PublishedSampling) if one.name not in ("ends", "remarks"))
"""The parameters of sampling that a model can state."""


def published_sampling(published: Mapping[str, Any], tokens: int) -> PublishedSampling:
    """Read the sampling of a model as it was published (``Loaded.published``); it has so many tokens."""
    stated, remarks = published.get("generation") or {}, list[str]()
    if not isinstance(stated, Mapping):
        return PublishedSampling(remarks=("it is no JSON object",))
    values = {name: value for name in SAMPLED if (value := _value(name, stated.get(name), remarks)) is not None}
    if stated.get("do_sample") is False:
        values["temperature"] = 0.0
    config = published.get("config") or {}
    ends = dict.fromkeys(end for table in (stated, config) for end in _ends(table.get("eos_token_id"), tokens, remarks))
    return PublishedSampling(**values, ends=tuple(ends), remarks=tuple(dict.fromkeys(remarks)))


def _value(name: str, value: object, remarks: list[str]) -> Any:
    """Return a parameter that is stated and can be used, or None, with a remark."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int if name in _WHOLE else (int, float)):
        remarks.append(f"{name} is {_short(value)}, which is no {'whole ' if name in _WHOLE else ''}number")
        return None
    try:
        Sampling(**{name: value})  # type: ignore[arg-type]
    except UsageError as error:
        remarks.append(f"{error.what}: {error.why}")
        return None
    return value if name in _WHOLE else float(value)


def _ends(stated: object, tokens: int, remarks: list[str]) -> Iterator[int]:
    for one in stated if isinstance(stated, list) else [stated]:
        if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < tokens:
            yield one
        elif one is not None:
            remarks.append(f"eos_token_id is {_short(one)}, and the model has the tokens 0 to {tokens - 1}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
