"""Replies with a form: a choice, a list, a regular expression, JSON that follows a schema.

Each form gives the grammar that keeps a model to it where tokens are masked (the local engine, our server, vLLM), and
is checked again in every reply, since other servers promise less. What does not fit is an error that says what the
model wrote and where it goes wrong. Regular expressions run on the grammar's own engine, in linear time, and mean here
what they mean under the mask.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn, Protocol, TypeVar

from seedbed.chat.wire import whole_text
from seedbed.core.errors import DataError, UsageError
from seedbed.inference.parameters import Grammar

Value = TypeVar("Value", covariant=True)
SPACE = " \t\r\n"  # white space allowed around a value: less than Python strips, so that nothing a mask allows is lost

_FENCE = re.compile(r"```[a-zA-Z]*\n(.*)\n```", re.DOTALL)
_SHOWN = 200


class Form(Protocol[Value]):
    """The form of a reply, and the value in it."""

    @property
    def grammar(self) -> Grammar:
        """The grammar that masks tokens."""

    @property
    def instruction(self) -> str:
        """The form in words, for models that are not masked."""

    def parse(self, text: str) -> Value:
        """The value of a reply; white space around it does not count. Raises DataError where it has another form."""


@dataclass(frozen=True)
class Choice:
    """One of several texts. Raises UsageError where there are none, or one is empty or has white space around it."""

    options: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.options or any(not one or one != one.strip(SPACE) for one in self.options):
            fix = "give some, none of them empty or with spaces around it"
            raise UsageError("these are no choices", why=str(self.options)[:_SHOWN], fix=fix)

    @property
    def grammar(self) -> Grammar:
        """The options."""
        return Grammar("choice", json.dumps(self.options))

    @property
    def instruction(self) -> str:
        """The options in a sentence."""
        return f"Answer with one of these, and nothing else: {'; '.join(self.options)}"

    def parse(self, text: str) -> str:
        """The option."""
        if (found := text.strip(SPACE)) not in self.options:
            raise misshapen("no choice", f"the choices are {', '.join(map(repr, self.options))}"[:_SHOWN], text)
        return found


@dataclass(frozen=True)
class Regex:
    """Text of which all matches a regular expression in the syntax of Rust's ``regex``. Raises UsageError for none."""

    pattern: str

    def __post_init__(self) -> None:
        _follow(self.grammar, "")

    @property
    def grammar(self) -> Grammar:
        """The expression."""
        return Grammar("regex", self.pattern)

    @property
    def instruction(self) -> str:
        """The expression in a sentence."""
        return f"Answer with text that this regular expression matches, and nothing else: {self.pattern}"

    def parse(self, text: str) -> str:
        """The text; white space around it is kept where the expression wants it."""
        found = text if _follow(self.grammar, text) is None else text.strip(SPACE)
        place = _follow(self.grammar, found)
        if place is not None:
            went = f"it ends too early, after {found[-20:]!r}" if place == len(found) else f"at {found[place:][:20]!r}"
            raise misshapen(f"no match of {self.pattern[:80]}", f"{went} (character {place})", text)
        return found


@dataclass(frozen=True)
class ListForm:
    """Items with commas or line breaks between them. A small model would never end a list without a limit."""

    separator: str = ","  # or a line break; no item holds it
    at_least: int = 1
    at_most: int = 20
    longest: int = 80  # characters of an item

    def __post_init__(self) -> None:
        if self.separator not in (",", "\n") or not 1 <= self.at_least <= self.at_most or self.longest < 1:
            fix = "separate by a comma or a line break; 1 ≤ at_least ≤ at_most; longest ≥ 1"
            raise UsageError("this is no form of a list", why=str(self), fix=fix)

    @property
    def grammar(self) -> Grammar:
        """Items without the separator or a line break, not beginning or ending with white space."""
        inner, edge = r"[^,\n]", r"[^,\s]"
        if self.separator == "\n":
            inner, edge = r"[^\n]", r"\S"
        item = edge + (f"({inner}{{0,{self.longest - 2}}}{edge})?" if self.longest > 1 else "")
        between = ", " if self.separator == "," else r"\n"
        return Grammar("regex", f"{item}({between}{item}){{{self.at_least - 1},{self.at_most - 1}}}")

    @property
    def instruction(self) -> str:
        """The form in a sentence."""
        between = "commas between them" if self.separator == "," else "each on a line of its own"
        return f"Answer with a list of {self.at_least} to {self.at_most} items, {between}, and nothing else."

    def parse(self, text: str) -> list[str]:
        """The items, without white space around them."""
        items = [item.strip(SPACE) for item in text.strip(SPACE).split(self.separator)]
        if not self.at_least <= len(items) <= self.at_most:
            raise misshapen("no such list", f"{len(items)} items, not {self.at_least} to {self.at_most}", text)
        for place, item in enumerate(items, 1):
            if not item or len(item) > self.longest or "\n" in item:
                why = f"item {place} is {item[:40]!r}, not one line of 1 to {self.longest} characters"
                raise misshapen("no such list", why, text)
        return items


@dataclass(frozen=True)
class JsonForm:
    """JSON that follows a schema (draft 2020-12, unless it names another); references to other files are not followed.

    Raises UsageError where the schema is none.
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


def _follow(grammar: Grammar, text: str) -> int | None:
    """Return the character at which a text leaves a grammar; None where all of it follows."""
    from seedbed.inference.grammar import follow

    done, complete = follow(grammar, text)
    return None if complete else done


def misshapen(what: str, where: str, text: str) -> DataError:
    """Return the error for a reply of another form: the form, the place, and the text that the model wrote."""
    cut = "…" if len(text) > _SHOWN else ""
    why = f"{where}; the model wrote {text[:_SHOWN]!r}{cut}"
    return DataError(f"the reply is {what}", why=why, fix="ask again, allow more tokens, or use a model that masks")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _no_file(uri: str) -> NoReturn:
    raise ValueError(f"{uri[:80]} is another file: schemas here stand alone")
