"""One request at a time: prefill the prompt once, then one token a step over a static cache.

This is the face the serving engine takes over: ``stream(prompt_ids, sampling)`` yields tokens, the last of which says
why it is the last. Ids alone: text, and with it stop strings, live one level up in ``text.py``.

Left out here, because the serving engine brings it: batching of requests, prefix reuse, preemption.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from seedbed.core.errors import CapacityError, UsageError
from seedbed.inference import sampler
from seedbed.inference.beam import beam_search
from seedbed.inference.decoding import Token, finish_of, prefill, step
from seedbed.inference.parameters import Sampling
from seedbed.models.decoder import Decoder


class Generator:
    """Continues prompts with one model.

    Args:
        model: a decoder in evaluation mode.
        end_ids: ids that end a reply.
    """

    def __init__(self, model: Decoder, end_ids: Collection[int] = ()) -> None:
        self.model = model
        self.end_ids = frozenset(end_ids)

    def room(self, prompt_length: int) -> int:
        """How many tokens can follow a prompt of this length; the last one needs no position of its own."""
        return self.model.config.max_length - prompt_length + 1

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> Iterator[Token]:
        """Yield the reply's tokens as they are decided (with beams: all at the end).

        Raises:
            UsageError: the prompt is empty, or holds an id that the model does not know.
            CapacityError: the prompt is longer than the model's window.
        """
        prompt = list(prompt_ids)
        self._check(prompt)
        limit = min(sampling.max_tokens, self.room(len(prompt)))
        if sampling.beams > 1:
            return iter(beam_search(self.model, prompt, self.end_ids, limit, sampling.beams, sampling.length_penalty))
        return self._sample(prompt, limit, sampling.seeded())

    def _sample(self, prompt: list[int], limit: int, sampling: Sampling) -> Iterator[Token]:
        states = self.model.new_state(1, len(prompt) + limit - 1)
        logits, states = prefill(self.model, prompt, states)
        reply: list[int] = []
        while True:
            chosen = sampler.choose(logits[0], prompt, reply, sampling)
            reply.append(chosen)
            finish = finish_of(chosen, len(reply), self.end_ids, limit)
            yield Token(chosen, sampler.log_probability(logits[0], chosen), finish)
            if finish:
                return
            logits, states = step(self.model, [chosen], states)

    def _check(self, prompt: list[int]) -> None:
        if not prompt:
            raise UsageError("the prompt is empty", why="a model continues at least one token", fix="give some text")
        config = self.model.config
        if min(prompt) < 0 or max(prompt) >= config.vocab_size:
            wrong = next(token for token in prompt if not 0 <= token < config.vocab_size)
            raise UsageError(
                f"token id {wrong} is not in the model's vocabulary",
                why=f"the model knows ids 0 to {config.vocab_size - 1}; the prompt was made with another tokenizer",
                fix="encode the prompt with the model's own tokenizer",
            )
        if self.room(len(prompt)) < 1:
            raise CapacityError(
                f"the prompt has {len(prompt)} tokens, {config.max_length} are allowed",
                why=f"the model's window holds {config.max_length} positions",
                fix="shorten the prompt, or use a model with a longer window",
            )
