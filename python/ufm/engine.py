# SPDX-License-Identifier: MIT
"""Engines: one device each, with slots for experts, a budget, counters, streams and leases."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ._enums import WAIT_FOREVER, CpuAssist, Math
from ._fields import choice, fill, text, whole
from ._handle import Handle, Owner
from ._library import check, lib
from ._structs import (
    ufm_cpu_choice,
    ufm_engine_bounds,
    ufm_engine_config,
    ufm_engine_debug,
    ufm_engine_info,
    ufm_engine_memory,
    ufm_routing_info,
    ufm_ticket,
)
from .figures import CounterDesc, CpuChoice, EngineBounds, EngineInfo, EngineMemory, RoutingInfo, counter_descriptions
from .host import Host
from .lease import Lease

__all__ = ["Engine", "divide"]

# Sizes of calls are told apart by powers of two.
_CHOICES_MAX = 32
_CPU_ASSIST = {"auto": CpuAssist.AUTO, "on": CpuAssist.ON, "off": CpuAssist.OFF}
_MATH = {"fp32": Math.FP32, "bf16": Math.BF16, "tf32": Math.TF32}


class Engine(Owner):
    """One device: experts in slots of a slab, and a ring that is refilled. Sizes in bytes; 0 is a default.

    `vram_target_bytes`: the budget; 0: all that is free and can be had. `headroom_bytes` stay free below it.
    `max_tokens`: bounds the workspace; 0 makes an engine for leases alone. `call_tokens_max`: most tokens one layer
    call may bring (default max_tokens). `top_k_max`: most experts a token may go to. `arena_bytes`: for layers
    (`Layer.arena_bytes`) and `alloc`. `cpu_assist`: whether the CPU computes experts that are not on the device,
    "auto", "on" or "off"; with "off" the same input gives the same bits. `math`: how the device computes products.
    `policy`: who leaves. `slots_max`: 0 for as many as the budget holds. `resident_all`: every expert gets a slot, or
    opening fails. `smallest`: begins with the smallest working set, to be resized (`divide`). `timeline_events`,
    `routing_bytes`: room for what `write_timeline` and `write_routing` tell. `link_gbps`, `compute_threads`: of the
    cpu backend. `vram_limit_bytes`: behaves like a smaller card. `cpu_share_percent`: fixes the CPU's share.
    `poison_free_slots`: for tests.

    Threads: leases, figures and streams from any; layer calls are serialised inside. Different engines are independent.
    `close()` closes layers, leases and streams of it first; closing while another thread uses it is the caller's error.
    """

    __slots__ = ("_opened_streams", "_stream_of", "backend", "device_index", "host")

    def __init__(
        self,
        host: Host,
        *,
        device_index: int = 0,
        vram_target_bytes: int = 0,
        headroom_bytes: int = 0,
        max_tokens: int = 0,
        call_tokens_max: int = 0,
        top_k_max: int = 0,
        cpu_assist: str | CpuAssist = "auto",
        cpu_threads: int = 0,
        math: str | Math = "fp32",
        policy: str | None = None,
        slots_max: int = 0,
        resident_all: bool = False,
        smallest: bool = False,
        timeline_events: int = 0,
        routing_bytes: int = 0,
        link_gbps: float = 0.0,
        compute_threads: int = 0,
        ring_slots: int = 0,
        arena_bytes: int = 0,
        vram_limit_bytes: int = 0,
        cpu_share_percent: int = 0,
        poison_free_slots: bool = False,
    ) -> None:
        config, out = ufm_engine_config(), ctypes.c_void_p()
        fill(
            config,
            device_index=device_index,
            vram_target_bytes=vram_target_bytes,
            headroom_bytes=headroom_bytes,
            vram_limit_bytes=vram_limit_bytes,
            link_gbps=link_gbps,
            compute_threads=compute_threads,
            policy=policy,
            slots_max=slots_max,
            ring_slots=ring_slots,
            resident_all=int(resident_all),
            max_tokens=max_tokens,
            call_tokens_max=call_tokens_max,
            top_k_max=top_k_max,
            arena_bytes=arena_bytes,
            cpu_assist=choice("cpu_assist", cpu_assist, _CPU_ASSIST),
            cpu_threads=cpu_threads,
            cpu_share_percent=cpu_share_percent,
            timeline_events=timeline_events,
            math=int(choice("math", math, _MATH)),
            routing_bytes=routing_bytes,
            smallest=int(smallest),
        )
        if poison_free_slots:
            debug = ufm_engine_debug()
            debug.poison_free_slots = 1
            config.debug = ctypes.pointer(debug)
        check(lib.ufm_engine_open(host.pointer, ctypes.byref(config), ctypes.byref(out)))
        #: whose blocks it uses; may be closed
        self.host = host
        #: which of the backend's devices it is
        self.device_index = int(config.device_index)
        self._opened_streams: list[int] = []
        self._stream_of: dict[int, int] = {}
        self._own(Handle(out.value or 0, _closer(self._opened_streams), host._handle))
        #: "cpu" or a plugin's name
        self.backend = self.info().backend

    # ------------------------------------------------------------ figures

    def info(self) -> EngineInfo:
        """The configuration in effect, every default resolved."""
        found = ufm_engine_info()
        check(lib.ufm_engine_get_info(self.pointer, ctypes.byref(found)))
        return EngineInfo.of(found)

    def memory(self) -> EngineMemory:
        """Device memory at this moment. Never waits for the device."""
        found = ufm_engine_memory()
        check(lib.ufm_engine_get_memory(self.pointer, ctypes.byref(found)))
        return EngineMemory.of(found)

    def bounds(self) -> EngineBounds:
        """Between which budgets the engine can be resized."""
        found = ufm_engine_bounds()
        check(lib.ufm_engine_get_bounds(self.pointer, ctypes.byref(found)))
        return EngineBounds.of(found)

    def counters(self) -> dict[str, int]:
        """Every counter since the engine opened, by name. Exact once the last call is done."""
        names = [each.name for each in counter_descriptions()]
        values = (ctypes.c_uint64 * len(names))()
        check(lib.ufm_engine_get_counters(self.pointer, values, len(names)))
        return dict(zip(names, values))

    @staticmethod
    def counter_descriptions() -> tuple[CounterDesc, ...]:
        """Name, unit, kind ("sum", "max" or "gauge") and meaning of every counter."""
        return counter_descriptions()

    def cpu_choices(self) -> list[CpuChoice]:
        """What "auto" has found of layer calls of each size that was looked at."""
        return list(self._cpu_choices())

    def _cpu_choices(self) -> Iterator[CpuChoice]:
        self.memory()  # fails where the engine cannot be asked; what fails after that is that there are no more
        for index in range(_CHOICES_MAX):
            found = ufm_cpu_choice()
            if lib.ufm_engine_get_cpu_choice(self.pointer, index, ctypes.byref(found)):
                return
            yield CpuChoice.of(found)

    # ------------------------------------------------------------ the budget

    def resize(self, vram_target_bytes: int) -> None:
        """Changes the budget between steps; 0: all that is free and what the engine holds. No address changes.

        BudgetError and DeviceMemoryError: nothing has changed. Busy: leases hold slots that must go.
        """
        check(lib.ufm_engine_resize(self.pointer, whole("vram_target_bytes", vram_target_bytes, 64)))

    def make_room(self, size_bytes: int) -> int:
        """Gives at least so many bytes of device memory back; how many it was. BudgetError: nothing has changed."""
        freed = ctypes.c_uint64()
        check(lib.ufm_engine_make_room(self.pointer, whole("size_bytes", size_bytes, 64), ctypes.byref(freed)))
        return freed.value

    # ------------------------------------------------------------ files

    def write_timeline(self, path: Any) -> None:
        """Writes the latest spans as a Chrome trace (JSON). Between calls; waits for work in flight."""
        check(lib.ufm_engine_write_timeline(self.pointer, text("path", path)))

    def write_routing(self, path: Any, sequences: int = 1) -> RoutingInfo:
        """Writes which experts tokens went to, as NAME.jsonl or NAME.npy for `ufm replay` and `ufm bench`.

        `sequences`: so many that a batch decodes side by side, one token each a call; 1: the order of the calls.
        """
        found = ufm_routing_info()
        arguments = text("path", path), whole("sequences", sequences)
        check(lib.ufm_engine_write_routing(self.pointer, *arguments, ctypes.byref(found)))
        return RoutingInfo.of(found)

    # ------------------------------------------------------------ streams and device memory

    def stream_of(self, handle: int) -> int:
        """The stream with that handle of the backend's API (torch's `cuda_stream`; 0 is the default stream).

        Closed with the engine. Unsupported: the backend has no streams of its own ("cpu"); Busy: it knows 64 already.
        """
        known = self._stream_of.get(handle)
        if known is None or self.closed:
            out = ctypes.c_void_p()
            check(lib.ufm_stream_of(self.pointer, whole("handle", handle, 64), ctypes.byref(out)))
            known = self._stream_of[handle] = out.value or 0
        return known

    def open_stream(self) -> int:
        """A new stream of the engine's, closed with it."""
        out = ctypes.c_void_p()
        check(lib.ufm_stream_open(self.pointer, None, ctypes.byref(out)))
        self._opened_streams.append(out.value or 0)
        return self._opened_streams[-1]

    def sync(self, stream: int | None = None) -> None:
        """Blocks until all work enqueued on a stream so far is done; None: on the engine's own."""
        check(lib.ufm_stream_sync(self.pointer, stream))

    def wait(self, ticket: int, wait_ns: int = WAIT_FOREVER) -> None:
        """Waits for the end of a layer call and raises what it came to. TimedOut."""
        check(lib.ufm_ticket_wait(self.pointer, ufm_ticket(ticket), whole("wait_ns", wait_ns, 64)))

    def alloc(self, size_bytes: int) -> int:
        """The address of device memory out of the arena, 256-byte aligned, freed with the engine. BudgetError."""
        out = ctypes.c_uint64()
        check(lib.ufm_engine_alloc(self.pointer, whole("size_bytes", size_bytes, 64), ctypes.byref(out)))
        return out.value

    def copy_to_device(self, target: int, source: int, size_bytes: int, stream: int | None = None) -> None:
        """Enqueues a copy from a host address, which must stay valid until the stream has passed it."""
        check(lib.ufm_copy_to_device(self.pointer, stream, target, source, whole("size_bytes", size_bytes, 64)))

    def copy_to_host(self, target: int, source: int, size_bytes: int, stream: int | None = None) -> None:
        """Enqueues a copy to a host address, which must stay valid until the stream has passed it."""
        check(lib.ufm_copy_to_host(self.pointer, stream, target, source, whole("size_bytes", size_bytes, 64)))

    # ------------------------------------------------------------ the pager level

    def lease_max(self) -> int:
        """Most experts that leases may hold at once; changes with the budget."""
        return int(lib.ufm_engine_lease_max(self.pointer))

    def acquire(self, layer: int, experts: Sequence[int], wait_ns: int | None = None) -> Lease:
        """Pins distinct experts of a layer in device slots and enqueues the copies that are missing, all or nothing.

        None: Busy at once where other leases hold too many slots; else waits so long for them (TimedOut), but never for
        leases that this very thread would have to release.
        """
        array, out = _ids(experts), ctypes.c_void_p()
        arguments = self.pointer, whole("layer", layer), array, len(array)
        if wait_ns is None:
            check(lib.ufm_acquire_begin(*arguments, ctypes.byref(out)))
        else:
            check(lib.ufm_acquire_wait(*arguments, whole("wait_ns", wait_ns, 64), ctypes.byref(out)))
        return Lease(self, out.value or 0, len(array))

    def prefetch(self, layer: int, experts: Sequence[int]) -> None:
        """A hint: loads experts into slots that hold nothing. May be dropped, never displaces an expert."""
        array = _ids(experts)
        check(lib.ufm_prefetch(self.pointer, whole("layer", layer), array, len(array)))


def _closer(streams: list[int]) -> Callable[[int], None]:
    """Streams close after the leases that were made ready for them, and before the engine."""

    def close(engine: int) -> None:
        while streams:
            lib.ufm_stream_close(engine, streams.pop())
        lib.ufm_engine_close(engine)

    return close


def _ids(experts: Sequence[int]) -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * len(experts))(*(whole("experts", each) for each in experts))


def divide(engines: Sequence[Engine], total_bytes: int) -> list[int]:
    """Divides one budget among engines of one device, by the bytes of experts that their calls used since the last
    division.

    Returns what each may hold now. Between steps. BudgetError: the smallest working sets together need more, and
    nothing has changed.
    """
    pointers = (ctypes.c_void_p * len(engines))(*(engine.pointer for engine in engines))
    each = (ctypes.c_uint64 * len(engines))()
    check(lib.ufm_engines_divide(pointers, len(engines), whole("total_bytes", total_bytes, 64), each))
    return list(each)
