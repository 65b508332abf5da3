# SPDX-License-Identifier: MIT
"""What an expert is, as data: its parts, where they lie in its block, and its arithmetic."""

from __future__ import annotations

import array
import ctypes
from dataclasses import dataclass, field

from ._enums import PARTS_MAX, Activation, Dtype, ExpertKind, Format, Role
from ._fields import fill, member
from ._library import check, lib
from ._structs import ufm_expert_desc, ufm_part
from .errors import InvalidArgument

__all__ = ["ExpertDesc", "Part"]

PART_ALIGN_BYTES = 64
BLOCK_ALIGN_BYTES = 4096

# The parameters of a gated expert; 0 changes nothing.
_PARAMETERS = ("act_alpha", "gate_limit", "activated_limit", "up_limit", "up_offset")


def _round_up(size: int, to: int) -> int:
    return -(-size // to) * to


@dataclass(frozen=True, slots=True)
class Part:
    """One matrix [rows, cols] of an expert, or one bias [rows] with cols 1, row-major; or what scales a matrix."""

    role: Role
    #: of plain elements; None with a format
    dtype: Dtype | None
    rows: int
    #: in elements
    cols: int = 1
    format: Format = Format.PLAIN
    #: of a matrix that a part beside it scales: rows and columns that share a scale
    group: tuple[int, int] = (0, 0)

    @property
    def bytes(self) -> int:
        """Bytes of the part in the block; 0 where `cols` is no whole number of the format's blocks."""
        if self.dtype is None:
            return self.rows * int(lib.ufm_format_bytes(int(self.format), self.cols))
        return self.rows * self.cols * Dtype(self.dtype).bytes


@dataclass(frozen=True, slots=True)
class ExpertDesc:
    """An expert with `d_model` inputs and outputs and `d_hidden` hidden units, the same for all experts of a bank.

    Without a GATE part: y = down(act(up(x))). With one: y = down(g * u), where

        g = min(act(min(gate(x), gate_limit)), activated_limit)
        u = clamp(up(x), -up_limit, up_limit) + up_offset

    and every product has its bias added first. A parameter that is 0 changes nothing; `act_alpha` is SiLU's,
    x * sigmoid(act_alpha * x). Parts lie in the block in the order given, each at a multiple of 64 bytes.

    What is no expert is refused where a bank is made of it.
    """

    d_model: int
    d_hidden: int
    activation: Activation
    parts: tuple[Part, ...]
    act_alpha: float = 0.0
    gate_limit: float = 0.0
    activated_limit: float = 0.0
    up_limit: float = 0.0
    up_offset: float = 0.0
    #: where each part begins in the block, in bytes
    offsets: tuple[int, ...] = field(init=False, compare=False, repr=False)
    #: the payload: the end of the last part
    expert_bytes: int = field(init=False, compare=False, repr=False)
    #: from one block to the next: `expert_bytes` rounded up to 4096
    block_bytes: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        parts = tuple(self.parts)
        if len(parts) > PARTS_MAX:
            raise InvalidArgument(f"parts: there are {len(parts)}, expected at most {PARTS_MAX}")
        offsets, end = [], 0
        for part in parts:
            offsets.append(_round_up(end, PART_ALIGN_BYTES))
            end = offsets[-1] + part.bytes
        object.__setattr__(self, "activation", member("activation", self.activation, Activation))
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "offsets", tuple(offsets))
        object.__setattr__(self, "expert_bytes", end)
        object.__setattr__(self, "block_bytes", _round_up(end, BLOCK_ALIGN_BYTES))

    @classmethod
    def standard(cls, kind: ExpertKind, d_model: int, d_hidden: int, dtype: Dtype) -> ExpertDesc:
        """The standard layout of a kind: MLP, MLP_BIAS or GATED, all parts of one dtype (F32 or BF16)."""
        out = ufm_expert_desc()
        dims = ufm_expert_desc()
        fill(dims, d_model=d_model, d_hidden=d_hidden)
        check(lib.ufm_expert_desc_init(ctypes.byref(out), int(kind), dims.d_model, dims.d_hidden, int(dtype)))
        return cls.from_struct(out)

    @classmethod
    def from_struct(cls, struct: ufm_expert_desc) -> ExpertDesc:
        """Of a bank that libufm opened, with its parts where they lie there."""
        parts = tuple(_part_of(p) for p in struct.parts[: struct.part_count])
        parameters = {name: float(getattr(struct, name)) for name in _PARAMETERS}
        made = cls(struct.d_model, struct.d_hidden, Activation(struct.activation), parts, **parameters)
        found = tuple(p.offset_bytes for p in struct.parts[: struct.part_count])
        object.__setattr__(made, "offsets", found)
        object.__setattr__(made, "expert_bytes", struct.expert_bytes)
        object.__setattr__(made, "block_bytes", struct.block_bytes)
        return made

    def struct(self) -> ufm_expert_desc:
        """The same as libufm reads it."""
        struct = ufm_expert_desc()
        parameters = {name: float(getattr(self, name)) for name in _PARAMETERS}
        fill(
            struct,
            d_model=self.d_model,
            d_hidden=self.d_hidden,
            activation=int(self.activation),
            part_count=len(self.parts),
            expert_bytes=self.expert_bytes,
            block_bytes=self.block_bytes,
            **parameters,
        )
        for index, (part, offset) in enumerate(zip(self.parts, self.offsets)):
            _fill_part(struct.parts[index], part, offset)
        return struct

    @property
    def storage(self) -> str:
        """How the matrices are stored, for people: "BF16", "E4M3 (128 × 128, F32)"."""
        down = self.parts[self.index(Role.DOWN) or 0]
        if down.dtype is not None:
            return down.dtype.name
        scale = self.index(Role.DOWN_SCALE)
        if scale is None:
            return down.format.name
        beside = self.parts[scale]
        words = [f"{down.group[0]} × {down.group[1]}", (beside.format if beside.dtype is None else beside.dtype).name]
        words += ["zero points"] * (self.index(Role.DOWN_ZERO) is not None)
        words += ["a factor"] * (self.index(Role.DOWN_FACTOR) is not None)
        return f"{down.format.name} ({', '.join(words)})"

    @property
    def in_format(self) -> str:
        """ " in E4M3 (128 × 128, F32)" of quantised experts, for the middle of a line; "" of plain ones."""
        return "" if all(part.dtype is not None for part in self.parts) else f" in {self.storage}"

    def expand(self, block: bytes | bytearray | memoryview, role: Role) -> array.array[float]:
        """What a matrix or a bias of an expert is worth, whatever its format.

        Args:
            block: the expert's `expert_bytes` bytes, contiguous.
            role: of a matrix or a bias.

        Returns:
            rows * cols floats, row-major.
        """
        index = self.index(role)
        count = 0 if index is None else self.parts[index].rows * self.parts[index].cols
        found = memoryview(block).nbytes
        if found < self.expert_bytes:
            raise InvalidArgument(f"block: it has {found} bytes, expected {self.expert_bytes}")
        out = array.array("f", bytes(4 * max(1, count)))
        copy = ctypes.create_string_buffer(self.expert_bytes + PART_ALIGN_BYTES)
        at = _round_up(ctypes.addressof(copy), PART_ALIGN_BYTES)
        ctypes.memmove(at, bytes(memoryview(block).cast("B")[: self.expert_bytes]), self.expert_bytes)
        check(lib.ufm_expert_expand(ctypes.byref(self.struct()), at, int(role), out.buffer_info()[0]))
        return out

    def index(self, role: Role) -> int | None:
        """The place of the part with a role among `parts`, or None."""
        return next((i for i, part in enumerate(self.parts) if part.role == role), None)


def _part_of(p: ufm_part) -> Part:
    dtype = Dtype(p.dtype) if p.dtype else None
    return Part(Role(p.role), dtype, p.rows, p.cols, Format(p.format), (p.group_rows, p.group_cols))


def _fill_part(struct: ufm_part, part: Part, offset: int) -> None:
    fill(
        struct,
        role=int(member("role", part.role, Role)),
        dtype=0 if part.dtype is None else int(member("dtype", part.dtype, Dtype)),
        rows=part.rows,
        cols=part.cols,
        offset_bytes=offset,
        format=int(member("format", part.format, Format)),
        group_rows=part.group[0],
        group_cols=part.group[1],
    )
