# SPDX-License-Identifier: MIT
"""The structs of ufm.h and plan.h, field by field and under their own names.

`_library` compares every size with the library's own; tests/python compares every offset with the headers.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any, ClassVar

from ._enums import PARTS_MAX

# ---------------------------------------------------------------- callbacks

LogFn = CFUNCTYPE(None, c_void_p, c_int, c_char_p)
HostProgressFn = CFUNCTYPE(None, c_void_p, c_uint64, c_uint64)
PlanProgressFn = CFUNCTYPE(None, c_void_p, c_uint32, c_uint32)
StopFn = CFUNCTYPE(c_int, c_void_p)
BankReadFn = CFUNCTYPE(c_int, c_void_p, c_uint32, c_uint32, c_void_p)
BankClosedFn = CFUNCTYPE(None, c_void_p)
# A driver's functions, by the addresses that they have anyway; addresses of device memory are numbers.
DriverAllocFn = CFUNCTYPE(c_int, POINTER(c_uint64), c_size_t)
DriverReleaseFn = CFUNCTYPE(c_int, c_uint64)
DriverMemoryFn = CFUNCTYPE(c_int, POINTER(c_size_t), POINTER(c_size_t))

# ---------------------------------------------------------------- structs

Fields = list[tuple[str, Any]]


class Sized(Structure):
    """A struct whose first field is its own size, which the constructor sets."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.struct_size = ctypes.sizeof(self)


class ufm_part(Structure):
    _fields_: ClassVar[Fields] = [
        ("role", c_int),
        ("dtype", c_int),
        ("rows", c_uint32),
        ("cols", c_uint32),
        ("offset_bytes", c_uint64),
        ("size_bytes", c_uint64),
        ("format", c_uint32),
        ("group_rows", c_uint32),
        ("group_cols", c_uint32),
        ("reserved", c_uint32 * 3),
    ]


class ufm_expert_desc(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("d_model", c_uint32),
        ("d_hidden", c_uint32),
        ("activation", c_int),
        ("part_count", c_uint32),
        ("parts", ufm_part * PARTS_MAX),
        ("expert_bytes", c_uint64),
        ("block_bytes", c_uint64),
        ("act_alpha", c_float),
        ("gate_limit", c_float),
        ("activated_limit", c_float),
        ("up_limit", c_float),
        ("up_offset", c_float),
    ]


class ufm_bank_info(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("layers", c_uint32),
        ("experts", c_uint32),
        ("desc", POINTER(ufm_expert_desc)),
        ("bank_bytes", c_uint64),
        ("geometries", c_uint32),
    ]


class ufm_bank_synthetic_config(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("layers", c_uint32),
        ("experts", c_uint32),
        ("desc", POINTER(ufm_expert_desc)),
        ("seed", c_uint64),
    ]


class ufm_bank_memory_config(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("layers", c_uint32),
        ("experts", c_uint32),
        ("desc", POINTER(ufm_expert_desc)),
        ("blocks", c_void_p),
    ]


class ufm_bank_checkpoint_config(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("f16_as", c_int),
        ("activation", c_int),
        ("layer_begin", c_uint32),
        ("layer_end", c_uint32),
        ("prefix", c_char_p),
        ("geometry", c_uint32),
    ]


class ufm_extent(Structure):
    _fields_: ClassVar[Fields] = [
        ("file", c_uint32),
        ("dtype", c_int),
        ("offset_bytes", c_uint64),
        ("row_stride", c_uint64),
        ("col_stride", c_uint64),
    ]


class ufm_bank_files_config(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("layers", c_uint32),
        ("experts", c_uint32),
        ("desc", POINTER(ufm_expert_desc)),
        ("paths", POINTER(c_char_p)),
        ("path_count", c_uint32),
        ("extents", c_void_p),
        ("extent_bytes", c_size_t),
        ("layer_numbers", c_void_p),
    ]


class ufm_bank_callback_config(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("layers", c_uint32),
        ("experts", c_uint32),
        ("desc", POINTER(ufm_expert_desc)),
        ("read", BankReadFn),
        ("ctx", c_void_p),
        ("closed", BankClosedFn),
        ("layer_numbers", c_void_p),
    ]


class ufm_host_debug(Sized):
    _fields_: ClassVar[Fields] = [("struct_size", c_size_t), ("store_filter", c_char_p)]


class ufm_host_config(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("backend", c_char_p),
        ("fill_threads", c_uint32),
        ("pageable", c_uint32),
        ("progress", HostProgressFn),
        ("progress_ctx", c_void_p),
        ("stop", StopFn),
        ("stop_ctx", c_void_p),
        ("debug", POINTER(ufm_host_debug)),
    ]


class ufm_engine_debug(Sized):
    _fields_: ClassVar[Fields] = [("struct_size", c_size_t), ("poison_free_slots", c_uint32)]


class ufm_engine_config(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("device_index", c_uint32),
        ("vram_target_bytes", c_uint64),
        ("headroom_bytes", c_uint64),
        ("vram_limit_bytes", c_uint64),
        ("link_gbps", c_double),
        ("compute_threads", c_uint32),
        ("policy", c_char_p),
        ("slots_max", c_uint32),
        ("ring_slots", c_uint32),
        ("resident_all", c_uint32),
        ("max_tokens", c_uint32),
        ("call_tokens_max", c_uint32),
        ("top_k_max", c_uint32),
        ("arena_bytes", c_uint64),
        ("cpu_assist", c_uint32),
        ("cpu_threads", c_uint32),
        ("cpu_share_percent", c_uint32),
        ("timeline_events", c_uint32),
        ("math", c_int),
        ("routing_bytes", c_uint64),
        ("smallest", c_uint32),
        ("debug", POINTER(ufm_engine_debug)),
    ]


class ufm_engine_bounds(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("least_bytes", c_uint64),
        ("now_bytes", c_uint64),
        ("most_bytes", c_uint64),
    ]


# A driver's functions, by the addresses that they have anyway; addresses of device memory are numbers.
DriverAllocFn = CFUNCTYPE(c_int, POINTER(c_uint64), c_size_t)
DriverReleaseFn = CFUNCTYPE(c_int, c_uint64)
DriverMemoryFn = CFUNCTYPE(c_int, POINTER(c_size_t), POINTER(c_size_t))


class ufm_lender_config(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("engines", POINTER(c_void_p)),
        ("engine_count", c_uint32),
        ("limit_bytes", c_uint64),
        ("others_bytes", c_uint64),
        ("alloc", DriverAllocFn),
        ("release", DriverReleaseFn),
        ("memory", DriverMemoryFn),
    ]


class ufm_lender_info(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("limit_bytes", c_uint64),
        ("used_bytes", c_uint64),
        ("used_high_water_bytes", c_uint64),
        ("gives_bytes", c_uint64),
        ("lent_bytes", c_uint64),
        ("lent_count", c_uint64),
        ("rooms", c_uint64),
        ("room_bytes", c_uint64),
        ("refused", c_uint64),
        ("grown", c_uint64),
        ("grown_bytes", c_uint64),
        ("shrunk", c_uint64),
        ("shrunk_bytes", c_uint64),
    ]


class ufm_engine_info(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("backend", c_char_p),
        ("device", c_char_p),
        ("policy", c_char_p),
        ("vram_target_bytes", c_uint64),
        ("headroom_bytes", c_uint64),
        ("vram_limit_bytes", c_uint64),
        ("context_bytes", c_uint64),
        ("link_gbps", c_double),
        ("slots", c_uint32),
        ("ring_slots", c_uint32),
        ("lease_max", c_uint32),
        ("expert_bytes", c_uint64),
        ("block_bytes", c_uint64),
        ("slab_bytes", c_uint64),
        ("workspace_bytes", c_uint64),
        ("arena_bytes", c_uint64),
        ("max_tokens", c_uint32),
        ("call_tokens_max", c_uint32),
        ("top_k_max", c_uint32),
        ("math", c_int),
        ("cpu_threads", c_uint32),
        ("cpu_share_percent", c_uint32),
        ("cpu_assist", c_char_p),
    ]


class ufm_cpu_choice(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("tokens_from", c_uint32),
        ("takes_cpu", c_uint32),
        ("link_looks", c_uint32),
        ("cpu_looks", c_uint32),
        ("link_miss_ns", c_double),
        ("cpu_miss_ns", c_double),
        ("changes", c_uint64),
    ]


class ufm_engine_memory(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("device_total_bytes", c_uint64),
        ("device_free_bytes", c_uint64),
        ("held_bytes", c_uint64),
        ("live_bytes", c_uint64),
        ("slab_high_water_bytes", c_uint64),
    ]


class ufm_counter_desc(Structure):
    _fields_: ClassVar[Fields] = [("name", c_char_p), ("unit", c_char_p), ("kind", c_char_p), ("help", c_char_p)]


class ufm_routing_info(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("tokens", c_uint64),
        ("dropped_tokens", c_uint64),
        ("partial_tokens", c_uint64),
    ]


class ufm_layer_config(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("layer", c_uint32),
        ("top_k", c_uint32),
        ("norm_topk", c_uint32),
        ("residual", c_uint32),
        ("router_weight", c_void_p),
        ("norm_weight", c_void_p),
        ("norm_eps", c_float),
        ("scoring", c_int),
        ("expert_begin", c_uint32),
    ]


class ufm_tokens(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("place", c_int),
        ("dtype", c_int),
        ("host", c_void_p),
        ("device", c_uint64),
        ("stride", c_uint64),
    ]


class ufm_moe_call(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("tokens", c_uint32),
        ("x", POINTER(ufm_tokens)),
        ("y", POINTER(ufm_tokens)),
        ("ids", c_void_p),
        ("gates", c_void_p),
        ("ids_out", c_void_p),
        ("gates_out", c_void_p),
        ("stream", c_void_p),
        ("device_ids", c_uint64),
        ("device_gates", c_uint64),
        ("id_bytes", c_uint32),
        ("gate_dtype", c_int),
        ("wait", c_uint32),
    ]


class ufm_ticket(Structure):
    _fields_: ClassVar[Fields] = [("id", c_uint64)]


class ufm_plan_model(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("layers", c_uint32),
        ("experts", c_uint32),
        ("top_k", c_uint32),
        ("desc", POINTER(ufm_expert_desc)),
        ("notes", c_char * 1024),
    ]


class ufm_plan_machine(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("backend", c_char_p),
        ("link_gbps", c_double),
        ("hbm_gbps", c_double),
        ("dram_gbps", c_double),
        ("sum_link_gbps", c_double),
        ("sum_cpu_gbps", c_double),
        ("gflops", c_double),
        ("cpu_threads", c_uint32),
    ]


class ufm_plan_config(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("model", POINTER(ufm_plan_model)),
        ("machine", POINTER(ufm_plan_machine)),
        ("batch", c_uint32),
        ("prompt", c_uint32),
        ("workload", c_char_p),
        ("seed", c_uint64),
        ("policy", c_char_p),
        ("headroom_bytes", c_uint64),
        ("ring_slots", c_uint32),
        ("max_tokens", c_uint32),
        ("routing_by_caller", c_uint32),
        ("progress", PlanProgressFn),
        ("progress_ctx", c_void_p),
        ("stop", StopFn),
        ("stop_ctx", c_void_p),
    ]


class ufm_plan_phase(Structure):
    _fields_: ClassVar[Fields] = [
        ("tokens_per_s", c_double),
        ("hit_rate", c_double),
        ("device_bytes", c_double),
        ("link_bytes", c_double),
        ("cpu_bytes", c_double),
        ("step_ns", c_double),
        ("link_busy_ns", c_double),
        ("bound", c_int),
        ("with_cpu", c_uint32),
        ("reserved", c_uint64 * 8),
    ]


class ufm_plan_point(Sized):
    _fields_: ClassVar[Fields] = [
        ("struct_size", c_size_t),
        ("vram_target_bytes", c_uint64),
        ("status", c_int),
        ("why", c_char * 320),
        ("host_bytes", c_uint64),
        ("workspace_bytes", c_uint64),
        ("slots", c_uint32),
        ("ring_slots", c_uint32),
        ("decode", ufm_plan_phase),
        ("prefill", ufm_plan_phase),
        ("bound_hit_rate", c_double),
        ("limit_tokens_per_s", c_double),
    ]


STRUCTS: tuple[type[Structure], ...] = tuple(
    found
    for name, found in list(globals().items())
    if name.startswith("ufm_") and isinstance(found, type) and issubclass(found, Structure)
)
