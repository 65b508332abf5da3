# SPDX-License-Identifier: MIT
"""`vram`: all that the process may hold on the device, and who gets how much of it.

On a GPU what counts is the driver's count: context, dense weights, PyTorch's allocator, slots and workspace. The dense
weights are loaded first; the experts get what is left but for a reserve. From then on a forward pass takes its memory,
the growing KV cache too, from a pool of PyTorch's whose segments come through `Lender`: what would pass the limit is
made room for by engines, and the segment is asked for again. Between steps the engines take again what nobody needs.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from typing import Any

import torch

from ..errors import BudgetError
from ..sizes import size_text
from . import footprint
from .options import Options

log = logging.getLogger("ufm")

# Left free beside the experts when a model is loaded and whenever engines grow: what CUDA loads when it is first
# called (kernels of its libraries), and the first segments of a step.
RESERVE_BYTES = 256 << 20
# Memory that a pool holds and nobody uses is given back from so much on.
_IDLE_BYTES = 256 << 20
# Decode looks at the driver's count once in so many steps; every longer call looks.
_STEPS_BETWEEN_LOOKS = 32


def for_experts(model: Any, options: Options, device: torch.device, experts_bytes: int) -> int | float:
    """Bytes of slots and workspace, or a fraction of the experts.

    Args:
        model: loaded but for its experts.
        options: what the user asked for.
        device: of the model.
        experts_bytes: blocks of all experts together.

    Raises:
        BudgetError: `vram` does not hold even what is loaded already.
    """
    asked = options.expert_budget()
    if asked is not None:
        return asked
    limit = options.vram_bytes()
    if device.type == "cpu":
        return _on_cpu(experts_bytes) if limit is None else limit
    return _left(limit_bytes(options, device), used_bytes(device), reserve_bytes(model, options))


def reserve_bytes(model: Any, options: Options) -> int:
    """What stays free of experts: for a step, and for the keys and values of `context` tokens."""
    token_bytes = footprint.cache_bytes_per_token(model.config, model.dtype.itemsize) if options.context else 0
    return RESERVE_BYTES + token_bytes * (options.context or 0)


def check_before_loading(model: Any, options: Options, device: torch.device) -> None:
    """BudgetError: the model on the meta device cannot fit, whatever its experts get."""
    if device.type == "cuda" and options.expert_budget() is None:
        held = used_bytes(device) + footprint.dense_bytes(model)
        _left(limit_bytes(options, device), held, reserve_bytes(model, options))


def _left(limit: int, held: int, reserve: int) -> int:
    if held + reserve >= limit:
        raise BudgetError(
            f"vram: {size_text(limit)}: the model without its experts, and the driver, need {size_text(held)}, and "
            f"{size_text(reserve)} stay free for a step and `context`: expected more than {size_text(held + reserve)}"
        )
    return limit - held - reserve


def keep(model: Any, paging: Any, options: Options) -> None:
    """From now on the process stays within `vram`; where only `experts` was asked for, nothing is kept."""
    if paging.device.type == "cuda" and options.expert_budget() is None:
        Keeper(model, paging, limit_bytes(options, paging.device), reserve_bytes(model, options))


def _on_cpu(experts_bytes: int) -> float:
    """Slots beside the host tier are a second copy: for all experts where that takes less than half of what is free."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(1.0, max(0.05, free / 2 / max(1, experts_bytes)))


# ---- the driver's count

# More than a context without kernels takes on any card we have seen. What is taken beyond that before we hold anything
# is somebody else's; with nobody else on the card the count is exact.
CONTEXT_BYTES_MAX = 640 << 20

_others: dict[int, int] = {}


def look_at_others(device: torch.device) -> None:
    """Notes, once, what other processes hold on a device."""
    index = device.index or 0
    if device.type != "cuda" or index in _others:
        return
    free, total = torch.cuda.mem_get_info(index)
    _others[index] = max(0, total - free - torch.cuda.memory_reserved(index) - CONTEXT_BYTES_MAX)


def used_bytes(device: torch.device) -> int:
    """All that this process holds on the device, by the driver's count."""
    look_at_others(device)
    free, total = torch.cuda.mem_get_info(device)
    return int(total - free) - _others[device.index or 0]


def limit_bytes(options: Options, device: torch.device) -> int:
    """`vram`, or all of the device that others leave."""
    look_at_others(device)
    asked = options.vram_bytes()
    return asked if asked is not None else int(torch.cuda.mem_get_info(device)[1]) - _others[device.index or 0]


class _Shared:
    """One lender for a device: of the engines of all models of the process that are kept within one limit."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pagings: weakref.WeakSet[Any] = weakref.WeakSet()
        self.limit_bytes = 0
        self.lender: Any = None

    def add(self, paging: Any, limit: int) -> None:
        """From now on the limit is that of the model that was loaded last: it is the process's."""
        with self.lock:
            self.pagings.add(paging)
            weakref.finalize(paging, self._forget)
            self.limit_bytes = limit
            self._open(paging.device)

    def _forget(self) -> None:
        """A model has gone: its engines go with the lender that holds them, and those that are left get another."""
        lender, self.lender = self.lender, None
        if lender is not None:
            lender.close()

    def current(self, device: torch.device) -> Any:
        """The open lender: a new one where an engine, and the lender with it, has closed."""
        with self.lock:
            if self.lender is None or self.lender.closed:
                self._open(device)
            return self.lender

    def _open(self, device: torch.device) -> None:
        from ..lender import Lender

        if self.lender is not None:
            self.lender.close()
        index = device.index or 0
        engines = [engine for paging in self.pagings for engine in paging.engines if not engine.closed]
        self.lender = Lender(engines, self.limit_bytes, _others[index], index)


_shared: dict[int, _Shared] = {}


class Keeper:
    """Keeps a loaded model within its `vram` on a GPU, by two hooks on the model.

    Args:
        model: whose forward passes are watched.
        paging: whose engines give and take.
        limit: of the process, in bytes.
        reserve: what engines leave free of it, less what is lent already.
    """

    def __init__(self, model: Any, paging: Any, limit: int, reserve: int) -> None:
        self.device, self.reserve_bytes = paging.device, reserve
        look_at_others(self.device)
        self.shared = _shared.setdefault(self.device.index or 0, _Shared())
        self.shared.add(paging, limit)
        self.allocator = torch._C._cuda_customAllocator(*self.shared.lender.addresses())
        self.local = threading.local()
        self.cache_token_bytes = footprint.cache_bytes_per_token(model.config, model.dtype.itemsize)
        self.steps = 0
        model.register_forward_pre_hook(lambda _, args, kw: self.begin(args, kw), with_kwargs=True)
        model.register_forward_hook(lambda _, args, output: self.end(output), always_call=True)

    def begin(self, args: tuple[Any, ...], kw: dict[str, Any]) -> None:
        """Before a forward pass: a prompt that cannot fit is refused, and the pass gets its pool."""
        local = self.local
        if getattr(local, "depth", 0) == 0:
            rows, tokens = _shape(args, kw)
            local.prompt = tokens > 1
            self._make_ready(rows, tokens)
            if getattr(local, "pool", None) is None:
                local.pool = torch.cuda.MemPool(self.allocator)
            local.use = torch.cuda.use_mem_pool(local.pool, self.device)
            local.use.__enter__()
        local.depth = getattr(local, "depth", 0) + 1

    def end(self, output: Any) -> None:
        """After a forward pass, also one that failed, or that `begin` refused."""
        local = self.local
        if getattr(local, "depth", 0) == 0:
            return
        local.depth -= 1
        if local.depth:
            return
        local.use.__exit__(None, None, None)
        if local.prompt:  # every step of decode would find the same
            held, tokens = footprint.measured_cache_bytes(getattr(output, "past_key_values", None))
            if tokens:
                self.cache_token_bytes = -(-held // tokens)

    def _make_ready(self, rows: int, tokens: int) -> None:
        self.steps += 1
        if tokens == 1 and self.steps % _STEPS_BETWEEN_LOOKS:
            return
        lender = self.shared.current(self.device)
        if tokens > 1:
            self._give_idle_back()
        info = lender.info()
        self._refuse_too_long(info, rows, tokens)
        try:
            lender.settle(max(RESERVE_BYTES, self.reserve_bytes - info.lent_bytes))
        except BudgetError:
            lender.settle(0)  # the reserve is for speed; the limit is not

    def _idle_bytes(self) -> int:
        return int(torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device))

    def _give_idle_back(self) -> None:
        """Segments that the last generation has left empty: a pool gives back when it goes."""
        if getattr(self.local, "pool", None) is not None and self._idle_bytes() >= _IDLE_BYTES:
            self.local.pool = None
            torch.cuda.empty_cache()

    def _refuse_too_long(self, info: Any, rows: int, tokens: int) -> None:
        """By keys and values alone: for all else the lender finds room, or PyTorch runs out of memory."""
        left = max(0, info.limit_bytes - info.used_bytes) + info.gives_bytes + self._idle_bytes()
        need = rows * tokens * self.cache_token_bytes
        if need > left:
            raise BudgetError(
                f"a prompt of {tokens} tokens (batch {rows}) needs {size_text(need)} of KV cache; vram leaves "
                f"{size_text(left)}, in which at most {left // max(1, rows * self.cache_token_bytes)} tokens fit"
            )


def _shape(args: tuple[Any, ...], kw: dict[str, Any]) -> tuple[int, int]:
    """(batch, tokens) of a forward pass."""
    given = kw.get("input_ids")
    if given is None:
        given = kw.get("inputs_embeds")
    if given is None and args:
        given = args[0]
    if not isinstance(given, torch.Tensor) or given.dim() < 2:
        return 1, 1
    return given.shape[0], given.shape[1]
