"""Importance of heads, layers and channels: by their weights alone, or by their activations on text.

- head: the norm of its map to the output, ``|W_out W_v|`` (Frobenius), or the mean square of its output.
- channel: ``|up| · |gate| · |down|``, or the root mean square of its activation times ``|down|``.
- layer: the angle by which it turns the residual stream (ShortGPT, Men et al. 2024); without text, its depth: the
  layers before the last matter least (Gromov et al. 2024, section 4.4).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from seedbed.core.errors import UsageError
from seedbed.models.stack import Stack
from seedbed.nn.attention import Attention
from seedbed.nn.feedforward import FeedForward
from seedbed.transform.calibration import block_influence, input_sums
from seedbed.transform.structured_pruning import PruningPlan, check_heads, keep_channels, keep_heads, keep_layers


def plan_pruning(model: Stack, method: str, share: float, ids: Tensor | None = None) -> PruningPlan:
    """Plan to prune the least important ``share`` of "heads", "layers" or "width" (feed-forward channels).

    Args:
        ids: (B, T) text to judge by; by weights alone where it is None.

    Raises:
        UsageError: nothing would be left, or nothing would go; or the model has none of these.
    """
    if method == "layers":
        kept = strongest(layer_scores(model, ids), share, "layers")
        return keep_layers(model.config, kept.tolist())
    if method == "heads":
        check_heads(model.config)
        what = "heads" if model.config.kv_heads == model.config.n_heads else "key/value heads"
        scores = head_scores(model, ids)
        return keep_heads(model.config, {layer: strongest(own, share, what) for layer, own in scores.items()})
    channels = channel_scores(model, ids)
    if not channels:
        raise UsageError("this model has no feed-forward layers", why="mlp is none", fix="prune heads or layers")
    return keep_channels(model.config, {path: strongest(own, share, "channels") for path, own in channels.items()})


def strongest(scores: Tensor, share: float, what: str) -> Tensor:
    """Return the indices that stay, in their order; UsageError where none would stay, or none would go."""
    count = len(scores)
    gone = round(share * count)
    if not 0 < gone < count:
        few, one = f"{1 / count:.3f}", count == 1
        raise UsageError(
            f"a share of {share:g} of {count} {what} is {'nothing' if gone <= 0 else 'all of them'}",
            why="there is only one" if one else "whole ones are removed, the same number in every layer",
            fix="prune something else" if one else f"give a --share from {few} to {1 - 1 / count:.3f}",
        )
    return torch.topk(scores, count - gone).indices.sort().values


@torch.no_grad()
def layer_scores(model: Stack, ids: Tensor | None = None) -> Tensor:
    """Return the importance of every layer (layers,)."""
    if ids is not None:
        return block_influence(model, ids)
    depth = torch.arange(len(model.blocks), 0, -1.0)
    depth[-1] = torch.inf  # the last layer prepares the output
    return depth


@torch.no_grad()
def head_scores(model: Stack, ids: Tensor | None = None) -> dict[int, Tensor]:
    """Return the importance (heads,) of key/value heads of every attention layer; a query group counts as one."""
    mixers = {layer: block.mixer for layer, block in enumerate(model.blocks) if isinstance(block.mixer, Attention)}
    if ids is None:
        return {layer: _writable(mixer) for layer, mixer in mixers.items()}
    size = model.config.head_size * (model.config.n_heads // model.config.kv_heads)

    def written(out: nn.Linear, x: Tensor) -> Tensor:
        parts = x.view(len(x), -1, size).transpose(0, 1)  # (groups, N, group channels)
        weight = out.weight.float().view(out.out_features, -1, size).permute(1, 2, 0)  # (groups, channels, D)
        return ((parts.mT @ parts) * (weight @ weight.mT)).sum((1, 2))  # |x W|², summed over N, without a (N, D)

    sums = input_sums(model, {str(layer): mixer.out for layer, mixer in mixers.items()}, ids, written)
    return {layer: sums[str(layer)] for layer in mixers}


def _writable(attention: Attention) -> Tensor:
    """Return ``|W_out W_v|²`` summed over a group's query heads, from Gram matrices: nothing of size (D, D) is made."""
    size = attention.head_dim
    value = _with_bias(attention.v).view(-1, size, attention.v.in_features + (attention.v.bias is not None))
    value = value.repeat_interleave(attention.groups, 0)  # (H, Dh, D)
    out = attention.out.weight.float().view(attention.out.out_features, -1, size).permute(1, 2, 0)  # (H, Dh, D)
    heads = ((out @ out.mT) * (value @ value.mT)).sum((1, 2))
    return heads.view(-1, attention.groups).sum(1)


@torch.no_grad()
def channel_scores(model: Stack, ids: Tensor | None = None) -> dict[str, Tensor]:
    """Return the importance of hidden channels (channels,) for every feed-forward layer and expert, by its path."""
    layers = {path: layer for path, layer in model.named_modules() if isinstance(layer, FeedForward)}
    if ids is None:
        return {path: _strength(layer) for path, layer in layers.items()}
    found = input_sums(
        model, {path: layer.down for path, layer in layers.items()}, ids, lambda down, x: x.square().sum(0)
    )
    return {path: _active(layer, path, found) for path, layer in layers.items()}


def _active(layer: FeedForward, path: str, squares: Mapping[str, Tensor]) -> Tensor:
    """Return the importance on text; an expert that no token reached is judged by its weights."""
    if path not in squares:
        return _strength(layer)
    down: Tensor = torch.linalg.vector_norm(layer.down.weight.float(), dim=0)
    return squares[path].sqrt() * down


def _strength(layer: FeedForward) -> Tensor:
    strength: Tensor = torch.linalg.vector_norm(layer.down.weight.float(), dim=0)
    for part in (layer.up, layer.gate):
        if part is not None:
            strength = strength * torch.linalg.vector_norm(_with_bias(part), dim=1)
    return strength


def _with_bias(layer: nn.Linear) -> Tensor:
    """Return the weight, with the bias as one more column."""
    weight = layer.weight.float()
    return weight if layer.bias is None else torch.cat([weight, layer.bias.float()[:, None]], 1)
