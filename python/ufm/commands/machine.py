# SPDX-License-Identifier: MIT
"""What the kernel and the driver say of this process and its machine. None: not known here."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_KIB = 1024


def status_bytes(field: str) -> int | None:
    """A size of /proc/self/status: VmHWM is the most host memory that the process had, mapped files included."""
    for line in _lines("/proc/self/status"):
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * _KIB
    return None


def read_bytes() -> int | None:
    """What this process had read from storage so far, by the kernel's count; what the page cache gave is not in it."""
    for line in _lines("/proc/self/io"):
        name, _, value = line.partition(":")
        if name == "read_bytes":
            return int(value)
    return None


def forget(files: Iterable[Path]) -> None:
    """Drops files from the page cache, so that the next read is of the disk."""
    for path in files:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fdatasync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def device_used_bytes() -> int | None:
    """Memory in use on torch's current GPU, whoever has it, by the driver's count; asking makes no context."""
    import torch

    if not torch.cuda.is_available():
        return None
    uuid = str(getattr(torch.cuda.get_device_properties(torch.cuda.current_device()), "uuid", ""))
    used = _nvml_used(uuid) if uuid else None
    if used is None and torch.cuda.is_initialized():
        free, total = torch.cuda.mem_get_info()
        used = total - free
    return used


class _NvmlMemory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def _nvml_used(uuid: str) -> int | None:
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    handle, memory = ctypes.c_void_p(), _NvmlMemory()
    name = (uuid if uuid.startswith("GPU-") else f"GPU-{uuid}").encode()
    if nvml.nvmlInit_v2():
        return None
    try:
        if nvml.nvmlDeviceGetHandleByUUID(name, ctypes.byref(handle)):
            return None
        failed = nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
        return None if failed else int(memory.used)
    finally:
        nvml.nvmlShutdown()


def describe(device: str) -> dict[str, Any]:
    """The machine, for a row of results."""
    import torch

    found: dict[str, Any] = {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "host_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "torch_threads": torch.get_num_threads(),
        "device": "cpu",
    }
    if device == "cuda":
        about = torch.cuda.get_device_properties(torch.cuda.current_device())
        found |= {"device": about.name, "device_bytes": about.total_memory, "cuda": torch.version.cuda}
    return found


def _processor() -> str:
    for line in _lines("/proc/cpuinfo"):
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
