# SPDX-License-Identifier: MIT
"""A routed layer for tensors: called as it is, and as an operator where torch.compile traces.

Order. On the cpu backend a call returns when the work is done. On a GPU it is enqueued: libufm waits for what the
current stream holds, and the current stream goes on after libufm's work, so tensors behave as with any operator of
torch's.

What stays alive. Memory that a call reads or writes may be given back to torch's allocator as soon as the call
returns, also copies that were made for it here: whoever gets it next is enqueued on the same stream, after libufm's
work. So there is no `record_stream`. That holds as long as the tensors belong to the current stream; for those of
another stream it is the caller who waits and records, as with any operator. The layer is held by the call, and must
not be closed before the stream has passed its work: `Engine.close` waits for that.

Compiling. A model is one graph, however many routed layers it has. Layers that are compiled apart are different to
torch, so each has a graph of its own, and there are only so many (`torch._dynamo.config.recompile_limit`), unless
`torch._dynamo.config.allow_unspec_int_on_nn_module` is set: then they share one.

Threads. Any may call; calls on one engine take turns, and other Python threads run meanwhile.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._enums import Dtype
from .errors import InvalidArgument, UfmError, Unsupported
from .layer import Layer, layer_of

__all__ = ["routed"]

_DTYPES = {torch.float32: Dtype.F32, torch.bfloat16: Dtype.BF16, torch.float16: Dtype.F16}
_ID_BYTES = {torch.int32: 4, torch.int64: 8}


class _Bound:
    """What a layer is to torch, worked out once."""

    __slots__ = ("cpu", "device", "engine")

    def __init__(self, layer: Layer) -> None:
        self.engine = layer.engine
        backend = self.engine.backend
        if backend not in ("cpu", "cuda"):
            raise Unsupported(f'the backend is "{backend}", expected "cpu" or "cuda": torch has no such device')
        self.cpu = backend == "cpu"
        self.device = torch.device("cpu") if self.cpu else torch.device("cuda", self.engine.device_index)

    def stream(self) -> int | None:
        """libufm's name of the stream that torch is on."""
        if self.cpu:
            return None
        return self.engine.stream_of(torch.cuda.current_stream(self.device).cuda_stream)


def routed(layer: Layer, x: Tensor, ids: Tensor, gates: Tensor) -> Tensor:
    """The layer's output [T, d_model], in the dtype and on the device of `x`.

    `x` [T, d_model] f32, bf16 or f16. `ids` [T, top_k] int32 or int64: experts; what is no expert of the bank
    contributes 0, and of one that a token names again the gates are added. `gates` [T, top_k] f32, bf16 or f16. All
    on the engine's device. Any T: calls longer than the engine's call_tokens_max are computed in pieces. Rows of x
    may lie apart; ids and gates, and x where its elements do, are made contiguous.

    InvalidArgument: a wrong shape, dtype or device, or a closed layer. Unsupported: x or gates that a gradient is
    wanted of.
    """
    if torch.compiler.is_compiling():
        _refuse_gradient(x, gates)
        return _operator(x, ids, gates, layer.number)
    return _routed(layer, x, ids, gates)


def _routed(layer: Layer, x: Tensor, ids: Tensor, gates: Tensor) -> Tensor:
    bound = layer.bound
    if bound is None:
        bound = layer.bound = _Bound(layer)
    dtype, id_bytes, gate_dtype = _DTYPES.get(x.dtype), _ID_BYTES.get(ids.dtype), _DTYPES.get(gates.dtype)
    shape = ids.shape
    tokens = x.shape[0] if x.dim() else 0
    if (
        dtype is None
        or id_bytes is None
        or gate_dtype is None
        or x.shape != (tokens, layer.d_model)
        or shape != (tokens, layer.top_k)
        or gates.shape != shape
        or x.device != bound.device
        or ids.device != bound.device
        or gates.device != bound.device
    ):
        raise _refusal(layer, bound, x, ids, gates)
    _refuse_gradient(x, gates)
    y = x.new_empty(x.shape)
    if tokens <= layer.call_tokens_max:
        _call(layer, bound, tokens, x, ids, gates, y, dtype, id_bytes, gate_dtype)
    else:
        most = layer.call_tokens_max
        for begin in range(0, tokens, most):
            of = slice(begin, begin + most)
            count = min(most, tokens - begin)
            _call(layer, bound, count, x[of], ids[of], gates[of], y[of], dtype, id_bytes, gate_dtype)
    return y


def _call(
    layer: Layer,
    bound: _Bound,
    tokens: int,
    x: Tensor,
    ids: Tensor,
    gates: Tensor,
    y: Tensor,
    dtype: Dtype,
    id_bytes: int,
    gate_dtype: Dtype,
) -> None:
    if not tokens:
        if layer.closed:
            raise InvalidArgument("this Layer is closed")
        return
    x_stride, element_stride = x.stride()
    # A stride of 0 is libufm's word for rows one after the other, and one token has no next.
    if element_stride != 1 or (x_stride < layer.d_model and tokens > 1):
        x, x_stride = x.contiguous(), 0
    # Named, so that a copy lives until the call has enqueued its work: the next copy would get its memory.
    ids, gates = ids.contiguous(), gates.contiguous()
    layer.forward_raw(
        tokens,
        x.data_ptr(),
        y.data_ptr(),
        dtype,
        x_stride if tokens > 1 else 0,
        0,
        True,
        ids.data_ptr(),
        id_bytes,
        gates.data_ptr(),
        gate_dtype,
        bound.stream(),
        bound.cpu,
    )


def _refuse_gradient(x: Tensor, gates: Tensor) -> None:
    if torch.is_grad_enabled() and (x.requires_grad or gates.requires_grad):
        raise Unsupported(
            "UFM has no backward pass: x or gates require a gradient, expected torch.no_grad() or "
            "torch.inference_mode()"
        )


def _refusal(layer: Layer, bound: _Bound, x: Tensor, ids: Tensor, gates: Tensor) -> UfmError:
    """What is wrong with a call, in one line."""
    tokens = x.shape[0] if x.dim() else 0
    wanted: tuple[tuple[str, Tensor, tuple[int, ...], dict[Any, Any]], ...] = (
        ("x", x, (tokens, layer.d_model), _DTYPES),
        ("ids", ids, (tokens, layer.top_k), _ID_BYTES),
        ("gates", gates, (tokens, layer.top_k), _DTYPES),
    )
    for name, tensor, shape, dtypes in wanted:
        if tensor.dtype not in dtypes:
            known = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
            return InvalidArgument(f"{name} is {str(tensor.dtype).removeprefix('torch.')}, expected one of {known}")
        if tuple(tensor.shape) != shape:
            return InvalidArgument(f"{name} has the shape {list(tensor.shape)}, expected {list(shape)}")
        if tensor.device != bound.device:
            return InvalidArgument(f"{name} is on {tensor.device}, expected {bound.device}, where the engine is")
    return InvalidArgument("x, ids and gates do not fit together")


# ---------------------------------------------------------------- the operator

# A layer is a number there: an operator takes no objects. SymInt, so that layers share one compiled graph.
_library = torch.library.Library("ufm", "DEF")
# Keeps it out of CUDA graphs, which inductor then partitions around it: what is to be copied is known on the host.
_tags = [tag for tag in (getattr(torch.Tag, "cudagraph_unsafe", None), torch.Tag.pt2_compliant_tag) if tag is not None]
_library.define("routed(Tensor x, Tensor ids, Tensor gates, SymInt layer) -> Tensor", tags=_tags)


def _by_number(x: Tensor, ids: Tensor, gates: Tensor, layer: int) -> Tensor:
    return _routed(layer_of(layer), x, ids, gates)


def _fake(x: Tensor, ids: Tensor, gates: Tensor, layer: int) -> Tensor:
    return x.new_empty(x.shape)


_library.impl("routed", _by_number, "CPU")
_library.impl("routed", _by_number, "CUDA")
torch.library.register_fake("ufm::routed", _fake, lib=_library)
_operator: Any = torch.ops.ufm.routed.default
