# SPDX-License-Identifier: MIT
"""plan.h from Python: what routed layers give within a budget of device memory, before anything is run.

No torch, no weights and, with a machine's rates given, no device. Rates are decimal GB/s.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

from ._enums import Status
from ._fields import fill, words
from ._library import check, lib
from ._structs import ufm_plan_config, ufm_plan_machine, ufm_plan_model, ufm_plan_phase, ufm_plan_point
from .description import ExpertDesc

__all__ = ["Machine", "Phase", "Point", "Routed", "plan", "probe"]

_BOUNDS = {1: "device memory", 2: "arithmetic", 3: "the link", 4: "the link and the CPU", 5: "the host's overhead"}


@dataclass(frozen=True)
class Routed:
    """Routed layers of one geometry: `experts` a layer, of which a token goes to `top_k`."""

    desc: ExpertDesc
    layers: int
    experts: int
    top_k: int


@dataclass(frozen=True)
class Machine:
    """A machine's rates. `dram_gbps` 0: the CPU computes no experts; `gflops` 0: arithmetic is free."""

    link_gbps: float
    hbm_gbps: float
    dram_gbps: float = 0.0
    gflops: float = 0.0
    sum_link_gbps: float = 0.0
    sum_cpu_gbps: float = 0.0
    cpu_threads: int = 0
    backend: str = "cuda"


@dataclass(frozen=True)
class Phase:
    """Decode or prefill. Bytes are of a token, on average; `hit_rate` 0 … 1."""

    tokens_per_s: float
    hit_rate: float
    device_bytes: float
    link_bytes: float
    cpu_bytes: float
    step_ns: float
    bound: str
    with_cpu: bool

    @classmethod
    def of(cls, found: ufm_plan_phase) -> Phase:
        plain = {name: getattr(found, name) for name in cls.__dataclass_fields__ if name not in ("bound", "with_cpu")}
        return cls(**plain, bound=_BOUNDS.get(found.bound, ""), with_cpu=bool(found.with_cpu))


@dataclass(frozen=True)
class Point:
    """What one budget gives. Where it is too small, `why` says what is needed and there are no phases."""

    vram_target_bytes: int
    why: str
    host_bytes: int
    workspace_bytes: int
    slots: int
    decode: Phase | None
    prefill: Phase | None


def probe(routed: Routed, backend: str = "auto") -> Machine:
    """The rates of this machine, in about a second. BackendError: none of that name, or its costs are not known."""
    model, found = _model(routed), ufm_plan_machine()
    check(lib.ufm_plan_probe_machine(ctypes.byref(model), backend.encode(), ctypes.byref(found)))
    plain = {name: getattr(found, name) for name in Machine.__dataclass_fields__ if name != "backend"}
    return Machine(**plain, backend=words(found.backend))


def plan(
    routed: Routed,
    machine: Machine,
    budgets: Sequence[int],
    *,
    batch: int = 1,
    prompt: int = 512,
    max_tokens: int = 0,
) -> list[Point]:
    """A point for each budget (`experts=` of `from_pretrained`); 0: the one that gives every expert a slot.

    `batch` sequences decode side by side, of `prompt` tokens each; `max_tokens` bounds the workspace. Routing is made
    as a published router of about that size does it. Seconds a point for large models.
    """
    model, rates, config = _model(routed), ufm_plan_machine(), ufm_plan_config()
    fill(rates, **{name: getattr(machine, name) for name in Machine.__dataclass_fields__})
    fill(config, batch=batch, prompt=prompt, max_tokens=max_tokens, routing_by_caller=1)
    config.model, config.machine = ctypes.pointer(model), ctypes.pointer(rates)
    points = (ufm_plan_point * len(budgets))()
    for point, budget in zip(points, budgets):
        fill(point, struct_size=ctypes.sizeof(ufm_plan_point), vram_target_bytes=budget)
    check(lib.ufm_plan(ctypes.byref(config), points, len(budgets)))
    return [_point(each) for each in points]


def _model(routed: Routed) -> ufm_plan_model:
    model = ufm_plan_model()
    fill(model, layers=routed.layers, experts=routed.experts, top_k=routed.top_k)
    model.desc = ctypes.pointer(routed.desc.struct())
    return model


def _point(found: ufm_plan_point) -> Point:
    fits = found.status == Status.OK
    return Point(
        found.vram_target_bytes,
        "" if fits else words(found.why),
        found.host_bytes,
        found.workspace_bytes,
        found.slots,
        Phase.of(found.decode) if fits else None,
        Phase.of(found.prefill) if fits else None,
    )
