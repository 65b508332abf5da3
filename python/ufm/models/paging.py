# SPDX-License-Identifier: MIT
"""All that libufm holds for one model: a bank, a host tier and an engine for each geometry of its experts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .._enums import Dtype
from ..core import Bank, Engine, Host, Layer, divide
from ..errors import BudgetError, InvalidArgument
from ..sizes import size_text
from .experts import PagedExperts
from .layout import describe, extents
from .options import Options
from .placed import Placed
from .sites import Geometry, Site

# A model in float16 has its experts in float32: blocks of float16 are none of libufm's.
_EXPERT_DTYPES = {torch.float32: Dtype.F32, torch.bfloat16: Dtype.BF16, torch.float16: Dtype.F32}

# The share of the budget that the workspace may take, and the longest call that it is laid out for.
_WORKSPACE_SHARE = 8
_TOKENS_MAX = 4096
_TOKENS_MIN = 16
# Page-locked host memory for the row table of calls that are longer.
_LONG_TABLE_BYTES = 512 << 20
_LONG_TOKENS_MAX = 16384


@dataclass
class Group:
    """The routed layers of one geometry.

    Args:
        geometry: of their experts.
        sites: the layers, in the model's order.
        bank: where their bytes come from; layer i of it is sites[i].
    """

    geometry: Geometry
    sites: list[Site]
    bank: Bank
    host: Host | None = None
    engine: Engine | None = None
    layers: list[Layer] = field(default_factory=list)

    @property
    def block_bytes(self) -> int:
        """Of all experts."""
        return self.bank.info.desc.block_bytes * self.bank.info.layers * self.bank.info.experts


def call_tokens(top_k: int, d_model: int, d_hidden: int, share_bytes: float) -> tuple[int, int]:
    """The longest call whose row table lies on the device, and the longest call, for experts of so many bytes there."""
    token_bytes = 4 * top_k * (d_model + 3 * d_hidden)
    tokens = _TOKENS_MAX
    while tokens > _TOKENS_MIN and tokens * token_bytes * _WORKSPACE_SHARE > share_bytes:
        tokens //= 2
    longest = min(_LONG_TOKENS_MAX, _LONG_TABLE_BYTES // (4 * top_k * d_model))
    return tokens, max(tokens, longest)


def by_geometry(sites: Sequence[Site]) -> list[tuple[Geometry, list[Site]]]:
    """The sites of each geometry, in order of appearance; of those with the same experts the first."""
    found: dict[Geometry, dict[str, Site]] = {}
    for site in sites:
        found.setdefault(site.geometry, {}).setdefault(site.parameters["first"], site)
    return [(geometry, list(members.values())) for geometry, members in found.items()]


def expert_dtype(dtype: torch.dtype) -> Dtype:
    """What a model's dtype makes of its experts."""
    if dtype not in _EXPERT_DTYPES:
        known = ", ".join(str(d).removeprefix("torch.") for d in _EXPERT_DTYPES)
        raise InvalidArgument(f"dtype: {str(dtype).removeprefix('torch.')}: expected one of {known}")
    return _EXPERT_DTYPES[dtype]


def banks_of_files(
    sites: Sequence[Site], placed: Mapping[str, Placed], files: Sequence[str], dtype: torch.dtype
) -> list[Group]:
    """A bank for each geometry, read straight from a checkpoint's files."""
    groups = []
    for geometry, members in by_geometry(sites):
        where = itertools.chain.from_iterable(
            extents(site, {part: placed[name] for part, name in site.parameters.items()}) for site in members
        )
        bank = Bank.files(
            describe(geometry, expert_dtype(dtype)),
            [str(path) for path in files],
            list(where),
            layers=len(members),
            experts=geometry.experts,
            layer_numbers=[site.number for site in members],
        )
        groups.append(Group(geometry, members, bank))
    return groups


class Paging:
    """A model's experts, loaded and ready. Closes what it holds when nobody has it any more.

    Args:
        groups: a bank for each geometry.
        options: what the user asked for.
        device: of the model; its experts have their slots there.
        dtype: of the model.
        budget_bytes: slots and workspaces of all groups, on the device; a fraction: slots for so many of the experts.
        progress: None, or called with (done, total) bytes while the experts are loaded.
    """

    def __init__(
        self,
        groups: list[Group],
        options: Options,
        device: torch.device,
        dtype: torch.dtype,
        budget_bytes: int | float,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.groups, self.options, self.device, self.dtype = groups, options, device, dtype
        try:
            self._load(progress)
            self._open_engines(budget_bytes)
            self._open_layers()
            self._fill()
        except BaseException:
            self.close()
            raise

    @property
    def engines(self) -> list[Engine]:
        return [group.engine for group in self.groups if group.engine is not None]

    def held_bytes(self) -> int:
        """Device memory of all slots and workspaces."""
        return sum(i.slab_bytes + i.workspace_bytes + i.arena_bytes for i in (e.info() for e in self.engines))

    def attach(self, modules: Mapping[str, PagedExperts]) -> None:
        """Gives every module its layer; those with the same experts have the same one."""
        layers = {
            site.parameters["first"]: (layer, group.bank.info.desc.in_format)
            for group in self.groups
            for site, layer in zip(group.sites, group.layers, strict=True)
        }
        for module in modules.values():
            layer, stored = layers[module.site.parameters["first"]]
            module.open(layer, self, stored)

    def close(self) -> None:
        """Frees all. Modules that still have layers fail when they are called."""
        for group in reversed(self.groups):
            for layer in group.layers:
                layer.close()
            for held in (group.engine, group.host, group.bank):
                if held is not None:
                    held.close()

    # ---- opening

    def _load(self, progress: Callable[[int, int], None] | None) -> None:
        backend = "cuda" if self.device.type == "cuda" else "cpu"
        total = sum(group.block_bytes for group in self.groups)
        before = 0
        for group in self.groups:
            told = _shifted(progress, before, total) if progress is not None else None
            before += group.block_bytes  # asked while the bank is open, and known from then on
            group.host = Host(group.bank, backend=backend, progress=told)
            group.bank.close()

    def _open_engines(self, budget: int | float) -> None:
        tokens_of = [self._tokens(group, budget) for group in self.groups]
        for group, (tokens, call_tokens) in zip(self.groups, tokens_of, strict=True):
            assert group.host is not None
            group.engine = Engine(
                group.host,
                device_index=self.device.index or 0,
                smallest=True,
                max_tokens=tokens,
                call_tokens_max=call_tokens,
                top_k_max=max(site.top_k for site in group.sites),
                cpu_assist="off" if self.options.deterministic else self.options.cpu_assist,
                math=self._math(),
                routing_bytes=self.options.routing_room(),
            )
        divide(self.engines, self._total(budget))

    def _total(self, budget: int | float) -> int:
        """Bytes for all engines; of a fraction at least what their smallest working sets need."""
        bounds = [engine.bounds() for engine in self.engines]
        least, most = sum(each.least_bytes for each in bounds), sum(each.most_bytes for each in bounds)
        if isinstance(budget, float):
            return max(least, most - int((1 - budget) * sum(group.block_bytes for group in self.groups)))
        if budget < least:
            raise BudgetError(
                f"experts: {size_text(budget)} for slots and workspace: expected at least {size_text(least)} "
                f"({least} bytes), which the smallest working set needs; all experts have a slot from {size_text(most)}"
            )
        return budget

    def _tokens(self, group: Group, budget: int | float) -> tuple[int, int]:
        """The longest call whose row table lies on the device, and the longest call."""
        top_k, geometry = max(site.top_k for site in group.sites), group.geometry
        if isinstance(budget, float):
            share = budget * group.block_bytes
        else:
            share = budget * group.block_bytes / sum(other.block_bytes for other in self.groups)
        return call_tokens(top_k, geometry.d_model, geometry.d_hidden, share)

    def _math(self) -> str:
        """bf16 weights and tokens have their products in bf16 on a GPU, as Transformers has them there."""
        if self.options.math != "auto":
            return self.options.math
        return "bf16" if self.device.type == "cuda" and self.dtype == torch.bfloat16 else "fp32"

    def _open_layers(self) -> None:
        for group in self.groups:
            assert group.engine is not None
            group.layers = [Layer(group.engine, i, site.top_k) for i, site in enumerate(group.sites)]

    def _fill(self) -> None:
        """Experts into empty slots, every layer as many. A layer that has all of its experts needs no host."""
        for group in self.groups:
            assert group.engine is not None
            layers, experts = len(group.sites), group.geometry.experts
            slots = group.engine.info().slots
            for layer in range(layers):
                share = slots * (layer + 1) // layers - slots * layer // layers
                group.engine.prefetch(layer, list(range(min(experts, share))))


def _shifted(progress: Callable[[int, int], None], before: int, total: int) -> Callable[[int, int], None]:
    return lambda done, _: progress(before + done, total)


def paging_of(model: Any) -> Paging | None:
    """The paging of a model that was loaded or attached; None where nothing is paged."""
    for module in model.modules():
        if isinstance(module, PagedExperts) and module.paging is not None:
            paging: Paging = module.paging
            return paging
    return None
