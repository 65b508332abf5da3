# SPDX-License-Identifier: MIT
"""The experts of GGUF files as banks, one for each kind of layers, and the routed layers that they belong to."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import torch

from .._enums import Dtype
from ..core import Bank, ExpertDesc
from ..errors import Unsupported
from .layout import describe
from .paging import Group
from .sites import Geometry, Site

# What matrices may be on a GPU; the CPU takes all that banks of GGUF files have.
_ON_GPU = ("F32", "BF16")


def open_kinds(path: str | os.PathLike[str]) -> list[Bank]:
    """A bank for each kind of layers of a model in GGUF files, in the order of each kind's first layer.

    Raises:
        FileError, FormatError, Unsupported: as libufm finds the files; nothing of their weights is read.
    """
    banks = [Bank.checkpoint(path, geometry=1)]
    try:
        for kind in range(2, banks[0].info.geometries + 1):
            banks.append(Bank.checkpoint(path, geometry=kind))
    except BaseException:
        close(banks)
        raise
    return banks


def close(banks: Sequence[Bank]) -> None:
    for bank in banks:
        bank.close()


def match(path: Any, sites: Sequence[Site], banks: Sequence[Bank]) -> list[Group]:
    """Every routed layer of the model with the bank that has its experts.

    Raises:
        Unsupported: a layer has experts in the files alone or in the model alone, or other ones here than there.
    """
    left = {site.number: site for site in sites}
    if len(left) < len(sites):
        raise Unsupported(f"{path}: the model has several routed layers of one number: expected one stack of layers")
    groups = []
    for bank in banks:
        members = []
        for layer in range(bank.info.layers):
            number = bank.layer_number(layer)
            site = left.pop(number, None)
            if site is None:
                raise Unsupported(f"{path}: experts of layer {number}, which is no routed layer of the model")
            _check_same(path, site, bank)
            members.append(site)
        groups.append(Group(members[0].geometry, members, bank))
    if left:
        raise Unsupported(f"{path}: no experts of {min(left.values(), key=lambda site: site.number).name}")
    return groups


def _check_same(path: Any, site: Site, bank: Bank) -> None:
    found, wanted = _facts(bank.info.desc, bank.info.experts), _expected(site.geometry)
    for name, value in wanted.items():
        same = math.isclose(value, found[name], rel_tol=1e-6) if isinstance(value, float) else value == found[name]
        if not same:
            raise Unsupported(
                f"{path}: experts of layer {site.number}: {name} is {found[name]}, expected {value} of {site.name}"
            )


def _expected(geometry: Geometry) -> dict[str, Any]:
    return _facts(describe(geometry, Dtype.F32), geometry.experts)


def _facts(desc: ExpertDesc, experts: int) -> dict[str, Any]:
    """What an expert is, whatever its elements are stored as."""
    return {
        "experts": experts,
        "d_model": desc.d_model,
        "d_hidden": desc.d_hidden,
        "parts": ", ".join(sorted(part.role.name.lower() for part in desc.parts)),
        "activation": desc.activation.name.lower(),
        "act_alpha": float(desc.act_alpha),
        "gate_limit": float(desc.gate_limit),
        "activated_limit": float(desc.activated_limit),
        "up_limit": float(desc.up_limit),
        "up_offset": float(desc.up_offset),
    }


def refuse_on_gpu(path: Any, descs: Sequence[ExpertDesc], device: torch.device) -> None:
    """Unsupported: the device is a GPU, and its backend does not read what the experts are stored as."""
    if device.type != "cuda":
        return
    stored = {_stored(part) for desc in descs for part in desc.parts}
    strange = sorted(stored - set(_ON_GPU))
    if strange:
        raise Unsupported(
            f"{path}: experts in {', '.join(strange)}: the cuda backend reads {' and '.join(_ON_GPU)}: "
            'expected device="cpu"'
        )


def _stored(part: Any) -> str:
    name: str = part.format.name if part.dtype is None else part.dtype.name
    return name
