"""Leave-one-out attribution: the log-probability of an answer with a passage and without it.

The passage's part is log p(answer | all passages) - log p(answer | all but this one), the simplest of the attributions
that ContextCite compares (Cohen-Wang et al. 2024, arXiv:2409.00729). It sees paraphrase, which word overlap does not,
and misses a fact that two passages tell: leaving one of them out changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from seedbed.chat.messages import Message
from seedbed.chat.model import ChatModel, ScoringModel, scoring
from seedbed.core.errors import UsageError
from seedbed.rag.chains.stuff import STUFF
from seedbed.rag.passages import Passage
from seedbed.rag.prompt_plan import fit, quoted, room_for_reply, write


def scorer_of(model: ChatModel | None) -> ScoringModel:
    """Return the model as one that scores. Raises UsageError: it tells no probabilities, or none writes (None)."""
    if model is None:
        why, fix = "the chain extract quotes: no model writes the answer", "name a model, and a chain such as cited"
        raise UsageError("cannot tell how probable an answer is", why=why, fix=fix)
    if (scorer := scoring(model)) is None:
        raise UsageError(
            "cannot tell how probable an answer is",
            why="that needs a chain with a local model, or a server that returns log-probabilities of a prompt",
            fix="use a local model or seedbed's own server, or ask without --evidence",
        )
    return scorer


def mean_logprob(scorer: ScoringModel, messages: Sequence[Message], answer: str) -> float:
    """Return the mean natural log-probability of the answer's tokens; minus infinity for an empty answer."""
    logprobs = scorer.score(messages, answer)
    return math.fsum(logprobs) / len(logprobs) if logprobs else float("-inf")


def leave_one_out(model: ChatModel, question: str, passages: Sequence[Passage], answer: str) -> dict[int, float]:
    """Return each passage's part of the answer's log-probability (nats, summed over its tokens), by its number.

    Passages that do not fit into one prompt with the others and the answer have no entry. One call for each passage and
    one for all.

    Raises:
        UsageError: the model tells no probabilities.
        CapacityError: the question leaves no room for a passage beside the answer.
    """
    scorer = scorer_of(model)
    room = max(room_for_reply(model, None), model.count_tokens(answer) + 1)
    shown = fit(model, STUFF, passages, room, question=question).shown

    def logprob(some: Sequence[Passage]) -> float:
        return math.fsum(scorer.score(write(STUFF, some, quoted, question=question), answer))

    whole = logprob(shown)
    numbers = {passage.number for passage in shown}
    return {number: whole - logprob([one for one in shown if one.number != number]) for number in sorted(numbers)}
