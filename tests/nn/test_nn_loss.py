"""The token loss under autocast: values and gradients of the plain two steps in float64, on the same rounded input."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from seedbed.nn import loss
from seedbed.nn.loss import IGNORE, token_loss


@pytest.mark.parametrize("biased", [False, True])
def test_a_loss_in_bfloat16_is_summed_in_float32(biased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "CHUNK", 7)
    torch.manual_seed(0)
    hidden, weight = torch.randn(40, 16).bfloat16().float(), (0.3 * torch.randn(50, 16)).bfloat16().float()
    bias = torch.randn(50).bfloat16().float() if biased else None
    labels = torch.where(torch.rand(40) < 0.7, torch.randint(50, (40,)), IGNORE)
    given = [tensor.requires_grad_() for tensor in (hidden, weight, bias) if tensor is not None]
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    wanted = F.cross_entropy(F.linear(*exact), labels, reduction="sum", ignore_index=IGNORE)
    with torch.autocast("cpu", torch.bfloat16):
        found = token_loss(hidden, weight, labels, bias)
    assert abs(found.item() - wanted.item()) < 3e-3 * wanted.item()
    slopes = torch.autograd.grad(2 * found, given)
    for one, other in zip(slopes, torch.autograd.grad(2 * wanted, exact), strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.01 * other.norm()


def test_no_gradient_is_made_for_a_frozen_layer() -> None:
    hidden, weight = torch.randn(5, 4, requires_grad=True), torch.randn(6, 4)
    with torch.autocast("cpu", torch.bfloat16):
        made = token_loss(hidden, weight, torch.arange(5))
    made.backward()
    assert weight.grad is None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(token_loss(hidden, weight, torch.arange(5)))
