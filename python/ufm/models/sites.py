# SPDX-License-Identifier: MIT
"""The routed layers of a Transformers model: where its experts modules stand, and what each computes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import Unsupported
from .arithmetic import Arithmetic, understand
from .interfaces import Interface, interface_of

_TOP_K_KEYS = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "moe_topk",
    "moe_top_k",
    "top_k_experts",
    "moe_k",
    "top_k",
)


@dataclass(frozen=True)
class Geometry:
    """What the experts of a routed layer have in common; layers of one geometry share slots.

    Args:
        arithmetic: what an expert computes.
        experts: of a layer.
        d_model, d_hidden: an expert's inputs and hidden values.
    """

    arithmetic: Arithmetic
    experts: int
    d_model: int
    d_hidden: int


@dataclass(frozen=True)
class Site:
    """One routed layer of a model.

    Args:
        name: of its experts module in the model.
        number: of the layer in the model, for messages.
        geometry: what its experts are.
        top_k: experts a token.
        parameters: full names of its parameters: "first", "down", and "first_bias", "down_bias" where there are biases;
            of parameters that are tied to others the others' names. Sites of the same parameters share a layer.
        shapes: their shapes, by the same keys.
        routes: its module is called with the router's logits (`Interface.routes`).
    """

    name: str
    number: int
    geometry: Geometry
    top_k: int
    parameters: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    routes: bool


def find_sites(model: nn.Module) -> list[Site]:
    """Every routed layer of a model, in its order; empty for a model without experts.

    Raises:
        Unsupported: a routed layer has no interface for experts, or computes what UFM lacks. All are named.
    """
    strangers = list(_strangers(model))
    if strangers:
        shown = ", ".join(strangers[:3]) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
        raise Unsupported(f"experts that UFM cannot page, for they lack Transformers' interface for experts: {shown}")
    known: dict[Any, Arithmetic] = {}
    tied = _tied(model)
    sites = []
    for name, module in model.named_modules():
        interface = interface_of(module)
        if interface is not None:
            key = _same(module)
            if key not in known:
                known[key] = understand(module, interface)
            sites.append(_site(model, name, interface, known[key], tied))
    return sites


def _same(module: nn.Module) -> Any:
    """Modules alike in this compute the same."""
    scalars = (str, int, float, bool, type(None))
    plain = {key: value for key, value in vars(module).items() if isinstance(value, scalars)}
    parts = tuple((name, repr(part)) for name, part in module._modules.items())
    functions = tuple((key, repr(value)) for key, value in vars(module).items() if callable(value))
    return type(module), tuple(sorted(plain.items(), key=str)), parts, functions, tuple(module._parameters)


def _site(model: nn.Module, name: str, interface: Interface, arithmetic: Arithmetic, tied: dict[str, str]) -> Site:
    names = {"first": interface.first, "down": interface.down}
    if arithmetic.biased:
        names |= {"first_bias": interface.first_bias, "down_bias": interface.down_bias}
    full = {part: f"{name}.{parameter}" for part, parameter in names.items()}
    shapes = {part: tuple(model.get_parameter(parameter).shape) for part, parameter in full.items()}
    experts, rows, columns = shapes["down"]
    d_model, d_hidden = (columns, rows) if arithmetic.transposed else (rows, columns)
    return Site(
        name=name,
        number=_layer_number(name),
        geometry=Geometry(arithmetic, experts, d_model, d_hidden),
        top_k=_top_k(model, name),
        parameters={part: tied.get(parameter, parameter) for part, parameter in full.items()},
        shapes=shapes,
        routes=interface.routes,
    )


def _tied(model: nn.Module) -> dict[str, str]:
    """Parameters that are others': by the model's own list, and where both are one tensor already."""
    tied: dict[str, str] = dict(getattr(model, "all_tied_weights_keys", None) or {})
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        own = first.setdefault(id(parameter), name)
        if own != name:
            tied.setdefault(name, own)
    return {name: tied.get(other) or other for name, other in tied.items()}


def _layer_number(name: str) -> int:
    numbers = re.findall(r"\.(\d+)(?=\.|$)", "." + name)
    return int(numbers[-1]) if numbers else 0


def _top_k(model: nn.Module, name: str) -> int:
    """As the routed layer's own modules have it, or else as the config says."""
    parents = [name.rpartition(".")[0]]
    parents.append(parents[0].rpartition(".")[0])
    for parent in parents:
        block = model.get_submodule(parent)
        found = [vars(module).get(key) for module in block.modules() for key in _TOP_K_KEYS]
        own = {value for value in found if type(value) is int and value > 0}
        if len(own) == 1:
            return own.pop()
    config: Any = getattr(model, "config", None)
    text = config.get_text_config(decoder=True) if config is not None else None
    for part in (text, config):
        for key in _TOP_K_KEYS:
            value = getattr(part, key, None)
            if type(value) is int and value > 0:
                return value
    raise Unsupported(f"{name}: neither its router nor the config says how many experts a token goes to")


def _strangers(model: nn.Module) -> Iterator[str]:
    """Modules that hold experts, or look it, and lack the interface; what all tokens share is dense."""
    for name, module in model.named_modules():
        if interface_of(module) or _inside_experts(model, name) or "shared" in name.rpartition(".")[2]:
            continue
        kind = type(module).__name__
        named = name.rpartition(".")[2] == "experts" and any(True for _ in module.parameters())
        matrices = [key for key, p in module._parameters.items() if p is not None and p.dim() == 3]
        stacked = any("expert" in f"{name}.{kind}.{key}".lower() for key in matrices)
        if named or stacked:
            yield f"{name} ({kind})"


def _inside_experts(model: nn.Module, name: str) -> bool:
    while name:
        name = name.rpartition(".")[0]
        if interface_of(model.get_submodule(name)):
            return True
    return False
