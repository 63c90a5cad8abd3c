"""A question as messages: without examples, with one, with several, with an instruction or without, step by step.

Examples are turns of the conversation, as chat models were trained. Step by step: a trigger after the question (Kojima
et al. 2022, arXiv:2205.11916), or examples that show their reasoning (Wei et al. 2022, arXiv:2201.11903).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seedbed.chat.messages import Message
from seedbed.chat.prompts import Prompt

STEPS = "Let's think step by step."  # the trigger of Kojima et al., table 4: the best of those they tried
REASONED = Prompt("{reasoning} The answer is {answer}.", "reasoned-answer")  # the end of the examples of Wei et al
TRIGGERED = Prompt("{question}\n\n{trigger}", "step-by-step")


@dataclass(frozen=True)
class Example:
    """A question with its answer; ``reasoning`` leads to it, and is shown where it is given."""

    question: str
    answer: str
    reasoning: str = ""

    @property
    def shown(self) -> str:
        """The answer as a model is to write it."""
        return REASONED.fill(reasoning=self.reasoning, answer=self.answer) if self.reasoning else self.answer


def zero_shot(question: str, instruction: str = "") -> list[Message]:
    """The question alone, after the instruction where there is one."""
    return few_shot(question, [], instruction)


def few_shot(question: str, examples: Sequence[Example], instruction: str = "") -> list[Message]:
    """Examples as turns before the question; one example is one-shot, with their reasoning it is chain of thought."""
    told = [Message("system", instruction)] if instruction else []
    turns = ((Message("user", one.question), Message("assistant", one.shown)) for one in examples)
    return [*told, *(message for turn in turns for message in turn), Message("user", question)]


def step_by_step(question: str, instruction: str = "", trigger: str = STEPS) -> list[Message]:
    """The question with a trigger that makes the model reason before it answers."""
    return zero_shot(TRIGGERED.fill(question=question, trigger=trigger), instruction)
