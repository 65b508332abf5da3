# SPDX-License-Identifier: MIT
"""A routed layer, computed again in NumPy with float64 from the bytes of the bank.

RMS norm, softmax router, top-k, experts of every kind and arithmetic, weighted sum, residual.
"""
import os
import secrets
import subprocess

import numpy as np
import pytest
from support import oracle

BUILD = os.environ.get("UFM_BUILD_DIR", "build")
DUMP = os.path.join(BUILD, "tests", "reference", "dump_layer")
MLP, MLP_BIAS, GATED = 1, 2, 3
F32, BF16 = 1, 2
UP, UP_BIAS, GATE, GATE_BIAS, DOWN, DOWN_BIAS = 1, 2, 3, 4, 5, 6
LIMIT = {F32: 1e-5, BF16: 1e-2}
ACTIVATIONS = {1: "gelu", 2: "silu", 3: "gelu-tanh", 4: "relu2"}
# Those of tests/support/arithmetic.c whose parts are no standard kind's; every parameter is in one.
ARITHMETICS = ["gelu-tanh", "relu2", "gated gelu-tanh", "clamped, alpha, up + 1", "clamped after",
               "clamped relu2, up + 0.5"]


def dump(folder, **case):
    order = "kind dtype experts top_k d_model d_hidden tokens slots norm_topk seed".split()
    subprocess.run([DUMP, str(folder)] + [str(case[name]) for name in order], check=True)
    names = "x y ids gates router norm blocks layout gating".split()
    return {name: np.load(folder / f"{name}.npy") for name in names}


def part(block, layout, role):
    for part_role, dtype, rows, cols, offset in layout:
        if part_role != role:
            continue
        if dtype == F32:
            values = np.frombuffer(block, "<f4", rows * cols, offset)
        else:
            halves = np.frombuffer(block, "<u2", rows * cols, offset)
            values = (halves.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float64).reshape(rows, cols)
    return None


def expert(block, layout, gating, x):
    roles = {UP: "up", UP_BIAS: "up_bias", GATE: "gate", GATE_BIAS: "gate_bias", DOWN: "down", DOWN_BIAS: "down_bias"}
    parts = {name: part(block, layout, role) for role, name in roles.items()}
    parts = {name: values.T if name.endswith("bias") else values
             for name, values in parts.items() if values is not None}
    activation, *parameters = gating[0].astype(np.float64)
    return oracle.expert(parts, x, oracle.Gating(ACTIVATIONS[int(activation)], *parameters))


def layer(data, norm_topk):
    x = data["x"].astype(np.float64)
    normed = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-6) * data["norm"].astype(np.float64)
    share = oracle.scores(normed, data["router"].astype(np.float64), "softmax")
    ids = data["ids"]
    gates = np.take_along_axis(share, ids, axis=1)
    if norm_topk:
        gates = gates / gates.sum(axis=1, keepdims=True)
    y = x.copy()
    for e in np.unique(ids):
        out = expert(data["blocks"][e].tobytes(), data["layout"], data["gating"], normed)
        y += out * np.where(ids == e, gates, 0.0).sum(axis=1, keepdims=True)
    return y, share, gates


def check_routing(ids, share, k):
    """Each token's k chosen are its k largest, but for ties within rounding."""
    for chosen, probabilities in zip(ids, share):
        assert len(set(chosen.tolist())) == k
        threshold = np.sort(probabilities)[-k]
        assert np.all(probabilities[chosen] >= threshold * (1 - 1e-5))
        assert np.all(np.diff(probabilities[chosen]) <= 1e-6)


CASES = [
    dict(kind=kind, dtype=dtype, experts=experts, top_k=k, d_model=d, d_hidden=h, tokens=t, slots=s,
         norm_topk=norm)
    for kind in (MLP, MLP_BIAS, GATED)
    for dtype in (F32, BF16)
    for experts, k, d, h, t, s, norm in (
        # One token of one element could be a sum that cancels, and any rounding a large part of it.
        (4, 1, 1, 1, 9, 2, 0),
        (7, 2, 33, 65, 1, 3, 1),
        (13, 3, 128, 200, 37, 5, 0),
        (16, 2, 256, 512, 96, 16, 1),
    )
] + [
    dict(kind=name, dtype=dtype, experts=7, top_k=3, d_model=130, d_hidden=201, tokens=tokens, slots=3, norm_topk=1)
    for name in ARITHMETICS for dtype in (F32, BF16) for tokens in (1, 41)
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(map(str, c.values())))
def test_layer_agrees_with_float64(tmp_path, case):
    seed = secrets.randbelow(2**31)
    print("seed", seed)
    data = dump(tmp_path, seed=seed, **case)
    want, share, gates = layer(data, case["norm_topk"])
    got = data["y"].astype(np.float64)
    assert np.isfinite(got).all()
    check_routing(data["ids"], share, case["top_k"])
    assert np.abs(data["gates"] - gates).max() <= 1e-5
    assert oracle.distance(got, want) <= LIMIT[case["dtype"]]


def test_the_check_can_fail(tmp_path):
    """A wrong gate rule must not pass: the limits mean something."""
    case = dict(kind=MLP_BIAS, dtype=F32, experts=13, top_k=3, d_model=128, d_hidden=200, tokens=37,
                slots=5, norm_topk=0)
    data = dump(tmp_path, seed=1, **case)
    want, _, _ = layer(data, 1)
    assert oracle.distance(data["y"], want) > 1e-3
