"""Attention in blocks, for fine-tuning in bfloat16 on CPUs, against PyTorch's fused attention."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from seedbed.nn import attention
from seedbed.nn.attention import Attention
from seedbed.nn.mixer import Context
from seedbed.nn.position import rotation


@pytest.mark.parametrize("length", [1, 5, 192, 193, 300, 577])
@pytest.mark.parametrize("kv_heads", [2, 6])
def test_values_and_gradients_are_those_of_fused_attention(length: int, kv_heads: int) -> None:
    torch.manual_seed(0)
    heads, size = 6, 8
    q = torch.randn(2, heads, length, size, dtype=torch.double, requires_grad=True)
    k, v = (torch.randn(2, kv_heads, length, size, dtype=torch.double, requires_grad=True) for _ in range(2))
    slope = torch.randn(2, heads, length, size, dtype=torch.double)
    found = attention._causal_blocks(q, k, v, 0.3)
    wanted = F.scaled_dot_product_attention(q, k, v, None, 0.0, True, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(y, (q, k, v), slope) for y in (found, wanted)]
    torch.testing.assert_close(*gradients)


def test_bfloat16_training_takes_this_way_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.dtype] = []
    ours = attention._causal_blocks

    def spy(q: torch.Tensor, *rest: torch.Tensor, **more: float) -> torch.Tensor:
        taken.append(q.dtype)
        return ours(q, *rest, **more)

    monkeypatch.setattr(attention, "_causal_blocks", spy)
    torch.manual_seed(0)
    layer, x = Attention(32, 4, 2, 8), torch.randn(2, 40, 32)
    context = Context(rotation(0, 40, 8, 10000.0), None, True)
    wanted = layer(x, None, context)[0]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        layer(x, None, context)
    assert not taken
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x, None, context)[0]
    assert taken == [torch.bfloat16]
    assert (found.float() - wanted).abs().max() < 0.02 * wanted.abs().max()
