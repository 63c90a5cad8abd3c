"""A question as messages: without examples, with one, with several, with an instruction or without, step by step.

Examples are turns of the conversation, as chat models were trained, or one text ("Q: … A: …") as the papers have it,
for models that only continue. Step by step: a trigger after the question (Kojima et al. 2022, arXiv:2205.11916), or
examples that show their reasoning (Wei et al. 2022, arXiv:2201.11903).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seedbed.chat.messages import Message
from seedbed.chat.prompts import Prompt

STEPS = "Let's think step by step."
"""The trigger of Kojima et al., table 4: the best of those they tried."""
CONCLUSION = "Therefore, the answer is"
"""The text that asks for the answer after the reasoning (Kojima et al., section 3: the second prompt)."""
REASONED = Prompt("{reasoning} The answer is {answer}.", "reasoned-answer")
"""The end of the examples of Wei et al."""
EXAMPLE = Prompt("Q: {question}\nA: {answer}", "example")
QUESTION = Prompt("Q: {question}\nA:", "question")
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
    return [*_instruct(instruction), Message("user", question)]


def few_shot(question: str, examples: Sequence[Example], instruction: str = "") -> list[Message]:
    """Examples as turns before the question; one example is one-shot, with their reasoning it is chain of thought."""
    turns = [
        message for one in examples for message in (Message("user", one.question), Message("assistant", one.shown))
    ]
    return [*_instruct(instruction), *turns, Message("user", question)]


def few_shot_text(question: str, examples: Sequence[Example], instruction: str = "") -> list[Message]:
    """Examples and question as one text in one message."""
    shown = [EXAMPLE.fill(question=one.question, answer=one.shown) for one in examples]
    return [Message("user", "\n\n".join([*filter(None, [instruction]), *shown, QUESTION.fill(question=question)]))]


def step_by_step(question: str, instruction: str = "", trigger: str = STEPS) -> list[Message]:
    """The question with a trigger that makes the model reason before it answers."""
    return zero_shot(TRIGGERED.fill(question=question, trigger=trigger), instruction)


def conclude(messages: Sequence[Message], reasoning: str, conclusion: str = CONCLUSION) -> list[Message]:
    """After the reasoning that a model wrote: the messages that ask for the answer alone."""
    return [*messages, Message("assistant", reasoning), Message("user", conclusion)]


def _instruct(instruction: str) -> list[Message]:
    return [Message("system", instruction)] if instruction else []
