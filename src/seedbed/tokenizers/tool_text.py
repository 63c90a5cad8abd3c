"""Tools as text: the description of functions, the calls of them and their results, in prompts and in training data.

The form is that of Hermes and Qwen models, ``<tool_call>{"name": …, "arguments": {…}}</tool_call>``. Left out:
templates with a form of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_ONE, _SEVERAL = "a function. To call one", "functions. To call one or several"
_PROMPT = """\
You may call {called}, end your reply with
<tool_call>{{"name": "…", "arguments": {{…}}}}</tool_call>
These are the functions:
"""
RESULT = "<tool_response"
_RESULT = RESULT + ' name="{name}">\n{content}\n</tool_response>'


def describe_functions(functions: Sequence[Mapping[str, Any]], several: bool = False) -> str:
    """Describe functions for the system message, each a table with name, description and parameters."""
    told = _PROMPT.format(called=_SEVERAL if several else _ONE)
    return told + "\n".join(json.dumps(function, ensure_ascii=False) for function in functions)


def tell_functions(
    messages: Sequence[dict[str, Any]], functions: Sequence[Mapping[str, Any]], several: bool = False
) -> list[dict[str, Any]]:
    """Return messages with the description of functions in the system's, after what it says."""
    has_system = messages[0]["role"] == "system"
    first = messages[0]["content"] + "\n\n" if has_system else ""
    system = {"role": "system", "content": first + describe_functions(functions, several)}
    return [system, *messages[has_system:]]


def write_call(name: str, arguments: str) -> str:
    """Write a call as the model does; ``arguments`` is a JSON object as text."""
    return f'{OPEN}{{"name": {json.dumps(name)}, "arguments": {arguments}}}{CLOSE}'


def write_result(name: str, content: str) -> str:
    """Write the result of a call for a message of the user."""
    return _RESULT.format(name=name, content=content)
