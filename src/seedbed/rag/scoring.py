"""What a model's own probabilities say of an answer, where it tells them: with a passage, and without it.

Leave-one-out: how much less probable the answer becomes when one passage is taken away, log p(answer | all passages) -
log p(answer | all but this one), the simplest of the attributions that ContextCite compares (Cohen-Wang et al. 2024,
arXiv:2409.00729). It sees what word overlap cannot, paraphrase, and misses what two passages say alike: taking one of
them away changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from seedbed.chat.messages import Message
from seedbed.chat.model import ChatModel, ScoringModel, scoring
from seedbed.core.errors import UsageError
from seedbed.rag.chains.stuff import STUFF
from seedbed.rag.passages import Passage, Show, quoted
from seedbed.rag.prompt_plan import Template, fill, fit, room_for_reply


def scorer_of(model: ChatModel | None) -> ScoringModel:
    """The model as one that scores.

    Raises:
        UsageError: it cannot.
    """
    if (scorer := scoring(model)) is None:
        raise UsageError(
            "nothing tells how probable an answer is",
            why="that takes a chain with a local model, or with a server's that echoes log-probabilities",
            fix="use a local model or seedbed's own server, or do without them",
        )
    return scorer


def mean_logprob(scorer: ScoringModel, messages: Sequence[Message], answer: str) -> float:
    """The mean natural log-probability of the answer's tokens; minus infinity for an empty answer."""
    logprobs = scorer.score(messages, answer)
    return math.fsum(logprobs) / len(logprobs) if logprobs else float("-inf")


def leave_one_out(
    model: ChatModel,
    question: str,
    passages: Sequence[Passage],
    answer: str,
    *,
    template: Template = STUFF,
    show: Show = quoted,
) -> dict[int, float]:
    """What each passage adds to the answer's log-probability (nats, summed over its tokens), by its number.

    Passages that do not fit into one prompt with the others and the answer have no entry. One call for each passage and
    one for all.

    Raises:
        UsageError: the model tells no probabilities.
        CapacityError: the question leaves no room for a passage beside the answer.
    """
    scorer = scorer_of(model)
    room = max(room_for_reply(model, None), model.count_tokens(answer) + 1)
    shown = fit(model, template, passages, room, show, question=question).shown

    def logprob(some: Sequence[Passage]) -> float:
        context = "\n\n".join(map(show, some))
        return math.fsum(scorer.score(fill(template, question=question, context=context), answer))

    whole = logprob(shown)
    numbers = {passage.number for passage in shown}
    return {number: whole - logprob([one for one in shown if one.number != number]) for number in sorted(numbers)}
