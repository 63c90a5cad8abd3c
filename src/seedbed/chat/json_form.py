"""Replies in JSON that follow a schema: by mask where tokens are masked, and checked everywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from seedbed.chat.parsing import SPACE, misshapen
from seedbed.chat.wire import whole_text
from seedbed.core.errors import UsageError
from seedbed.inference.parameters import Grammar

_FENCE = re.compile(r"```[a-zA-Z]*\n(.*)\n```", re.DOTALL)


@dataclass(frozen=True)
class JsonForm:
    """JSON that follows a schema (draft 2020-12, unless it names another); references to other files are not followed.

    Raises:
        UsageError: the schema is none.
    """

    schema: Mapping[str, Any]

    def __post_init__(self) -> None:
        _ = self._validator

    @property
    def grammar(self) -> Grammar:
        """The schema."""
        return Grammar("json_schema", json.dumps(self.schema))

    @property
    def instruction(self) -> str:
        """The schema in a sentence."""
        return f"Answer with JSON that follows this schema, and nothing else: {json.dumps(self.schema)}"

    def parse(self, text: str) -> Any:
        """The JSON value. A fence around it, as in Markdown, is left out: many models write one.

        Half a character of UTF-16, which an escape can write and no file can hold, becomes U+FFFD.
        """
        fenced = _FENCE.fullmatch(text.strip(SPACE))
        bare = fenced[1] if fenced else text.strip(SPACE)
        try:
            value = json.loads(bare, parse_constant=_no_constant)
            if "\\u" in bare:
                value = json.loads(whole_text(json.dumps(value, ensure_ascii=False)))
            wrong = next(self._validator.iter_errors(value), None)
        except (ValueError, RecursionError) as error:
            raise misshapen("no JSON", str(error), text) from error
        if wrong is not None:
            where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in wrong.instance_path)
            raise misshapen("not of its schema", f"${where}: {wrong.message[:200]}", text)
        return value

    @cached_property
    def _validator(self) -> Any:
        import jsonschema_rs  # here, so that whoever needs no schema does not load it

        try:
            return jsonschema_rs.validator_for(dict(self.schema), retriever=_no_file)
        except (ValueError, TypeError) as error:
            raise UsageError("the JSON schema cannot be used", why=str(error)[:200], fix="correct it") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _no_file(uri: str) -> NoReturn:
    raise ValueError(f"{uri[:80]} is another file: schemas here stand alone")
