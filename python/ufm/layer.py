# SPDX-License-Identifier: MIT
"""A routed layer on an engine, called with plain addresses."""

from __future__ import annotations

import ctypes
import itertools
import threading
import weakref
from typing import Any

from ._enums import Dtype, Place, Scoring
from ._fields import choice, fill
from ._handle import Handle, Owner
from ._library import check, lib
from ._structs import ufm_bank_info, ufm_layer_config, ufm_moe_call, ufm_ticket, ufm_tokens
from .bank import Bank
from .engine import Engine
from .errors import InvalidArgument

__all__ = ["Layer", "layer_of"]

_SCORING = {"softmax": Scoring.SOFTMAX, "sigmoid": Scoring.SIGMOID}

# Bound once: a call looks them up each time.
_moe_forward = lib.ufm_moe_forward


class _Scratch(threading.local):
    """The structs of a call, made once a thread: libufm reads them before it returns."""

    def __init__(self) -> None:
        self.x, self.y, self.ticket = ufm_tokens(), ufm_tokens(), ufm_ticket()
        self.call = ufm_moe_call(x=ctypes.pointer(self.x), y=ctypes.pointer(self.y))
        addresses = ctypes.addressof(self.call), ctypes.addressof(self.ticket)
        self.parts = (self.call, self.x, self.y, self.ticket, *addresses)


_scratch = _Scratch()

_numbers = itertools.count(1)
_layers: weakref.WeakValueDictionary[int, Layer] = weakref.WeakValueDictionary()


def layer_of(number: int) -> Layer:
    """The layer with a number. InvalidArgument where it is gone."""
    found = _layers.get(number)
    if found is None:
        raise InvalidArgument(
            f"layer number {number}: no such layer, or it is gone; expected `Layer.number` of one in use"
        )
    return found


class Layer(Owner):
    """One routed layer: y = [x +] sum over the top_k of gate * expert(norm(x)), summed in router order.

    `layer`: its number in the bank. Without `router_weight` (f32 [experts, d_model]) every call brings ids and gates.
    `norm_weight` (f32 [d_model]): of an RMS norm before router and experts. Both are any contiguous f32 buffer (a
    numpy array, an array.array) and copied. `norm_topk`: the router's chosen weights are divided by their sum.
    `residual`: x is added. `scoring`: "softmax" or "sigmoid". `expert_begin`: the id of the bank's first expert,
    where the bank is a slice of the layer's; the others' ids contribute exactly 0.

    Usable from any thread; calls on one engine are serialised inside.
    """

    __slots__ = ("bound", "call_tokens_max", "d_model", "engine", "number", "top_k")

    def __init__(
        self,
        engine: Engine,
        layer: int,
        top_k: int,
        *,
        expert_begin: int = 0,
        norm_topk: bool = False,
        residual: bool = False,
        router_weight: Any = None,
        norm_weight: Any = None,
        norm_eps: float = 0.0,
        scoring: str | Scoring = "softmax",
    ) -> None:
        info, bank = engine.info(), engine.host.bank.info
        config, out = ufm_layer_config(), ctypes.c_void_p()
        fill(config, layer=layer, top_k=top_k, norm_topk=int(norm_topk), residual=int(residual), norm_eps=norm_eps)
        fill(config, scoring=int(choice("scoring", scoring, _SCORING)), expert_begin=expert_begin)
        router = _floats("router_weight", router_weight, bank.experts * bank.desc.d_model)
        norm = _floats("norm_weight", norm_weight, bank.desc.d_model)
        config.router_weight = None if router is None else ctypes.addressof(router)
        config.norm_weight = None if norm is None else ctypes.addressof(norm)
        check(lib.ufm_layer_open(engine.pointer, ctypes.byref(config), ctypes.byref(out)))
        #: where it runs
        self.engine = engine
        #: what it is known by where no object may stand (`layer_of`): no two layers of a process share one
        self.number = next(_numbers)
        #: what a caller by tensors has worked out for it once (`ufm.torch_op`)
        self.bound: Any = None
        #: experts a token goes to
        self.top_k = int(config.top_k)
        #: elements of a token
        self.d_model = bank.desc.d_model
        #: most tokens of one call
        self.call_tokens_max = info.call_tokens_max
        self._own(Handle(out.value or 0, lib.ufm_layer_close, engine._handle, before=True))
        _layers[self.number] = self

    @staticmethod
    def arena_bytes(bank: Bank, *, router: bool = False, norm: bool = False) -> int:
        """What a layer takes of its engine's `arena_bytes`; nothing without a router and a norm."""
        about, config, some = ufm_bank_info(), ufm_layer_config(), ctypes.c_float()
        check(lib.ufm_bank_get_info(bank.pointer, ctypes.byref(about)))
        config.router_weight = ctypes.addressof(some) if router else None
        config.norm_weight = ctypes.addressof(some) if norm else None
        return int(lib.ufm_layer_bytes(ctypes.byref(about), ctypes.byref(config)))

    def forward_raw(
        self,
        tokens: int,
        x: int,
        y: int,
        dtype: int = Dtype.F32,
        x_stride: int = 0,
        y_stride: int = 0,
        on_device: bool = True,
        ids: int = 0,
        id_bytes: int = 8,
        gates: int = 0,
        gate_dtype: int = Dtype.F32,
        stream: int | None = None,
        wait: bool = False,
        host_ids: int = 0,
        host_gates: int = 0,
        ids_out: int = 0,
        gates_out: int = 0,
    ) -> int:
        """Computes the layer for `tokens` tokens at address `x` into address `y`, which may be `x`. Returns a ticket
        for `Engine.wait`.

        `dtype`: of x and y. Strides: elements from one token to the next; 0: d_model. `on_device`: x and y are device
        addresses (on the cpu backend host addresses are), in the order of `stream`; else host memory, y filled when
        the ticket is done. Routing [tokens, top_k] by the caller: `ids` (signed, of `id_bytes`, 4 or 8) and `gates`
        (of `gate_dtype`) are device addresses, read in the stream's order; `host_ids` (i32) and `host_gates` (f32)
        host addresses, read before this returns. With neither the layer's router decides, and `ids_out` (i32) and
        `gates_out` (f32), host addresses, are told what it decided. `stream`: of `Engine.stream_of`; None: the
        engine's own. `wait`: returns when all is done.

        Nothing is checked that libufm does not check: an address must be one, for as many bytes as the call reads or
        writes, until the work is done. Any thread, but not from a signal handler or finalizer that interrupts a call on
        the same thread. Other Python threads run meanwhile.
        """
        if not 0 <= tokens <= self.call_tokens_max:
            raise InvalidArgument(f"tokens is {tokens}, expected 0 … {self.call_tokens_max} (call_tokens_max)")
        call, x_tokens, y_tokens, ticket, call_at, ticket_at = _scratch.parts
        x_tokens.dtype = y_tokens.dtype = dtype
        x_tokens.stride = x_stride
        y_tokens.stride = y_stride
        if on_device:
            x_tokens.place = y_tokens.place = Place.ON_DEVICE
            x_tokens.device = x
            y_tokens.device = y
        else:
            x_tokens.place = y_tokens.place = Place.ON_HOST
            x_tokens.host = x
            y_tokens.host = y
        call.tokens = tokens
        call.ids = host_ids
        call.gates = host_gates
        call.ids_out = ids_out
        call.gates_out = gates_out
        call.stream = stream
        call.device_ids = ids
        call.device_gates = gates
        call.id_bytes = id_bytes
        call.gate_dtype = gate_dtype
        call.wait = wait
        status = _moe_forward(self._handle.pointer, call_at, ticket_at)
        if status:
            self._raise(status)
        return ticket.id  # type: ignore[no-any-return]

    def _raise(self, status: int) -> None:
        if self._handle.pointer is not None:
            check(status)
        raise InvalidArgument("this Layer is closed")


def _floats(name: str, buffer: Any, count: int) -> ctypes.Array[ctypes.c_float] | None:
    """A copy of a buffer of f32, whatever its shape."""
    if buffer is None:
        return None
    try:
        view = memoryview(buffer)
    except TypeError:
        raise InvalidArgument(f"{name} is a {type(buffer).__name__}, expected a buffer of f32") from None
    if view.format not in ("f", "<f", "=f", "@f") or not view.c_contiguous or view.nbytes != 4 * count:
        raise InvalidArgument(
            f"{name} is {list(view.shape or [])} of format {view.format!r}, expected {count} contiguous elements of f32"
        )
    return (ctypes.c_float * count).from_buffer_copy(view.cast("B") if view.nbytes else b"")
