# SPDX-License-Identifier: MIT
"""A routed layer in float64 from an expert's bytes, written from ufm.h's sentences."""

import math

import numpy as np

from ufm.core import Activation, Dtype, Role


def numbers(data, dtype):
    """Elements of a dtype as float64."""
    if dtype == Dtype.BF16:
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return np.frombuffer(data, np.float32 if dtype == Dtype.F32 else np.float16).astype(np.float64)


def bf16(values):
    """The nearest bf16, ties to even, as bits."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def parts(desc, block):
    """The parts of a block by role."""
    found = {}
    for part, offset in zip(desc.parts, desc.offsets):
        data = bytes(block[offset : offset + part.bytes])
        found[part.role] = numbers(data, part.dtype).reshape(part.rows, part.cols)
    return found


def activate(desc, x):
    if desc.activation == Activation.SILU:
        return x / (1 + np.exp(-(desc.act_alpha or 1) * x))
    if desc.activation == Activation.RELU2:
        return np.maximum(x, 0) ** 2
    if desc.activation == Activation.GELU_TANH:
        return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def expert(desc, block, x):
    """One expert's output for one token."""
    p = parts(desc, block)

    def product(role, bias, v):
        return p[role] @ v + (p[bias][:, 0] if bias in p else 0)

    u = product(Role.UP, Role.UP_BIAS, x)
    if Role.GATE not in p:
        return product(Role.DOWN, Role.DOWN_BIAS, activate(desc, u))
    g = product(Role.GATE, Role.GATE_BIAS, x)
    g = activate(desc, np.minimum(g, desc.gate_limit) if desc.gate_limit else g)
    g = np.minimum(g, desc.activated_limit) if desc.activated_limit else g
    u = (np.clip(u, -desc.up_limit, desc.up_limit) if desc.up_limit else u) + desc.up_offset
    return product(Role.DOWN, Role.DOWN_BIAS, g * u)


def routed(bank, layer, x, ids, gates, expert_begin=0):
    """[T, d_model] for x [T, d_model], ids and gates [T, k]."""
    info, y = bank.info, np.zeros(x.shape)
    blocks = {}
    for t, k in np.ndindex(ids.shape):
        e = int(ids[t, k]) - expert_begin
        if 0 <= e < info.experts:
            block = blocks.setdefault(e, bank.read(layer, e))
            y[t] += float(gates[t, k]) * expert(info.desc, block, x[t].astype(np.float64))
    return y


def distance(found, wanted):
    """The largest difference, relative to the size of what is wanted."""
    size = np.abs(wanted).max(initial=0)
    return np.abs(np.asarray(found, np.float64) - wanted).max(initial=0) / (size or 1)
