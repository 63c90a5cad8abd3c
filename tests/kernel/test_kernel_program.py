"""The kernel's linear layers and their storage, against plain arithmetic on the same rounded numbers."""

from __future__ import annotations

import ctypes

import pytest
import torch
from torch import Tensor

from seedbed.kernel import program as native
from seedbed.kernel.library import compiled, library
from seedbed.kernel.packed import SCHEMES, Packed, pack, pack_float, quantize_rows, unpack
from seedbed.kernel.program import AdapterStruct, BatchStruct, Op, RoutesStruct, SequenceSegment, linear
from seedbed.kernel.quantized_layers import QuantizedEmbedding, QuantizedLinear

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")
SHAPES = [(16, 32), (40, 72), (100, 256), (3, 5), (64, 1000)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(2)


def product(packed: Packed, x: Tensor) -> Tensor:
    """What the kernel should compute, in float64."""
    if packed.scheme is None:
        return x.double() @ unpack(packed).double().T
    quants, scale = quantize_rows(x, packed.group)
    return (quants.double() * scale.double()).flatten(-2)[..., : packed.k] @ unpack(packed).double().T


def packings(n: int, k: int) -> dict[str, Packed]:
    weight = torch.randn(n, k)
    return {"float": pack_float(weight), **{name: pack(weight, scheme) for name, scheme in SCHEMES.items()}}


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("Op", Op),
        ("Segment", SequenceSegment),
        ("Batch", BatchStruct),
        ("Adapter", AdapterStruct),
        ("Routes", RoutesStruct),
    ],
)
def test_every_field_lies_where_the_compiler_put_the_field_of_that_name(
    name: str, ours: type[ctypes.Structure]
) -> None:
    """Two swapped fields of one type leave all sizes as they were, but not the offsets of their names."""
    kernel = library()
    assert kernel is not None

    def place(field: str) -> list[int]:
        found = (ctypes.c_int64 * 2)()
        assert kernel.seedbed_place(field.encode(), found), field
        return list(found)

    assert place(name) == [0, ctypes.sizeof(ours)]
    for field, *_ in ours._fields_:
        described = getattr(ours, field)
        assert place(f"{name}.{field}") == [described.offset, described.size], field
    assert not kernel.seedbed_place(f"{name}.unknown".encode(), (ctypes.c_int64 * 2)())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1, 2, 5, 8, 9, 31, 1100])
def test_linear_is_the_product_of_what_is_stored(shape: tuple[int, int], rows: int) -> None:
    n, k = shape
    x, bias = torch.randn(rows, k), torch.randn(n)
    for name, packed in packings(n, k).items():
        computed = linear(packed, x, bias)
        assert computed is not None
        exact = product(packed, x) + bias
        assert (computed - exact).abs().max() <= 2e-6 * k**0.5 * exact.abs().max(), name


@pytest.mark.parametrize("name", ["float", "int8", "int4", "int8-row", "int4-128"])
def test_a_row_does_not_depend_on_the_others(name: str) -> None:
    packed = packings(100, 1200)[name]
    x = torch.randn(40, 1200)
    together = linear(packed, x, None)
    assert together is not None
    for rows in ([0], [7], range(2), range(3, 10), range(5, 40)):
        alone = linear(packed, x[list(rows)], None)
        assert alone is not None
        assert torch.equal(alone, together[list(rows)])


def test_plain_loops_compute_what_the_vector_instructions_do(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = compiled("SEEDBED_PORTABLE")
    assert plain is not None
    assert plain.seedbed_instructions() == 1
    x = torch.randn(9, 256)
    for name, packed in packings(100, 256).items():
        vector = linear(packed, x, None)
        with monkeypatch.context() as patch:
            patch.setattr(native, "library", lambda: plain)
            portable = linear(packed, x, None)
        assert vector is not None
        assert portable is not None
        torch.testing.assert_close(portable, vector, rtol=1e-5, atol=1e-4, msg=name)


def test_threads_do_not_change_a_bit() -> None:
    packed, x = packings(100, 256)["int4"], torch.randn(20, 256)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(linear(packed, x, None))
    assert results[0] is not None
    assert all(torch.equal(results[0], other) for other in results if other is not None)


@pytest.mark.parametrize(("name", "levels"), [("int8", 254), ("int8-row", 254), ("int4", 15)])
def test_rounding_errors_are_those_of_the_grid(name: str, levels: int) -> None:
    """Half a step of the group's grid; the float16 scale adds a relative 2^-11 of up to the largest value."""
    weight = torch.randn(64, 128)
    packed = pack(weight, SCHEMES[name])
    group = min(packed.group, 128)
    spread = weight.unflatten(1, (-1, group)).abs().amax(-1, keepdim=True)
    error = (unpack(packed) - weight).unflatten(1, (-1, group)).abs()
    if name == "int4":  # the squared error is what is made small, and no worse than that of the full range
        assert error.square().mean() <= (2 * spread / levels / 12**0.5).square().mean()
    else:
        assert (error <= spread / levels + spread * 2**-11 + 1e-7).all()


def test_values_on_the_grid_survive() -> None:
    quants = torch.randint(-8, 8, (32, 64)).float()
    quants[:, ::32] = -8  # every group has its extreme
    for name in ("int4", "int8"):
        weight = quants * 0.25 if name == "int4" else quants.sign() * 127 * 0.5
        assert torch.equal(unpack(pack(weight, SCHEMES[name])), weight)


@pytest.mark.parametrize("name", list(SCHEMES))
def test_the_module_and_its_reference_agree(name: str) -> None:
    layer = QuantizedLinear(pack(torch.randn(24, 96), SCHEMES[name]), torch.randn(24))
    x = torch.randn(2, 3, 96)
    torch.testing.assert_close(layer(x), layer.reference(x), rtol=1e-5, atol=1e-4)
    assert layer(x).shape == (2, 3, 24)


def test_an_embedding_looks_rows_up() -> None:
    packed = pack(torch.randn(50, 24), SCHEMES["int8"])
    ids = torch.randint(50, (3, 7))
    assert torch.equal(QuantizedEmbedding(packed)(ids), unpack(packed)[ids])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_whole_matrix_as_floats_is_the_same_as_in_pytorch(shape: tuple[int, int]) -> None:
    for packed in packings(*shape).values():
        assert torch.equal(native.table(packed), unpack(packed))
        assert torch.equal(native.table(packed, torch.bfloat16), unpack(packed).bfloat16())
