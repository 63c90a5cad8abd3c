"""RMSNorm against PyTorch's, values and gradients."""

import pytest
import torch
import torch.nn.functional as F

from seedbed.nn.norm import RMSNorm


@pytest.mark.parametrize("shape", [(3, 5, 24), (2, 4, 3, 16), (7, 8)])
@pytest.mark.parametrize("contiguous", [True, False])
def test_rms_norm_and_its_gradients(shape: tuple[int, ...], contiguous: bool) -> None:
    torch.manual_seed(0)
    norm = RMSNorm(shape[-1], 1e-6)
    norm.weight.data.normal_()
    x = torch.randn(shape, requires_grad=True)
    gradient = torch.randn(shape)
    if not contiguous:
        gradient = torch.randn(*shape[:-2], shape[-1], shape[-2]).mT
    expected = F.rms_norm(x.double(), shape[-1:], norm.weight.double(), 1e-6)
    wanted = torch.autograd.grad(expected, (x, norm.weight), gradient.double())
    found = norm(x)
    assert torch.allclose(found, expected.float(), atol=1e-6)
    for a, b in zip(torch.autograd.grad(found, (x, norm.weight), gradient), wanted, strict=True):
        assert torch.allclose(a, b, atol=2e-6 * float(b.abs().max()) + 1e-7)
    with torch.no_grad():
        assert torch.allclose(norm(x), expected.float(), atol=1e-6)


def test_the_hand_written_gradient_passes_a_finite_difference_check() -> None:
    from seedbed.nn.norm import _FusedBackward

    x, weight = torch.randn(2, 3, 6, dtype=torch.double, requires_grad=True), torch.randn(6, dtype=torch.double)
    assert torch.autograd.gradcheck(_FusedBackward.apply, (x, weight.requires_grad_(), 1e-6))
