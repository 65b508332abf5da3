# SPDX-License-Identifier: MIT
"""Finds and loads libufm, declares its functions, and makes sure that it is the one this package was written for.

Looked for in this order, and the first that is named or there is taken: the file that $UFM_LIBRARY names, `lib/` beside
this file (a wheel has it there), the system's. ImportError says what was found and what was expected.

Functions are called by `ctypes.CDLL`, which lets other Python threads run meanwhile.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import (
    POINTER,
    c_char_p,
    c_int,
    c_size_t,
    c_ssize_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any

from . import _structs as s
from .errors import error_of

# Major and minor of the library that the declarations here are of, and the name of its file.
VERSION = (0, 3)
FILE_NAME = "libufm.so.2"

_void_pp = POINTER(c_void_p)

# Every function of ufm.h and plan.h: what it returns, what it takes. Objects and addresses of memory are c_void_p.
PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ufm_version": (c_char_p, ()),
    "ufm_struct_init": (None, (c_void_p, c_size_t)),
    "ufm_sizeof": (c_size_t, (c_char_p,)),
    "ufm_strerror": (c_char_p, (c_int,)),
    "ufm_last_error": (c_char_p, ()),
    "ufm_set_log": (None, (s.LogFn, c_void_p)),
    "ufm_dtype_bytes": (c_size_t, (c_int,)),
    "ufm_expert_desc_init": (c_int, (POINTER(s.ufm_expert_desc), c_int, c_uint32, c_uint32, c_int)),
    "ufm_expert_desc_init_format": (c_int, (POINTER(s.ufm_expert_desc), c_int, c_uint32, c_uint32, c_int)),
    "ufm_expert_expand": (c_int, (POINTER(s.ufm_expert_desc), c_void_p, c_int, c_void_p)),
    "ufm_format_name": (c_char_p, (c_int,)),
    "ufm_format_bytes": (c_uint64, (c_int, c_uint64)),
    "ufm_expert_part": (POINTER(s.ufm_part), (POINTER(s.ufm_expert_desc), c_int)),
    "ufm_bank_synthetic": (c_int, (POINTER(s.ufm_bank_synthetic_config), _void_pp)),
    "ufm_bank_memory": (c_int, (POINTER(s.ufm_bank_memory_config), _void_pp)),
    "ufm_bank_open": (c_int, (c_char_p, _void_pp)),
    "ufm_bank_checkpoint": (c_int, (c_char_p, POINTER(s.ufm_bank_checkpoint_config), _void_pp)),
    "ufm_bank_files": (c_int, (POINTER(s.ufm_bank_files_config), _void_pp)),
    "ufm_bank_callback": (c_int, (POINTER(s.ufm_bank_callback_config), _void_pp)),
    "ufm_bank_layer_number": (c_uint32, (c_void_p, c_uint32)),
    "ufm_bank_save": (c_int, (c_void_p, c_char_p)),
    "ufm_bank_get_info": (c_int, (c_void_p, POINTER(s.ufm_bank_info))),
    "ufm_bank_read": (c_int, (c_void_p, c_uint32, c_uint32, c_void_p)),
    "ufm_bank_close": (None, (c_void_p,)),
    "ufm_host_open": (c_int, (c_void_p, POINTER(s.ufm_host_config), _void_pp)),
    "ufm_host_close": (None, (c_void_p,)),
    "ufm_engine_open": (c_int, (c_void_p, POINTER(s.ufm_engine_config), _void_pp)),
    "ufm_engine_close": (None, (c_void_p,)),
    "ufm_engine_resize": (c_int, (c_void_p, c_uint64)),
    "ufm_engine_get_bounds": (c_int, (c_void_p, POINTER(s.ufm_engine_bounds))),
    "ufm_engine_make_room": (c_int, (c_void_p, c_uint64, POINTER(c_uint64))),
    "ufm_engines_divide": (c_int, (_void_pp, c_uint32, c_uint64, POINTER(c_uint64))),
    "ufm_lender_open": (c_int, (POINTER(s.ufm_lender_config), _void_pp)),
    "ufm_lender_close": (None, (c_void_p,)),
    "ufm_lender_alloc": (c_int, (c_void_p, c_uint64, POINTER(c_uint64))),
    "ufm_lender_free": (c_int, (c_void_p, c_uint64)),
    "ufm_lender_settle": (c_int, (c_void_p, c_uint64)),
    "ufm_lender_get_info": (c_int, (c_void_p, POINTER(s.ufm_lender_info))),
    "ufm_lent_alloc": (c_void_p, (c_ssize_t, c_int, c_void_p)),
    "ufm_lent_free": (None, (c_void_p, c_ssize_t, c_int, c_void_p)),
    "ufm_engine_get_info": (c_int, (c_void_p, POINTER(s.ufm_engine_info))),
    "ufm_engine_get_cpu_choice": (c_int, (c_void_p, c_uint32, POINTER(s.ufm_cpu_choice))),
    "ufm_engine_get_memory": (c_int, (c_void_p, POINTER(s.ufm_engine_memory))),
    "ufm_engine_alloc": (c_int, (c_void_p, c_uint64, POINTER(c_uint64))),
    "ufm_stream_open": (c_int, (c_void_p, c_void_p, _void_pp)),
    "ufm_stream_close": (None, (c_void_p, c_void_p)),
    "ufm_stream_of": (c_int, (c_void_p, c_void_p, _void_pp)),
    "ufm_stream_sync": (c_int, (c_void_p, c_void_p)),
    "ufm_copy_to_device": (c_int, (c_void_p, c_void_p, c_uint64, c_void_p, c_uint64)),
    "ufm_copy_to_host": (c_int, (c_void_p, c_void_p, c_void_p, c_uint64, c_uint64)),
    "ufm_counter_count": (c_uint32, ()),
    "ufm_counter_describe": (POINTER(s.ufm_counter_desc), (c_uint32,)),
    "ufm_engine_get_counters": (c_int, (c_void_p, POINTER(c_uint64), c_uint32)),
    "ufm_engine_write_timeline": (c_int, (c_void_p, c_char_p)),
    "ufm_engine_write_routing": (c_int, (c_void_p, c_char_p, c_uint32, POINTER(s.ufm_routing_info))),
    "ufm_engine_lease_max": (c_uint32, (c_void_p,)),
    "ufm_acquire_begin": (c_int, (c_void_p, c_uint32, POINTER(c_uint32), c_uint32, _void_pp)),
    "ufm_acquire_wait": (c_int, (c_void_p, c_uint32, POINTER(c_uint32), c_uint32, c_uint64, _void_pp)),
    "ufm_acquire_ready": (c_int, (c_void_p, c_void_p, c_uint64)),
    "ufm_lease_view": (c_uint64, (c_void_p, c_uint32)),
    "ufm_release": (c_int, (c_void_p, c_void_p)),
    "ufm_prefetch": (c_int, (c_void_p, c_uint32, POINTER(c_uint32), c_uint32)),
    "ufm_layer_bytes": (c_uint64, (POINTER(s.ufm_bank_info), POINTER(s.ufm_layer_config))),
    "ufm_layer_open": (c_int, (c_void_p, POINTER(s.ufm_layer_config), _void_pp)),
    "ufm_layer_close": (None, (c_void_p,)),
    # The two of every call: addresses as numbers, which ctypes passes on soonest.
    "ufm_moe_forward": (c_int, (c_void_p, c_void_p, c_void_p)),
    "ufm_ticket_wait": (c_int, (c_void_p, s.ufm_ticket, c_uint64)),
    "ufm_plan_read_model": (c_int, (c_char_p, c_char_p, POINTER(s.ufm_plan_model))),
    "ufm_plan_probe_machine": (c_int, (POINTER(s.ufm_plan_model), c_char_p, POINTER(s.ufm_plan_machine))),
    "ufm_plan": (c_int, (POINTER(s.ufm_plan_config), POINTER(s.ufm_plan_point), c_uint32)),
}


def find() -> str:
    """The path of the library, or its name where the system is to find it."""
    named = os.environ.get("UFM_LIBRARY")
    if named:
        return named
    bundled = Path(__file__).resolve().parent / "lib" / FILE_NAME
    return str(bundled) if bundled.exists() else FILE_NAME


def _open(path: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        told = "$UFM_LIBRARY" if os.environ.get("UFM_LIBRARY") else "libufm"
        raise ImportError(
            f"{told}: {path} cannot be loaded ({error}); expected {FILE_NAME} in lib/ beside the package ufm, on the "
            "system, or named by $UFM_LIBRARY"
        ) from None


def _check_version(library: ctypes.CDLL, path: str) -> None:
    try:
        version = library.ufm_version
    except AttributeError:
        raise ImportError(f"{path}: no function ufm_version, expected a libufm {VERSION[0]}.{VERSION[1]}") from None
    version.restype = c_char_p
    found = (version() or b"").decode(errors="replace")
    if found.split(".")[:2] != [str(part) for part in VERSION]:
        raise ImportError(
            f"{path}: version is {found}, expected {VERSION[0]}.{VERSION[1]}, as this package was written for"
        )


def _declare(library: ctypes.CDLL, path: str) -> None:
    for name, (result, arguments) in PROTOTYPES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError(f"{path}: no function {name}, expected all of ufm.h and plan.h") from None
        function.restype = result
        function.argtypes = arguments


def _check_sizes(library: ctypes.CDLL, path: str) -> None:
    for struct in s.STRUCTS:
        theirs, ours = library.ufm_sizeof(struct.__name__.encode()), ctypes.sizeof(struct)
        if theirs != ours:
            raise ImportError(f"{path}: struct {struct.__name__} has {theirs} bytes there, expected {ours}")


def load(path: str) -> ctypes.CDLL:
    """The library in a file, or of a name that the system finds, checked. ImportError says why not."""
    library = _open(path)
    _check_version(library, path)
    _declare(library, path)
    _check_sizes(library, path)
    return library


PATH = find()
lib = load(PATH)


def last_error() -> str:
    """The calling thread's last failure in one line."""
    return (lib.ufm_last_error() or b"").decode("utf-8", "replace")


def check(status: int) -> None:
    """Raises what a status other than UFM_OK stands for, with libufm's own line. On the thread that called."""
    if status:
        raise error_of(status, last_error() or (lib.ufm_strerror(status) or b"").decode())


def version() -> str:
    """The loaded library's version, "0.3.0"."""
    return (lib.ufm_version() or b"").decode()


__all__ = ["FILE_NAME", "PATH", "PROTOTYPES", "VERSION", "check", "find", "last_error", "lib", "load", "version"]
