# SPDX-License-Identifier: MIT
"""What an experts module of Transformers computes, found out and proven.

A module's flags and its config's keys hint at the arithmetic, but do not tell it: ten classes bring gates of their own.
So nothing here is believed. Every arithmetic that UFM has and that the module's attributes could mean is tried against
the module's own eager forward, on a tiny copy of it with random weights in float64. The one that gives the same numbers
is the module's; where none does, the module is refused by the name of its class.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import Unsupported
from .interfaces import Interface

# Sizes of the tiny copy: all different, none a multiple of another, so that a wrong axis cannot go unseen.
_EXPERTS, _MODEL, _HIDDEN, _TOKENS, _TOP_K = 5, 6, 4, 17, 3
_SIZES = (
    (("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "groups"), _EXPERTS),
    (("hidden_dim", "hidden_size"), _MODEL),
    (("intermediate_dim", "intermediate_size", "expert_dim", "ffn_dim", "moe_intermediate_size"), _HIDDEN),
    (("moe_topk",), _TOP_K),
)
# Modules may compute in float32 inside; two arithmetics that differ, differ by more (tanh GELU: 5e-4).
_TOLERANCE = 2e-6

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu2": lambda x: functional.relu(x).square(),
}


@dataclass(frozen=True)
class Arithmetic:
    """One expert, as `ufm_expert_desc` says it, and where its matrices lie in the module's parameters.

    Args:
        activation: "silu", "gelu", "gelu_tanh" or "relu2".
        gated: there is a gate beside `up`.
        biased: every matrix has a bias.
        transposed: the parameters are [experts, inputs, outputs], not [experts, outputs, inputs].
        alternating: gate and up take every second output, not one half each.
        up_first: up comes before gate.
        act_alpha, gate_limit, activated_limit, up_limit, up_offset: as in `ufm_expert_desc`; 0: none.
    """

    activation: str = "silu"
    gated: bool = True
    biased: bool = False
    transposed: bool = False
    alternating: bool = False
    up_first: bool = False
    act_alpha: float = 0.0
    gate_limit: float = 0.0
    activated_limit: float = 0.0
    up_limit: float = 0.0
    up_offset: float = 0.0

    def outputs(self, role: str, width: int) -> slice:
        """Which of the first product's outputs are the "gate" or the "up" of an expert `width` wide."""
        if not self.gated:
            return slice(0, width)
        second = (role == "gate") == self.up_first
        return slice(int(second), None, 2) if self.alternating else slice(width * second, width * (second + 1))

    def hidden(self, product: Tensor) -> Tensor:
        """The hidden values of an expert from its first product [tokens, outputs], bias added."""
        activation = _ACTIVATIONS[self.activation]
        if not self.gated:
            return activation(product)
        width = product.shape[-1] // 2
        gate, up = (product[..., self.outputs(role, width)] for role in ("gate", "up"))
        if self.gate_limit:
            gate = gate.clamp(max=self.gate_limit)
        gate = gate * torch.sigmoid(self.act_alpha * gate) if self.act_alpha else activation(gate)
        if self.activated_limit:
            gate = gate.clamp(max=self.activated_limit)
        if self.up_limit:
            up = up.clamp(-self.up_limit, self.up_limit)
        return gate * (up + self.up_offset)


def understand(module: nn.Module, interface: Interface) -> Arithmetic:
    """The arithmetic of an experts module, which may be on the meta device. `Unsupported` for one that UFM lacks."""
    known = {interface.first, interface.down, interface.first_bias, interface.down_bias}
    others = sorted({name for name, _ in module.named_parameters()} - known)
    if others:
        raise Unsupported(f"{_name(module)}: parameters that UFM does not know: {', '.join(others)}")
    hints = Arithmetic(gated=interface.gated, biased=_has_biases(module, interface), transposed=interface.transposed)
    with torch.device("cpu"):  # Transformers calls this where the default device is "meta"
        tiny = _Tiny(module, interface, hints)
        for candidate in _candidates(module, hints):
            if tiny.agrees(candidate):
                return candidate
    raise Unsupported(f"{_name(module)}: its experts compute what UFM has no arithmetic for")


def _has_biases(module: nn.Module, interface: Interface) -> bool:
    there = {name for name, _ in module.named_parameters()}
    found = [bool(name) and name in there for name in (interface.first_bias, interface.down_bias)]
    if found[0] != found[1]:
        raise Unsupported(f"{_name(module)}: a bias on one matrix alone: expected on all or on none")
    return found[0]


def _name(module: nn.Module) -> str:
    return type(module).__name__


def _number(module: nn.Module, *names: str) -> float:
    """The first attribute that is a number above 0, or 0."""
    for name in names:
        value = getattr(module, name, None)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(value)
    return 0.0


def _candidates(module: nn.Module, hints: Arithmetic) -> Iterator[Arithmetic]:
    """What the module may compute, the most frequent first."""
    if not hints.gated:
        for activation in _ACTIVATIONS:
            yield replace(hints, activation=activation)
        return
    limit = _number(module, "limit", "swiglu_limit")
    alpha = _number(module, "alpha", "swiglu_alpha")
    limits: list[dict[str, Any]] = [
        {},
        {"gate_limit": limit, "up_limit": limit},
        {"activated_limit": limit, "up_limit": limit},
    ]
    orders = itertools.product((False, True), (False, True))
    for (alternating, up_first), bounds, offset in itertools.product(
        orders, limits if limit else limits[:1], (0.0, 1.0)
    ):
        shape = replace(hints, alternating=alternating, up_first=up_first, up_offset=offset, **bounds)
        for activation in _ACTIVATIONS:
            yield replace(shape, activation=activation)
        if alpha:
            yield replace(shape, activation="silu", act_alpha=alpha)


def _put(module: nn.Module, path: str, parameter: nn.Parameter) -> None:
    """Gives a copy of a module a parameter, in a copy of the module that has it."""
    owner, _, name = path.rpartition(".")
    if owner:
        inner = copy.copy(module._modules[owner])
        assert inner is not None
        inner._parameters = {}
        module._modules[owner] = module = inner
    module._parameters[name] = parameter


class _Tiny:
    """A tiny copy of an experts module, what it was given and what its eager forward made of it."""

    def __init__(self, module: nn.Module, interface: Interface, hints: Arithmetic) -> None:
        random = torch.Generator()
        random.manual_seed(20)
        # Wide enough that every limit is passed now and then.
        spread = 1.5 * max(2.0, _number(module, "limit", "swiglu_limit")) / math.sqrt(_MODEL)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=random, dtype=torch.float64)

        outputs = _HIDDEN * (2 if hints.gated else 1)
        self.first, self.down = spread * draw(_EXPERTS, outputs, _MODEL), draw(_EXPERTS, _MODEL, _HIDDEN)
        self.first_bias, self.down_bias = draw(_EXPERTS, outputs), draw(_EXPERTS, _MODEL)
        self.x, self.gates = draw(_TOKENS, _MODEL), draw(_TOKENS, _TOP_K).abs()
        self.ids = torch.stack([torch.randperm(_EXPERTS, generator=random)[:_TOP_K] for _ in range(_TOKENS)])
        self.made = self._eager(module, interface, hints)

    def _eager(self, module: nn.Module, interface: Interface, hints: Arithmetic) -> Tensor:
        tiny = copy.copy(module)
        tiny._parameters, tiny._buffers, tiny._modules = {}, dict(module._buffers), dict(module._modules)
        weights = {interface.first: self.first, interface.down: self.down}
        if hints.transposed:
            weights = {name: weight.transpose(1, 2).contiguous() for name, weight in weights.items()}
        if hints.biased:
            weights |= {interface.first_bias: self.first_bias, interface.down_bias: self.down_bias}
        for name, weight in weights.items():
            _put(tiny, name, nn.Parameter(weight, requires_grad=False))
        sized = [tiny]
        if interface.routes:
            tiny.config = copy.copy(module.config)
            sized.append(tiny.config)
        for part, (names, size) in itertools.product(sized, _SIZES):
            for name in names:
                if name in vars(part):
                    setattr(part, name, size)
        forward: Any = getattr(type(module).forward, "__wrapped__", type(module).forward)
        try:
            with torch.no_grad():
                made = forward(tiny, self.x, *self._routing(tiny, interface))
        except Exception as error:
            raise Unsupported(f"{_name(module)}: cannot be tried on a small copy: {error}") from error
        if not isinstance(made, Tensor) or made.shape != self.x.shape:
            raise Unsupported(f"{_name(module)}: expected an output of its input's shape")
        return made.double()

    def _routing(self, tiny: nn.Module, interface: Interface) -> tuple[Tensor, ...]:
        """What the module is called with beside tokens. Where it routes by itself, its choice is ours."""
        if not interface.routes:
            return self.ids, self.gates
        logits = self.x @ self.down[:, :, 0].T
        self.ids, self.gates = tiny.route_tokens_to_experts(logits)
        return (logits,)

    def _ours(self, arithmetic: Arithmetic) -> Tensor:
        """As libufm defines it: the gate multiplies after the last product."""
        product = torch.einsum("tkom,tm->tko", self.first[self.ids], self.x)
        if arithmetic.biased:
            product = product + self.first_bias[self.ids]
        out = torch.einsum("tkmh,tkh->tkm", self.down[self.ids], arithmetic.hidden(product))
        if arithmetic.biased:
            out = out + self.down_bias[self.ids]
        return (self.gates.unsqueeze(-1) * out).sum(1)

    def agrees(self, arithmetic: Arithmetic) -> bool:
        error = (self._ours(arithmetic) - self.made).abs().max()
        return bool(error <= _TOLERANCE * self.made.abs().max())
