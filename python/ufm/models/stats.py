# SPDX-License-Identifier: MIT
"""What a model's experts have cost so far: uses, hits, bytes by path, and where the experts are.

    before = ufm.stats(model)
    model.generate(...)
    ufm.stats(model) - before

The fraction of the floor (the least time that the bytes could have taken) is not among the figures: an engine does not
measure what its link and its memory could do at their best. What the link did while it copied is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidArgument
from ..figures import counter_descriptions
from ..sizes import size_text

__all__ = ["GeometryStats", "Stats", "stats"]


class _Figures:
    """What follows from counters, for one geometry and for all."""

    counters: dict[str, int]

    @property
    def calls(self) -> int:
        """Calls of routed layers."""
        return self.counters["calls"]

    @property
    def uses(self) -> int:
        """Distinct experts that calls demanded, summed over the calls."""
        return self.counters["uses"]

    @property
    def hits(self) -> int:
        """Uses whose expert was in a slot already."""
        return self.counters["resident_uses"]

    @property
    def hit_rate(self) -> float | None:
        """Hits of the uses, 0 … 1; None where nothing was used."""
        return self.hits / self.uses if self.uses else None

    @property
    def link_bytes(self) -> int:
        """Expert bytes that were copied to the device."""
        return self.counters["h2d_weight_bytes"]

    @property
    def cpu_bytes(self) -> int:
        """Bytes of experts that the CPU computed where they lie."""
        return self.counters["cpu_weight_bytes"]

    @property
    def wait_ns(self) -> int:
        """Time that the device waited for experts to arrive."""
        return self.counters["stall_ns"]

    @property
    def link_gbps(self) -> float | None:
        """Decimal GB/s of the copies, while there were any; None where nothing was copied."""
        return self.link_bytes / self.counters["copy_ns"] if self.counters["copy_ns"] else None


@dataclass(frozen=True, repr=False)
class GeometryStats(_Figures):
    """The routed layers whose experts are alike, and share slots.

    Args:
        layers: routed layers.
        experts: of all these layers together.
        d_model, d_hidden: of an expert.
        expert_bytes: of one expert, as it is stored.
        slots: so many experts can be on the device.
        slab_bytes: device memory of the slots.
        workspace_bytes: device memory of the calls.
        counters: libufm's, by the names of `ufm.Engine.counter_descriptions()`.
        storage: how the experts' matrices are stored: "BF16", "E4M3 (128 × 128, F32)".
    """

    layers: int
    experts: int
    d_model: int
    d_hidden: int
    expert_bytes: int
    slots: int
    slab_bytes: int
    workspace_bytes: int
    counters: dict[str, int] = field(repr=False)
    storage: str = ""
    _in_format: str = ""

    @property
    def tokens(self) -> int:
        """Tokens that went through these layers, each counted once, however many layers there are."""
        return self.counters["tokens"] // self.layers if self.layers else 0

    @property
    def resident_bytes(self) -> int:
        """Bytes of the experts that were in slots when they were used."""
        return self.hits * self.expert_bytes

    @property
    def resident_share(self) -> float:
        """The part of the experts that has a slot, 0 … 1."""
        return min(1.0, self.slots / self.experts) if self.experts else 0.0

    def __sub__(self, earlier: GeometryStats) -> GeometryStats:
        same = ("layers", "experts", "d_model", "d_hidden", "expert_bytes")
        if not isinstance(earlier, GeometryStats) or any(getattr(self, n) != getattr(earlier, n) for n in same):
            raise InvalidArgument("stats: of different models: expected an earlier reading of the same")
        sums = {each.name for each in counter_descriptions() if each.kind == "sum"}
        gone = {name: v - earlier.counters[name] if name in sums else v for name, v in self.counters.items()}
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "counters"}
        return GeometryStats(**kept, counters=gone)

    def __repr__(self) -> str:
        return f"<{self._line()}>"

    def _line(self) -> str:
        return (
            f"{self.layers} layers, {self.d_model} → {self.d_hidden}: {_uses(self)}; {self.slots} slots for "
            f"{self.experts} experts of {size_text(self.expert_bytes)}{self._in_format} ({self.resident_share:.0%})"
        )


@dataclass(frozen=True, repr=False)
class Stats(_Figures):
    """A model's figures since it was loaded, or between two readings: `later - earlier`.

    Args:
        geometries: one for each kind of expert in the model; empty where nothing is paged.
        read_at_s: when they were read, by time.monotonic().
        seconds: between the two readings; None for one reading.
    """

    geometries: tuple[GeometryStats, ...]
    read_at_s: float = field(default=0.0, compare=False)
    seconds: float | None = None

    @property
    def counters(self) -> dict[str, int]:  # type: ignore[override]
        """libufm's, of all geometries together."""
        names = [each.name for each in counter_descriptions()]
        return {name: sum(g.counters[name] for g in self.geometries) for name in names}

    @property
    def tokens(self) -> int:
        """Tokens that went through the routed layers, each counted once."""
        return max((g.tokens for g in self.geometries), default=0)

    @property
    def layers(self) -> int:
        """Routed layers."""
        return sum(g.layers for g in self.geometries)

    @property
    def experts(self) -> int:
        """Of all routed layers together."""
        return sum(g.experts for g in self.geometries)

    @property
    def storage(self) -> str:
        """How the experts' matrices are stored: "BF16", "E4M3 (128 × 128, F32)"; of several kinds all of them."""
        return ", ".join(dict.fromkeys(g.storage for g in self.geometries))

    @property
    def slots(self) -> int:
        """So many experts can be on the device."""
        return sum(g.slots for g in self.geometries)

    @property
    def resident_bytes(self) -> int:
        """Bytes of the experts that were in slots when they were used."""
        return sum(g.resident_bytes for g in self.geometries)

    @property
    def resident_share(self) -> float:
        """The part of all experts' bytes that has slots, 0 … 1."""
        total = sum(g.experts * g.expert_bytes for g in self.geometries)
        return sum(g.resident_share * g.experts * g.expert_bytes for g in self.geometries) / total if total else 0.0

    @property
    def slab_bytes(self) -> int:
        """Device memory of the slots."""
        return sum(g.slab_bytes for g in self.geometries)

    @property
    def workspace_bytes(self) -> int:
        """Device memory of the calls."""
        return sum(g.workspace_bytes for g in self.geometries)

    def __sub__(self, earlier: Stats) -> Stats:
        if not isinstance(earlier, Stats) or len(self.geometries) != len(earlier.geometries):
            raise InvalidArgument("stats: of different models: expected an earlier reading of the same")
        gone = tuple(mine - theirs for mine, theirs in zip(self.geometries, earlier.geometries, strict=True))
        return Stats(gone, self.read_at_s, self.read_at_s - earlier.read_at_s)

    def lines(self) -> list[str]:
        """A few lines for people."""
        if not self.geometries:
            return ["nothing is paged: the model has no routed experts"]
        formats = ",".join(dict.fromkeys(g._in_format for g in self.geometries))
        found = [
            f"{self.tokens} tokens through {self.layers} routed layers: {_uses(self)}",
            f"bytes: {size_text(self.resident_bytes)} resident, {size_text(self.link_bytes)} over the link"
            f"{_rate(self.link_gbps)}, {size_text(self.cpu_bytes)} by the CPU",
            f"device: {self.slots} slots for {self.experts} experts{formats} ({self.resident_share:.0%} of their "
            f"bytes), {size_text(self.slab_bytes)} and {size_text(self.workspace_bytes)} of workspace; it waited "
            f"{self.wait_ns / 1e9:.3g} s{_of(self.seconds)}",
        ]
        return found + ([g._line() for g in self.geometries] if len(self.geometries) > 1 else [])

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        from .figure import figure

        return figure(self)


def stats(model: Any) -> Stats:
    """What the experts of a loaded or attached model have cost since it was loaded. Waits for the device, so that the
    figures are exact; from the thread that runs the model.
    """
    from .paging import paging_of

    paging = paging_of(model)
    if paging is None:
        return Stats((), time.monotonic())
    _wait(paging.device)
    return Stats(tuple(_read(group) for group in paging.groups), time.monotonic())


def _wait(device: Any) -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def _read(group: Any) -> GeometryStats:
    info, bank = group.engine.info(), group.bank.info
    return GeometryStats(
        layers=bank.layers,
        experts=bank.layers * bank.experts,
        d_model=bank.desc.d_model,
        d_hidden=bank.desc.d_hidden,
        expert_bytes=bank.desc.expert_bytes,
        slots=info.slots,
        slab_bytes=info.slab_bytes,
        workspace_bytes=info.workspace_bytes + info.arena_bytes,
        counters=group.engine.counters(),
        storage=bank.desc.storage,
        _in_format=bank.desc.in_format,
    )


def _uses(figures: _Figures) -> str:
    rate = figures.hit_rate
    return f"{figures.uses} uses" + ("" if rate is None else f", {rate:.1%} hits")


def _rate(gbps: float | None) -> str:
    return "" if gbps is None else f" (at {gbps:.3g} GB/s)"


def _of(seconds: float | None) -> str:
    return "" if seconds is None else f" of {seconds:.3g} s"
