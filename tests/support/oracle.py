# SPDX-License-Identifier: MIT
"""A routed layer in NumPy with float64, written from the definition and not from the C code."""
import math
from typing import NamedTuple

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])


def gelu(x):
    return 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0)))


def silu(x):
    with np.errstate(over="ignore"):
        return x / (1.0 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x ** 3)))


def relu2(x):
    return np.maximum(x, 0.0) ** 2


ACTIVATIONS = {"gelu": gelu, "silu": silu, "gelu-tanh": gelu_tanh, "relu2": relu2}


class Gating(NamedTuple):
    """An activation and what a gated expert may have besides; 0: nothing."""
    activation: str
    act_alpha: float = 0.0
    gate_limit: float = 0.0
    activated_limit: float = 0.0
    up_limit: float = 0.0
    up_offset: float = 0.0


def gated(rule, gate, up):
    gate = np.minimum(gate, rule.gate_limit or np.inf)
    if rule.act_alpha:
        with np.errstate(over="ignore"):
            gate = gate / (1.0 + np.exp(-rule.act_alpha * gate))
    else:
        gate = ACTIVATIONS[rule.activation](gate)
    up_limit = rule.up_limit or np.inf
    return np.minimum(gate, rule.activated_limit or np.inf) * (np.clip(up, -up_limit, up_limit) + rule.up_offset)


def expert(parts, x, rule):
    """parts: float64 arrays by role: up, down, and where there are any gate and NAME_bias. rule: an activation's
    name, or a Gating."""
    rule = Gating(rule) if isinstance(rule, str) else rule
    hidden = x @ parts["up"].T + parts.get("up_bias", 0.0)
    if "gate" in parts:
        hidden = gated(rule, x @ parts["gate"].T + parts.get("gate_bias", 0.0), hidden)
    else:
        hidden = ACTIVATIONS[rule.activation](hidden)
    return hidden @ parts["down"].T + parts.get("down_bias", 0.0)


def scores(x, router, scoring):
    logits = x @ router.T
    if scoring == "sigmoid":
        return 1.0 / (1.0 + np.exp(-logits))
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    return share / share.sum(axis=1, keepdims=True)


def route(x, router, top_k, scoring, norm_topk):
    """ids and gates [T, k], the largest first."""
    each = scores(x, router, scoring)
    ids = np.argsort(-each, axis=1, kind="stable")[:, :top_k]
    gates = np.take_along_axis(each, ids, axis=1)
    return ids, gates / (gates.sum(axis=1, keepdims=True) + 1e-20) if norm_topk else gates


def clear_tokens(rng, count, router, top_k):
    """Tokens whose choice of experts does not hang on rounding: f32 [count, D]."""
    kept = np.zeros((0, router.shape[1]), np.float32)
    while len(kept) < count:
        x = rng.standard_normal((count + 64, router.shape[1])).astype(np.float32)
        logits = np.sort(x.astype(np.float64) @ router.T, axis=1)[:, ::-1]
        if top_k < router.shape[0]:
            x = x[logits[:, top_k - 1] - logits[:, top_k] > 1e-3]
        kept = np.concatenate([kept, x])
    return kept[:count]


def layer(x, ids, gates, experts, activation):
    """The sum of gate x expert(x); an id outside the experts contributes 0."""
    x = x.astype(np.float64)
    y = np.zeros_like(x)
    for number, parts in enumerate(experts):
        tokens = (ids == number).any(axis=1)
        if tokens.any():
            gate = np.where(ids == number, gates, 0.0).sum(axis=1, keepdims=True)[tokens]
            y[tokens] += gate * expert(parts, x[tokens], activation)
    return y


def distance(got, want):
    """The larger of max|y - ref| / max|ref| and the ratio of root mean squares."""
    off = got.astype(np.float64) - want
    return max(np.abs(off).max() / np.abs(want).max(),
               math.sqrt((off ** 2).mean() / (want ** 2).mean()))
