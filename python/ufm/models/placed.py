# SPDX-License-Identifier: MIT
"""Tensors that lie in files and are only talked about.

Transformers turns the tensors of a checkpoint into a model's parameters by operations on tensors (stack, concatenate,
transpose, …). Run on a `Placed` in place of a tensor, the same operations yield where every element of the parameter
lies on disk, and not a byte is read. What comes out is either one strided view of one file (`Strided`) or several,
one after the other along a dimension (`Joined`). An operation that does not merely rearrange elements raises
`NotPlaced`, which names it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

# Beyond so many pieces along a dimension nobody looks whether they are one after all.
_PIECES_MAX = 1 << 16


class NotPlaced(Exception):
    """An operation needs the values, not only the places, of a checkpoint's tensors."""


@dataclass(frozen=True)
class Source:
    """Where a tensor's bytes come from.

    Args:
        file: index into the checkpoint's files.
        dtype: as safetensors writes it ("BF16", "F32", …).
        item_bytes: bytes of an element.
    """

    file: int
    dtype: str
    item_bytes: int


class Placed:
    """A tensor of which only shape and place are known. Immutable."""

    shape: tuple[int, ...]

    _functions: ClassVar[dict[str, Callable[..., Any]]] = {}

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """torch.stack, torch.cat and their like, called with tensors of this kind among their arguments."""
        name = getattr(function, "__name__", str(function))
        ours = cls._functions.get(name)
        if ours is None:
            raise NotPlaced(f"torch.{name}")
        return ours(*args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python itself asks for, and can do without
            raise AttributeError(name)
        raise NotPlaced(f"Tensor.{name}")

    # ---- what a subclass says

    def select(self, dim: int, index: int) -> Placed:
        raise NotImplementedError

    def slice(self, dim: int, begin: int, end: int, step: int = 1) -> Placed:
        raise NotImplementedError

    def permute(self, *dims: Any) -> Placed:
        raise NotImplementedError

    def unsqueeze(self, dim: int) -> Placed:
        raise NotImplementedError

    # ---- what follows from it

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def dim(self) -> int:
        return len(self.shape)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        return math.prod(self.shape)

    def contiguous(self) -> Placed:
        """Itself: what is read is read in the order of the shape, however it lies."""
        return self

    clone = contiguous
    detach = contiguous

    def transpose(self, dim0: int, dim1: int) -> Placed:
        order = list(range(self.ndim))
        dim0, dim1 = _dim(dim0, self.ndim), _dim(dim1, self.ndim)
        order[dim0], order[dim1] = order[dim1], order[dim0]
        return self.permute(order)

    @property
    def T(self) -> Placed:
        return self.permute(list(reversed(range(self.ndim))))

    @property
    def mT(self) -> Placed:
        return self.transpose(-2, -1)

    def narrow(self, dim: int, start: int, length: int) -> Placed:
        return self.slice(dim, start, start + length)

    def split(self, size: int | Sequence[int], dim: int = 0) -> tuple[Placed, ...]:
        dim = _dim(dim, self.ndim)
        whole = self.shape[dim]
        sizes = [min(size, whole - begin) for begin in range(0, whole, size)] if isinstance(size, int) else list(size)
        if sum(sizes) != whole:
            raise ValueError(f"sizes {sizes} of a dimension of {whole}")
        begins = [sum(sizes[:i]) for i in range(len(sizes))]
        return tuple(self.slice(dim, begin, begin + n) for begin, n in zip(begins, sizes, strict=True))

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Placed, ...]:
        return self.split(-(-self.shape[_dim(dim, self.ndim)] // chunks), dim)

    def unbind(self, dim: int = 0) -> tuple[Placed, ...]:
        return tuple(self.select(dim, i) for i in range(self.shape[_dim(dim, self.ndim)]))

    def squeeze(self, dim: int | None = None) -> Placed:
        ones = [d for d, n in enumerate(self.shape) if n == 1 and dim in (None, d, d - self.ndim)]
        made: Placed = self
        for d in reversed(ones):
            made = made.select(d, 0)
        return made

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Placed:
        first, last = _dim(start_dim, self.ndim), _dim(end_dim, self.ndim)
        middle = math.prod(self.shape[first : last + 1])
        return self.reshape([*self.shape[:first], middle, *self.shape[last + 1 :]])

    def reshape(self, *shape: Any) -> Placed:
        return _reshape(self, _sizes(shape))

    view = reshape

    def __getitem__(self, index: Any) -> Placed:
        return _index(self, index if isinstance(index, tuple) else (index,))


@dataclass(frozen=True)
class Strided(Placed):
    """One strided view of one file.

    Args:
        source: the file and its dtype.
        offset_bytes: of the first element, from the start of the file.
        shape: elements of each dimension.
        strides: elements from one to the next along each dimension.
    """

    source: Source
    offset_bytes: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def whole(cls, source: Source, offset_bytes: int, shape: Sequence[int]) -> Strided:
        """A tensor whose elements lie one after the other, the last dimension fastest."""
        strides = [math.prod(shape[d + 1 :]) for d in range(len(shape))]
        return cls(source, offset_bytes, tuple(shape), tuple(strides))

    def _moved(self, elements: int) -> int:
        return self.offset_bytes + elements * self.source.item_bytes

    def select(self, dim: int, index: int) -> Strided:
        dim = _dim(dim, self.ndim)
        index = _position(index, self.shape[dim])
        return Strided(
            self.source,
            self._moved(index * self.strides[dim]),
            self.shape[:dim] + self.shape[dim + 1 :],
            self.strides[:dim] + self.strides[dim + 1 :],
        )

    def slice(self, dim: int, begin: int, end: int, step: int = 1) -> Strided:
        dim = _dim(dim, self.ndim)
        length = len(range(begin, end, step))
        return Strided(
            self.source,
            self._moved(begin * self.strides[dim]),
            (*self.shape[:dim], length, *self.shape[dim + 1 :]),
            (*self.strides[:dim], self.strides[dim] * step, *self.strides[dim + 1 :]),
        )

    def permute(self, *dims: Any) -> Strided:
        order = [_dim(d, self.ndim) for d in _sizes(dims)]
        return Strided(
            self.source,
            self.offset_bytes,
            tuple(self.shape[d] for d in order),
            tuple(self.strides[d] for d in order),
        )

    def unsqueeze(self, dim: int) -> Strided:
        dim = _dim(dim, self.ndim + 1)
        return Strided(
            self.source,
            self.offset_bytes,
            (*self.shape[:dim], 1, *self.shape[dim:]),
            (*self.strides[:dim], 0, *self.strides[dim:]),
        )


@dataclass(frozen=True)
class Joined(Placed):
    """Several, one after the other along a dimension. Made by `join` alone, which sees where they are one."""

    axis: int
    parts: tuple[Placed, ...]
    shape: tuple[int, ...]

    def select(self, dim: int, index: int) -> Placed:
        dim = _dim(dim, self.ndim)
        if dim != self.axis:
            return join([part.select(dim, index) for part in self.parts], self.axis - (dim < self.axis))
        index = _position(index, self.shape[dim])
        for part in self.parts:
            if index < part.shape[dim]:
                return part.select(dim, index)
            index -= part.shape[dim]
        raise AssertionError("a part that is not there")

    def slice(self, dim: int, begin: int, end: int, step: int = 1) -> Placed:
        dim = _dim(dim, self.ndim)
        if dim != self.axis:
            return join([part.slice(dim, begin, end, step) for part in self.parts], self.axis)
        taken, at = [], 0
        for part in self.parts:
            length = part.shape[dim]
            first = begin if begin >= at else begin + -(-(at - begin) // step) * step
            last = min(end, at + length)
            if first < last:
                taken.append(part.slice(dim, first - at, last - at, step))
            at += length
        if not taken:
            return self.parts[0].slice(dim, 0, 0)
        return join(taken, dim)

    def permute(self, *dims: Any) -> Placed:
        order = [_dim(d, self.ndim) for d in _sizes(dims)]
        return join([part.permute(order) for part in self.parts], order.index(self.axis))

    def unsqueeze(self, dim: int) -> Placed:
        dim = _dim(dim, self.ndim + 1)
        return join([part.unsqueeze(dim) for part in self.parts], self.axis + (dim <= self.axis))


def join(parts: Sequence[Placed], dim: int = 0) -> Placed:
    """The parts one after the other along an existing dimension: one view where they lie so, else a `Joined`."""
    if not parts:
        raise ValueError("nothing to join")
    dim = _dim(dim, parts[0].ndim)
    sides = {part.shape[:dim] + part.shape[dim + 1 :] for part in parts}
    if len(sides) != 1:
        raise ValueError(f"shapes {[part.shape for part in parts][:4]} joined along dimension {dim}")
    flat: list[Placed] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Joined) and part.axis == dim else [part])
    return _one_view(flat, dim) or _joined(flat, dim)


def _joined(parts: list[Placed], dim: int) -> Placed:
    if len(parts) == 1:
        return parts[0]
    length = sum(part.shape[dim] for part in parts)
    return Joined(dim, tuple(parts), (*parts[0].shape[:dim], length, *parts[0].shape[dim + 1 :]))


def _one_view(parts: list[Placed], dim: int) -> Strided | None:
    """The parts as one strided view, where their elements along `dim` lie at equal distances."""
    first = parts[0]
    if not all(isinstance(part, Strided) for part in parts) or not isinstance(first, Strided):
        return None
    strided = [part for part in parts if isinstance(part, Strided)]
    if any(part.source != first.source or not _same_but(part.strides, first.strides, dim) for part in strided):
        return None
    if sum(part.shape[dim] for part in strided) > _PIECES_MAX:
        return None
    item = first.source.item_bytes
    at = [part.offset_bytes + i * part.strides[dim] * item for part in strided for i in range(part.shape[dim])]
    step = at[1] - at[0] if len(at) > 1 else 0
    if step < 0 or step % item or any(b - a != step for a, b in itertools.pairwise(at)):
        return None
    return Strided(
        first.source,
        first.offset_bytes,
        (*first.shape[:dim], len(at), *first.shape[dim + 1 :]),
        (*first.strides[:dim], step // item, *first.strides[dim + 1 :]),
    )


def _same_but(one: Sequence[int], other: Sequence[int], dim: int) -> bool:
    return all(a == b for d, (a, b) in enumerate(zip(one, other, strict=True)) if d != dim)


def _dim(dim: int, ndim: int) -> int:
    if not -ndim <= dim < ndim:
        raise IndexError(f"dimension {dim} of {ndim}")
    return dim % ndim


def _position(index: int, size: int) -> int:
    if not -size <= index < size:
        raise IndexError(f"index {index} of {size}")
    return index % size


def _sizes(given: Sequence[Any]) -> list[int]:
    """f(1, 2), f((1, 2)) and f([1, 2]) are the same call."""
    return list(given[0]) if len(given) == 1 and not isinstance(given[0], int) else list(given)


def _index(placed: Placed, index: tuple[Any, ...]) -> Placed:
    if Ellipsis in index:
        at = index.index(Ellipsis)
        missing = placed.ndim - (len(index) - 1)
        index = (*index[:at], *[slice(None)] * missing, *index[at + 1 :])
    made, dim = placed, 0
    for item in index:
        if isinstance(item, slice):
            begin, end, step = item.indices(made.shape[dim])
            if step < 1:
                raise NotPlaced("Tensor[::-1]")
            made = made.slice(dim, begin, max(begin, end), step)
            dim += 1
        elif isinstance(item, int):
            made = made.select(dim, item)
        else:
            raise NotPlaced(f"Tensor[{type(item).__name__}]")
    return made


def _reshape(placed: Placed, shape: list[int]) -> Placed:
    """By splitting and merging one dimension at a time, from the left; a merge that no strides express is a join."""
    if -1 in shape:
        rest = -math.prod(shape)
        if rest == 0 or placed.numel() % rest:
            raise ValueError(f"shape {placed.shape} as {shape}")
        shape = [placed.numel() // rest if n == -1 else n for n in shape]
    if math.prod(shape) != placed.numel():
        raise ValueError(f"shape {placed.shape} as {shape}")
    if placed.numel() == 0:
        raise NotPlaced("reshape of an empty tensor")
    made, dim = placed, 0
    while dim < len(shape):
        if dim == made.ndim:
            made = made.unsqueeze(dim)
        while made.shape[dim] % shape[dim]:
            made = _merged(made, dim)
        if made.shape[dim] != shape[dim]:
            made = _split(made, dim, shape[dim])
        dim += 1
    while made.ndim > len(shape):
        made = made.select(made.ndim - 1, 0)
    return made


def _merged(placed: Placed, dim: int) -> Placed:
    """Dimensions dim and dim + 1 as one."""
    return join([placed.select(dim, i) for i in range(placed.shape[dim])], dim)


def _split(placed: Placed, dim: int, outer: int) -> Placed:
    """Dimension dim as [outer, the rest]."""
    inner, left = divmod(placed.shape[dim], outer)
    if left:
        raise ValueError(f"a dimension of {placed.shape[dim]} as {outer} equal parts")
    return stack([placed.slice(dim, i * inner, (i + 1) * inner) for i in range(outer)], dim)


def stack(tensors: Sequence[Placed], dim: int = 0) -> Placed:
    """As torch.stack."""
    dim = _dim(dim, tensors[0].ndim + 1)
    return join([tensor.unsqueeze(dim) for tensor in tensors], dim)


Placed._functions.update(
    stack=stack,
    cat=join,
    concat=join,
    concatenate=join,
    chunk=Placed.chunk,
    split=Placed.split,
    unbind=Placed.unbind,
    transpose=Placed.transpose,
    permute=Placed.permute,
    squeeze=Placed.squeeze,
    unsqueeze=Placed.unsqueeze,
    narrow=Placed.narrow,
    reshape=Placed.reshape,
    flatten=Placed.flatten,
)
