# SPDX-License-Identifier: MIT
"""What an engine tells of itself, as values that stay."""

from __future__ import annotations

import functools
from ctypes import Structure
from dataclasses import dataclass, fields
from typing import TypeVar

from ._enums import Math
from ._fields import words
from ._library import lib

__all__ = ["CounterDesc", "CpuChoice", "EngineBounds", "EngineInfo", "EngineMemory", "LenderInfo", "RoutingInfo"]

_T = TypeVar("_T", bound="_Figures")


class _Figures:
    """Made of the fields of the same names of a struct."""

    __slots__ = ()

    @classmethod
    def of(cls: type[_T], struct: Structure) -> _T:
        values = {}
        for field in fields(cls):  # type: ignore[arg-type]
            value = getattr(struct, field.name)
            values[field.name] = words(value) if value is None or isinstance(value, bytes) else value
        return cls(**values)


@dataclass(frozen=True, slots=True)
class EngineInfo(_Figures):
    """The configuration in effect. `slab_bytes + workspace_bytes + arena_bytes` is all that the engine holds."""

    backend: str
    device: str
    policy: str
    vram_target_bytes: int
    headroom_bytes: int
    vram_limit_bytes: int
    #: taken by the driver before the first allocation
    context_bytes: int
    #: emulated; 0: a real link
    link_gbps: float
    slots: int
    ring_slots: int
    lease_max: int
    expert_bytes: int
    block_bytes: int
    slab_bytes: int
    workspace_bytes: int
    arena_bytes: int
    max_tokens: int
    call_tokens_max: int
    top_k_max: int
    math: Math
    #: of the CPU path; 0: it is off
    cpu_threads: int
    #: 0: not fixed
    cpu_share_percent: int
    #: "on", "off", or one of them with why
    cpu_assist: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "math", Math(self.math))


@dataclass(frozen=True, slots=True)
class EngineMemory(_Figures):
    """Device memory of a moment: the driver's view, and what the engine knows."""

    device_total_bytes: int
    device_free_bytes: int
    #: fall of free memory since the device was opened, whoever took it
    held_bytes: int
    #: slots that hold an expert, workspace, and arena in use
    live_bytes: int
    #: most bytes of slots ever in use at once
    slab_high_water_bytes: int


@dataclass(frozen=True, slots=True)
class EngineBounds(_Figures):
    """Budgets (`vram_target_bytes`): of the smallest working set, of what is held now, and beyond which more is of no
    use.
    """

    least_bytes: int
    now_bytes: int
    most_bytes: int


@dataclass(frozen=True, slots=True)
class LenderInfo(_Figures):
    """One limit for engines and another allocator, and what was made of it. Bytes by the driver's count."""

    limit_bytes: int
    #: now, of the limit
    used_bytes: int
    #: the most that any call on the lender has seen
    used_high_water_bytes: int
    #: what the engines could give back now, leases aside
    gives_bytes: int
    #: not given back yet
    lent_bytes: int
    lent_count: int
    #: how often engines gave memory back at once, and how much
    rooms: int
    room_bytes: int
    #: allocations that failed
    refused: int
    #: how often settling changed the engines, and by how much
    grown: int
    grown_bytes: int
    shrunk: int
    shrunk_bytes: int


@dataclass(frozen=True, slots=True)
class CpuChoice(_Figures):
    """What "auto" has found of layer calls of `tokens_from` tokens and of less than twice as many."""

    tokens_from: int
    #: what such calls do from now on
    takes_cpu: bool
    link_looks: int
    cpu_looks: int
    #: what a miss costs, all that comes with it included; 0: not known
    link_miss_ns: float
    cpu_miss_ns: float
    #: of mind, of all sizes together
    changes: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "takes_cpu", bool(self.takes_cpu))


@dataclass(frozen=True, slots=True)
class RoutingInfo(_Figures):
    """Tokens of a file of routing, and those before and after them that are not in it."""

    tokens: int
    dropped_tokens: int
    partial_tokens: int


@dataclass(frozen=True, slots=True)
class CounterDesc(_Figures):
    """A counter; `kind` is "sum", "max" or "gauge"."""

    name: str
    unit: str
    kind: str
    help: str


@functools.cache
def counter_descriptions() -> tuple[CounterDesc, ...]:
    """Every counter, in the library's order."""
    return tuple(CounterDesc.of(lib.ufm_counter_describe(i).contents) for i in range(lib.ufm_counter_count()))
