# SPDX-License-Identifier: MIT
"""What an expert is, as data: its parts, where they lie in its block, and its arithmetic."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

from ._enums import PARTS_MAX, Activation, Dtype, ExpertKind, Role
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
    """One matrix [rows, cols] of an expert, or one bias [rows] with cols 1, row-major."""

    role: Role
    dtype: Dtype
    rows: int
    cols: int = 1

    @property
    def bytes(self) -> int:
        """Bytes of the part in the block."""
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
        parts = tuple(Part(Role(p.role), Dtype(p.dtype), p.rows, p.cols) for p in struct.parts[: struct.part_count])
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

    def index(self, role: Role) -> int | None:
        """The place of the part with a role among `parts`, or None."""
        return next((i for i, part in enumerate(self.parts) if part.role == role), None)


def _fill_part(struct: ufm_part, part: Part, offset: int) -> None:
    fill(
        struct,
        role=int(member("role", part.role, Role)),
        dtype=int(member("dtype", part.dtype, Dtype)),
        rows=part.rows,
        cols=part.cols,
        offset_bytes=offset,
    )
