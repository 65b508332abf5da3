# SPDX-License-Identifier: MIT
"""Taking over a model that is in memory already."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._enums import Dtype
from ..bank import Bank
from ..description import ExpertDesc
from ..errors import InvalidArgument, Unsupported
from .layout import describe, parts_of
from .paging import Group, by_geometry, expert_dtype, paging_of
from .quantizer import Config, Quantizer, one_device
from .sites import Geometry, Site, find_sites
from .starting import replace, start

log = logging.getLogger("ufm")


def attach(model: Any, vram: int | str | None = None, experts: int | str | None = None, **given: Any) -> Any:
    """Pages the experts of a Transformers model that is in host memory. Returns the model.

    Layer by layer the experts' bytes go to libufm's host tier and the model's own tensors are dropped, so at most a
    few layers are there twice. What else refers to those tensors keeps them. The model is changed in place; where
    this fails before the first layer is taken, it is what it was.

    Args:
        model: of Transformers, its parameters in float32, bfloat16 or float16 on the CPU.
        vram, experts: as in `ufm.from_pretrained`.
        **given: `device`: where the model is to run (default: a GPU where there is one); `cpu_assist`,
            `deterministic`, `context`, `math` and `routing_bytes` as in `ufm.from_pretrained`.

    Raises:
        Unsupported: it has experts that UFM cannot page, is paged already, or is quantised.
    """
    device = one_device(given.pop("device", None))
    config = Config(vram=vram, experts=experts, **given)
    if paging_of(model) is not None:
        raise Unsupported("the model's experts are paged already")
    if getattr(model, "hf_quantizer", None) is not None:
        method = model.hf_quantizer.quantization_config.quant_method
        raise Unsupported(
            f"a quantised model ({getattr(method, 'value', method)}): give its checkpoint to from_pretrained"
        )
    sites = find_sites(model)
    dtype = expert_dtype(model.dtype)
    model.requires_grad_(False)
    if not sites:
        log.warning("%s has no routed experts: nothing is paged", type(model).__name__)
        return model.to(device)
    groups = []
    for geometry, members in by_geometry(sites):
        source = _Source(model, geometry, members, describe(geometry, dtype))
        groups.append(Group(geometry, members, source.bank()))
    replace(model, sites)
    model.to(device)
    start(model, groups, config.options, device)
    _mark(model, config)
    return model.eval()


def _mark(model: Any, config: Config) -> None:
    """As Transformers marks a model that a quantizer has loaded: it is not saved, nor cast."""
    model.hf_quantizer = Quantizer(config, pre_quantized=False)
    model.is_quantized = True
    model.quantization_method = config.quant_method
    model.config.quantization_config = config


class _Source:
    """The experts of a geometry in a model's tensors, which are dropped layer by layer as they are read."""

    def __init__(self, model: Any, geometry: Geometry, sites: Sequence[Site], desc: ExpertDesc) -> None:
        self.geometry, self.desc, self.sites = geometry, desc, sites
        self.tensors: list[dict[str, Tensor] | None] = []
        for site in sites:
            held = {part: model.get_parameter(name).data for part, name in site.parameters.items()}
            wrong = [part for part, tensor in held.items() if tensor.device.type == "meta"]
            if wrong:
                raise InvalidArgument(f"{site.parameters[wrong[0]]}: on the meta device, expected its values")
            self.tensors.append(held)
        self.left = [geometry.experts] * len(sites)
        self.lock = threading.Lock()

    def bank(self) -> Bank:
        numbers = [site.number for site in self.sites]
        return Bank.callback(self.desc, self.read, len(self.sites), self.geometry.experts, numbers)

    def read(self, layer: int, expert: int, block: memoryview) -> None:
        """Writes one expert's parts to its block."""
        tensors = self.tensors[layer]
        if tensors is None:
            raise InvalidArgument(f"{self.sites[layer].name}: its experts were taken over already")
        parts = parts_of(self.geometry, expert, tensors)
        for part, offset, tensor in zip(self.desc.parts, self.desc.offsets, parts, strict=True):
            dtype = torch.float32 if part.dtype == Dtype.F32 else torch.bfloat16
            there = torch.frombuffer(block, dtype=dtype, count=part.rows * part.cols, offset=offset)
            there.view(tensor.shape).copy_(tensor)
        with self.lock:
            self.left[layer] -= 1
            if not self.left[layer]:
                self.tensors[layer] = None
