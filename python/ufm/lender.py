# SPDX-License-Identifier: MIT
"""Lenders: one limit of device memory for engines and another library's allocator, PyTorch's.

PyTorch takes its segments from a lender where its pool is made of the two functions that `Lender.addresses` gives:

    lender = Lender(engines, limit_bytes=20 << 30, others_bytes=others)
    pool = torch.cuda.MemPool(torch._C._cuda_customAllocator(*lender.addresses()))
    with torch.cuda.use_mem_pool(pool):
        ...

What a segment lacks of the limit the engines give back before the driver is asked; `settle`, between steps, has them
take again what nobody needs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from ctypes import c_int, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

from ._fields import fill, whole
from ._handle import Handle, Owner
from ._library import check, lib
from ._structs import DriverAllocFn, DriverMemoryFn, DriverReleaseFn, ufm_lender_config, ufm_lender_info
from .engine import Engine
from .errors import BackendError, InvalidArgument
from .figures import LenderInfo

__all__ = ["DriverFunctions", "Lender"]

_CUDA = "libcuda.so.1"


@dataclass(frozen=True)
class DriverFunctions:
    """Addresses of a driver's functions, shaped as cuMemAlloc_v2, cuMemFree_v2 and cuMemGetInfo_v2; 0 is success.

    They are called by libufm itself, from the threads that allocate, free and settle, and must stay as long as anything
    is lent. `memory` None: what the engines hold and what is lent is the count. `current`: a context in which the
    lender's own calls are made, for drivers that act on a thread's context.
    """

    alloc: int
    release: int
    memory: int | None = None
    current: Callable[[], AbstractContextManager[Any]] = nullcontext

    @classmethod
    def cuda(cls, device_index: int = 0) -> DriverFunctions:
        """CUDA's, in the primary context of a device, which is PyTorch's and the engines'. BackendError."""
        try:
            driver = ctypes.CDLL(_CUDA)
        except OSError as error:
            raise BackendError(f"{_CUDA} cannot be loaded ({error}), expected an NVIDIA driver") from None
        context = _primary_context(driver, whole("device_index", device_index, 31))
        names = "cuMemAlloc_v2", "cuMemFree_v2", "cuMemGetInfo_v2"
        alloc, release, memory = (_address(getattr(driver, name)) for name in names)
        return cls(alloc, release, memory, lambda: _made_current(driver, context))


def _address(function: Any) -> int:
    return ctypes.cast(function, c_void_p).value or 0


def _primary_context(driver: ctypes.CDLL, device_index: int) -> int:
    """It is kept to the end of the process, as PyTorch and the engines keep it: what is lent lies in it."""
    device, context = c_int(), c_void_p()
    status = driver.cuDeviceGet(ctypes.byref(device), c_int(device_index))
    status = status or driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    if status:
        raise BackendError(
            f"device_index is {device_index}: {_CUDA} gives no context of it (CUresult {status}), expected a device on "
            "which an engine is open"
        )
    return context.value or 0


@contextmanager
def _made_current(driver: ctypes.CDLL, context: int) -> Iterator[None]:
    """On this thread, which may have none or another device's."""
    status = driver.cuCtxPushCurrent_v2(c_void_p(context))
    if status:
        raise BackendError(f"{_CUDA}: the device's context cannot be made current (CUresult {status})")
    try:
        yield
    finally:
        driver.cuCtxPopCurrent_v2(ctypes.byref(c_void_p()))


class Lender(Owner):
    """One limit, in bytes by the driver's count, for engines of one device and another library's allocator.

    `engines`: one or more, of one device; of all models of the process that share the limit. `limit_bytes`: all that
    the process may hold on the device: context, weights, the allocator's segments and the engines. `others_bytes`: of
    the driver's count, what other processes hold. `device_index`: the engines'. `functions`: None for CUDA's driver.

    It lends from now on what is asked of the two functions of `addresses`, until it is closed or another lender is
    opened for the same device. It is closed before its engines; what was lent stays valid then, and can still be freed.

    Threads: any. An allocation waits for a layer call on another thread. The functions of `addresses` take no lock of
    Python's, so the allocator that calls them may hold its own.
    """

    __slots__ = ("_current", "engines")

    def __init__(
        self,
        engines: Sequence[Engine],
        limit_bytes: int,
        others_bytes: int = 0,
        device_index: int = 0,
        *,
        functions: DriverFunctions | None = None,
    ) -> None:
        #: whose memory and the allocator's have one limit
        self.engines = tuple(engines)
        functions = functions or _drivers(self.engines, device_index)
        pointers = (c_void_p * len(self.engines))(*(engine.pointer for engine in self.engines))
        config, out = ufm_lender_config(), c_void_p()
        fill(config, engine_count=len(self.engines), limit_bytes=limit_bytes, others_bytes=others_bytes)
        config.engines = ctypes.cast(pointers, ctypes.POINTER(c_void_p))
        config.alloc = DriverAllocFn(functions.alloc)
        config.release = DriverReleaseFn(functions.release)
        if functions.memory is not None:
            config.memory = DriverMemoryFn(functions.memory)
        self._current = functions.current
        with self._current():
            check(lib.ufm_lender_open(ctypes.byref(config), ctypes.byref(out)))
        self._own(_handle_of(out.value or 0, [engine._handle for engine in self.engines]))

    def settle(self, keep_free_bytes: int = 0) -> None:
        """Between steps: engines grow by what the limit leaves above `keep_free_bytes`, or shrink when less is left.

        Small changes are not made; without any this is one question to the driver. BudgetError: the engines are at
        their smallest, and less than that is left or the limit is passed. Busy: leases hold slots that must go.
        """
        with self._current():
            check(lib.ufm_lender_settle(self.pointer, whole("keep_free_bytes", keep_free_bytes, 64)))

    def info(self) -> LenderInfo:
        """Figures of this moment, and counts since the lender opened."""
        found = ufm_lender_info()
        with self._current():
            check(lib.ufm_lender_get_info(self.pointer, ctypes.byref(found)))
        return LenderInfo.of(found)

    def alloc(self, size_bytes: int) -> int:
        """The address of new device memory, for which engines give back what the limit lacks; `free` it.

        BudgetError: the engines cannot give that. DeviceMemoryError: the driver refuses. Busy: leases are in the way.
        """
        out = c_uint64()
        with self._current():
            check(lib.ufm_lender_alloc(self.pointer, whole("size_bytes", size_bytes, 64), ctypes.byref(out)))
        return out.value

    def free(self, memory: int) -> None:
        """Gives memory of `alloc` back to the driver. InvalidArgument: this lender has not lent it, or has it back."""
        with self._current():
            check(lib.ufm_lender_free(self.pointer, whole("memory", memory, 64)))

    @staticmethod
    def addresses() -> tuple[int, int]:
        """Addresses of `void *alloc(ssize_t, int device, void *stream)` and `void free(void *, ssize_t, int, void *)`.

        For torch._C._cuda_customAllocator. They are the process's: by the lender of the device that was opened last.
        NULL where there is none, or no room; what was lent can be freed whatever has closed.
        """
        return _address(lib.ufm_lent_alloc), _address(lib.ufm_lent_free)


def _drivers(engines: Sequence[Engine], device_index: int) -> DriverFunctions:
    backend = engines[0].info().backend if engines else "cuda"
    if backend != "cuda":
        raise InvalidArgument(f"functions is None, expected those of a driver for engines of the backend {backend}")
    return DriverFunctions.cuda(device_index)


def _handle_of(pointer: int, engines: list[Handle]) -> Handle:
    """Closed before every engine, whichever closes first."""

    def close(lender: int) -> None:
        lib.ufm_lender_close(lender)
        for engine in engines:
            handle.no_more_before(engine)

    handle = Handle(pointer, close, engines[0], before=True, keep=engines)
    for engine in engines[1:]:
        handle.also_before(engine)
    return handle
