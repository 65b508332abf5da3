# SPDX-License-Identifier: MIT
"""How an experts module of Transformers is called, and under which names its weights are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Interface:
    """What a module's shape says of it; what it computes is found out by `arithmetic`.

    Args:
        first, down: paths of the parameters with the experts' first and last matrices, [experts, …].
        first_bias, down_bias: those of their biases, "" where the interface has none.
        gated: gate and up are in one.
        transposed: the parameters are [experts, inputs, outputs], not [experts, outputs, inputs].
        routes: it is called with the router's logits, and chooses by its own `route_tokens_to_experts`; else it is
            called with ids and weights [tokens, top_k].
    """

    first: str
    down: str
    first_bias: str = ""
    down_bias: str = ""
    gated: bool = True
    transposed: bool = False
    routes: bool = False


def interface_of(module: nn.Module) -> Interface | None:
    """The interface of a module with routed experts; None for a module of another kind."""
    return _of_library(module) or _of_grouped_layers(module)


def _of_library(module: nn.Module) -> Interface | None:
    """Transformers' own (`use_experts_implementation`)."""
    if not (hasattr(module, "_apply_gate") and hasattr(module, "is_transposed") and _stacked(module, "down_proj")):
        return None
    first = next((name for name in ("gate_up_proj", "up_proj") if _stacked(module, name)), "")
    if not first:
        return None
    return Interface(
        first,
        "down_proj",
        first + "_bias",
        "down_proj_bias",
        gated=first == "gate_up_proj",
        transposed=bool(module.is_transposed),
    )


def _of_grouped_layers(module: nn.Module) -> Interface | None:
    """Two linear layers over tokens that are sorted by expert, and a choice of its own (aria)."""
    layers = [getattr(module, name, None) for name in ("fc1", "fc2")]
    if not hasattr(module, "route_tokens_to_experts") or not all(isinstance(layer, nn.Module) for layer in layers):
        return None
    if not all(_stacked(layer, "weight") for layer in layers if layer is not None):
        return None
    return Interface("fc1.weight", "fc2.weight", transposed=True, routes=True)


def _stacked(module: nn.Module, name: str) -> bool:
    parameter = module._parameters.get(name)
    return parameter is not None and parameter.dim() == 3
