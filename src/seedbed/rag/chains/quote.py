"""Quote: the model chooses, but can only write runs of words that stand in the passages. One call of the model.

The prompt is that of "stuff"; the reply is masked (llguidance's ``substring_words``) to one run of a passage's words,
or several with "…" between them, or the sentence for what is not there. So an answer may be the wrong words, but never
invented ones. What a server that ignores the mask writes beside the passages is not shown as an answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Unpack

from seedbed.chat.model import ChatModel, ReplyOptions
from seedbed.documents.document import Chunk
from seedbed.inference.parameters import GRAMMAR_LENGTH, Grammar
from seedbed.rag.chains.run import StreamedChain, Writing, chain_run
from seedbed.rag.chains.stuff import STUFF
from seedbed.rag.passages import NOT_FOUND, Citation, Passage, citation, is_refusal
from seedbed.rag.prompt_plan import PromptLimits, Show, Template, quoted

GAP = "…"
"""Between two runs."""
_RUNS = 3


@StreamedChain
def quote(
    model: ChatModel,
    question: str,
    chunks: Sequence[Chunk],
    *,
    template: Template = STUFF,
    show: Show = quoted,
    **options: Unpack[ReplyOptions],
) -> Writing:
    """Answer in words of as many chunks as one prompt and one grammar hold; the rest is the result's ``left``."""
    with chain_run("quote", template, model, question, chunks, show, options) as run:
        plan = run.one_prompt(PromptLimits(allow=lambda some: len(_rules(some)) <= GRAMMAR_LENGTH))
        text = (yield from run.ask(plan, grammar=words_of(plan.shown))).strip()
        if is_refusal(text) or not stands_in(text, plan.shown):
            return run.result(NOT_FOUND, plan.shown, plan.left)
        return run.result(f"{GAP} ".join(dict.fromkeys(runs_of(text))), plan.shown, plan.left)


def words_of(passages: Sequence[Passage]) -> Grammar:
    """Return the grammar of all runs of words of the passages. Raises UsageError where it is too long."""
    return Grammar("lark", _rules(passages))


def _rules(passages: Sequence[Passage]) -> str:
    names = [f"P{number}" for number in range(len(passages))]
    rules = [
        f'start: run ("{GAP} " run)~0..{_RUNS - 1} | {json.dumps(NOT_FOUND)}',
        f"run: {' | '.join(names)}",
        *(
            f'{name}: %regex {{ "substring_words": {json.dumps(passage.text, ensure_ascii=False)} }}'
            for name, passage in zip(names, passages, strict=True)
        ),
    ]
    return "\n".join(rules)


def stands_in(text: str, passages: Sequence[Passage]) -> bool:
    """Tell whether every run of an answer stands in one passage, letter by letter."""
    return all(any(run in passage.text for passage in passages) for run in runs_of(text))


def runs_of(text: str) -> list[str]:
    """Return the runs of an answer, without white space around them."""
    return [run.strip() for run in text.split(f"{GAP} ") if run.strip(f" {GAP}")]


def cite_runs(text: str, passages: Sequence[Passage]) -> tuple[Citation, ...]:
    """Link each run of an answer to the first passage that holds it, letter by letter."""
    citations, at = [], 0
    for run in runs_of(text):
        at = text.index(run, at)
        passage = next(one for one in passages if run in one.text)
        start = passage.start + passage.text.index(run)
        found = replace(passage, start=start, end=start + len(run))
        citations.append(citation((at, at + len(run)), found, 1.0, None))
        at += len(run)
    return tuple(citations)
