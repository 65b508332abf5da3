# SPDX-License-Identifier: MIT
"""A block of libufm for the experts of a geometry, and where its parts lie in a module's parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .._enums import Activation, Dtype, Role
from ..core import ExpertDesc, Extent, Part
from ..errors import Unsupported
from .placed import Placed, Strided
from .sites import Geometry, Site

_ACTIVATIONS = {
    "silu": Activation.SILU,
    "gelu": Activation.GELU,
    "gelu_tanh": Activation.GELU_TANH,
    "relu2": Activation.RELU2,
}
_DTYPES = {"F32": Dtype.F32, "BF16": Dtype.BF16, "F16": Dtype.F16}


def describe(geometry: Geometry, dtype: Dtype) -> ExpertDesc:
    """The description of a geometry's experts: gate (where there is one), up, down, each with its bias after it."""
    arithmetic = geometry.arithmetic
    parts = []
    for role in _roles(geometry):
        rows, cols = (geometry.d_model, geometry.d_hidden) if role == "down" else (geometry.d_hidden, geometry.d_model)
        parts.append(Part(Role[role.upper()], dtype, rows, cols))
        if arithmetic.biased:
            parts.append(Part(Role[f"{role.upper()}_BIAS"], dtype, rows, 1))
    return ExpertDesc(
        geometry.d_model,
        geometry.d_hidden,
        _ACTIVATIONS[arithmetic.activation],
        tuple(parts),
        act_alpha=arithmetic.act_alpha,
        gate_limit=arithmetic.gate_limit,
        activated_limit=arithmetic.activated_limit,
        up_limit=arithmetic.up_limit,
        up_offset=arithmetic.up_offset,
    )


def _roles(geometry: Geometry) -> tuple[str, ...]:
    return ("gate", "up", "down") if geometry.arithmetic.gated else ("up", "down")


def roles_of(geometry: Geometry) -> Iterator[tuple[str, bool]]:
    """What the parts in the order of `describe` are: a role, and whether it is that matrix's bias."""
    for role in _roles(geometry):
        yield role, False
        if geometry.arithmetic.biased:
            yield role, True


def parts_of(geometry: Geometry, expert: int, parameters: Mapping[str, Any]) -> Iterator[Any]:
    """One expert's parts in the order of `describe`: matrices [rows, cols], biases [rows].

    Args:
        parameters: "first" and "down", and their biases, [experts, …]: tensors, or `Placed` in place of them.
    """
    arithmetic = geometry.arithmetic
    for role in _roles(geometry):
        name = "down" if role == "down" else "first"
        rows = slice(None) if role == "down" else arithmetic.outputs(role, geometry.d_hidden)
        matrix = parameters[name][expert]
        yield (matrix.transpose(0, 1) if arithmetic.transposed else matrix)[rows]
        if arithmetic.biased:
            yield parameters[f"{name}_bias"][expert][rows]


def extents(site: Site, parameters: Mapping[str, Placed]) -> Iterator[Extent]:
    """Where the parts of a routed layer's experts lie, in the order that `Bank.files` takes.

    Raises:
        Unsupported: a part is no strided view of one file, or of a dtype that libufm does not read.
    """
    for expert in range(site.geometry.experts):
        for part in parts_of(site.geometry, expert, parameters):
            if not isinstance(part, Strided):
                raise Unsupported(f"{site.name}: a matrix of expert {expert} lies in several pieces")
            dtype = _DTYPES.get(part.source.dtype)
            if dtype is None:
                raise Unsupported(
                    f"{site.name}: experts of dtype {part.source.dtype}: expected one of {', '.join(_DTYPES)}"
                )
            rows, cols = part.strides[0], part.strides[1] if part.ndim == 2 else 1
            yield Extent(part.source.file, dtype, part.offset_bytes, rows, cols)
