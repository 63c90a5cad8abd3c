"""Prune a stored model: single weights become zero, or heads, layers or channels go; the file's precision stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

from torch import Tensor

from seedbed.core.errors import UsageError
from seedbed.models.config import AnyConfig
from seedbed.models.factory import AnyModel
from seedbed.models.stack import Stack
from seedbed.transform.calibration import windows
from seedbed.transform.derived import StoredModel
from seedbed.transform.importance import plan_pruning
from seedbed.transform.methods import Cut, PruneMethod
from seedbed.transform.sparsity import Pattern, prune_globally, prune_magnitude, prune_wanda
from seedbed.transform.structured_pruning import pruned_tensors, stored_names

STRUCTURED = get_args(Cut)


def prune(
    stored: StoredModel,
    model: AnyModel,
    method: PruneMethod,
    share: float,
    *,
    everywhere: bool = False,
    ids: Sequence[int] | None = None,
) -> tuple[AnyConfig, Iterator[tuple[str, Tensor]]]:
    """Return the pruned model's configuration and tensors. The file is not changed.

    Args:
        stored, model: the same model, on disk and loaded. Single weights are set to zero in ``model`` itself.
        everywhere: for "magnitude": compare the weights of all layers with each other.
        ids: tokens of text to judge by. "wanda" needs it; "2:4" is by magnitude without it; "magnitude" never uses it.

    Raises:
        UsageError: the method cannot prune this model, or not by this share.
        DataError: the text is too short.
    """
    if method not in get_args(PruneMethod):
        known = ", ".join(get_args(PruneMethod))
        raise UsageError(f"there is no pruning method {method!r}", why=f"they are {known}", fix="choose one")
    if method in STRUCTURED:
        stack = _one_stack(model, method)
        text = None if ids is None else windows(ids, stack.config.max_length)
        plan = plan_pruning(stack, method, share, text)
        return plan.config, pruned_tensors(plan, stored.tensors.read)
    _set_zeros(model, method, share, everywhere, ids)
    return stored.config, _in_precision(stored, model)


def _set_zeros(model: AnyModel, method: PruneMethod, share: float, everywhere: bool, ids: Sequence[int] | None) -> None:
    amount = Pattern(2, 4) if method == "2:4" else share
    if method == "magnitude" and everywhere:
        prune_globally(model, share)
    elif method == "magnitude" or (method == "2:4" and ids is None):
        prune_magnitude(model, amount)
    elif ids is None:
        raise UsageError(
            "Wanda needs text",
            why="it weighs every weight with the inputs that it meets",
            fix="give --text FILE, or prune by --method magnitude",
        )
    else:
        stack = _one_stack(model, method)
        prune_wanda(stack, amount, windows(ids, stack.config.max_length))


def _one_stack(model: AnyModel, method: str) -> Stack:
    if not isinstance(model, Stack):
        raise UsageError(
            f"an encoder–decoder cannot be pruned by {method}",
            why="its two halves would have to be judged and pruned together, which is not done here",
            fix="prune single weights by --method magnitude",
        )
    return model


def _in_precision(stored: StoredModel, model: AnyModel) -> Iterator[tuple[str, Tensor]]:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name in stored_names(stored.config):
        yield name, parameters[name].detach().to(stored.tensors.dtype(name))
