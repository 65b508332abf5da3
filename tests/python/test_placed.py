# SPDX-License-Identifier: MIT
"""Placed tensors against torch's own: the same operations on places and on values end with the same elements."""

import random

import pytest

torch = pytest.importorskip("torch", reason="not installed: torch")

from ufm.models.placed import Joined, NotPlaced, Placed, Source, Strided, join  # noqa: E402

FILE = torch.arange(4000, dtype=torch.int64)
SOURCE = Source(0, "I64", 8)


def leaf(offset, shape):
    """A tensor in the file, by place and by value."""
    count = torch.Size(shape).numel()
    return Strided.whole(SOURCE, offset * 8, shape), FILE[offset : offset + count].view(shape)


def values(placed):
    if isinstance(placed, Strided):
        return torch.as_strided(FILE, placed.shape, placed.strides, placed.offset_bytes // 8)
    return torch.cat([values(part) for part in placed.parts], placed.axis)


def divisors(draw, count):
    sizes = []
    while count > 1 and len(sizes) < 4:
        sizes.append(draw.choice([n for n in range(1, count + 1) if count % n == 0]))
        count //= sizes[-1]
    return [*sizes, count]


def a_step(draw, placed, tensor):
    """One operation, drawn at random, on both."""
    dim = draw.randrange(tensor.ndim)
    kind = draw.choice(["transpose", "slice", "chunk", "select", "unsqueeze", "reshape", "split", "squeeze"])
    if kind == "transpose":
        other = draw.randrange(-tensor.ndim, tensor.ndim)
        return placed.transpose(dim, other), tensor.transpose(dim, other)
    if kind == "slice":
        index = (slice(None),) * dim + (slice(draw.randint(0, tensor.shape[dim] - 1), None, draw.randint(1, 3)),)
        return placed[index], tensor[index]
    if kind == "chunk":
        count = draw.randint(1, 3)
        return torch.chunk(placed, count, dim=dim)[0], torch.chunk(tensor, count, dim=dim)[0]
    if kind == "split":
        return torch.split(placed, 2, dim=dim)[-1], torch.split(tensor, 2, dim=dim)[-1]
    if kind == "select" and tensor.ndim > 1:
        index = draw.randrange(-tensor.shape[dim], tensor.shape[dim])
        return placed.select(dim, index), tensor.select(dim, index)
    if kind == "unsqueeze" and tensor.ndim < 5:
        return placed.unsqueeze(dim), tensor.unsqueeze(dim)
    if kind == "reshape":
        shape = divisors(draw, tensor.numel())
        return placed.reshape(shape), tensor.reshape(shape)
    return (placed.squeeze(), tensor.squeeze()) if kind == "squeeze" and tensor.numel() > 1 else (placed, tensor)


@pytest.mark.parametrize("seed", range(8))
def test_random_operations(seed):
    draw = random.Random(seed)
    for _ in range(300):
        shape = [draw.randint(1, 4) * 2 for _ in range(draw.randint(1, 3))]
        pairs = [leaf(draw.randint(0, 1000), shape) for _ in range(draw.randint(1, 4))]
        function = draw.choice([torch.stack, torch.cat])
        dim = draw.randrange(len(shape))
        placed, tensor = (function([pair[i] for pair in pairs], dim=dim) for i in (0, 1))
        for _ in range(draw.randint(1, 5)):
            placed, tensor = a_step(draw, placed, tensor)
            assert tuple(placed.shape) == tuple(tensor.shape)
            assert torch.equal(values(placed), tensor)


def test_what_lies_as_one_is_one_view():
    first, second = leaf(100, [2, 3])[0], leaf(106, [2, 3])[0]
    assert torch.stack([first, second]) == Strided.whole(SOURCE, 800, [2, 2, 3])
    assert isinstance(torch.stack([second, first]), Joined)
    # Rows that alternate are pieces of one row each, and every second of them is one view again.
    alternating = leaf(0, [4, 6])[0].reshape(2, 2, 6).transpose(0, 1).reshape(4, 6)
    assert isinstance(alternating, Joined) and isinstance(alternating[::2], Strided)


@pytest.mark.parametrize(
    "operation, name",
    [
        (lambda t: torch.add(t, 1), "torch.add"),
        (lambda t: t.float(), "Tensor.float"),
        (lambda t: t[torch.tensor([0])], "Tensor[Tensor]"),
        (lambda t: t[::-1], "Tensor[::-1]"),
        (lambda t: t[0:0].reshape(0, 3), "empty"),
    ],
)
def test_what_moves_no_elements_is_named(operation, name):
    with pytest.raises(NotPlaced) as error:
        operation(leaf(0, [2, 3])[0])
    assert name in str(error.value)


@pytest.mark.parametrize(
    "wrong, error",
    [
        (lambda t: t.select(2, 0), IndexError),
        (lambda t: t.select(0, 2), IndexError),
        (lambda t: t.reshape(4, 2), ValueError),
        (lambda t: t.reshape(-1, 4), ValueError),
        (lambda t: t.split([1, 2]), ValueError),
        (lambda t: join([t, leaf(0, [2, 4])[0]]), ValueError),
        (lambda t: join([]), ValueError),
    ],
)
def test_wrong_arguments(wrong, error):
    with pytest.raises(error):
        wrong(leaf(0, [2, 3])[0])


def test_it_is_no_tensor_and_cannot_be_taken_for_one():
    assert not isinstance(leaf(0, [1])[0], torch.Tensor) and isinstance(leaf(0, [1])[0], Placed)
