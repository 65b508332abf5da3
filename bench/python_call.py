#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a layer call from Python costs beside the same call from C: one token, top-2, experts so small that they are
nothing to speak of, all resident, cpu backend, calls that wait.

    UFM_BUILD_DIR=build-ci PYTHONPATH=python .venv/bin/python bench/python_call.py

Prints a JSON line for each way, in nanoseconds: `c` is bench/call of the build folder (case resident, way wait);
`foreign` is ctypes alone, all that a call needs made before; `forward_raw` plain addresses; `routed` tensors;
`operator` what compiled code calls; `eager` the same layer in plain torch. The ways take turns in one run; asserts
nothing.
"""

import ctypes
import json
import os
import subprocess
import sys
import time

BUILD = os.environ.get("UFM_BUILD_DIR", "build")
os.environ.setdefault("UFM_LIBRARY", os.path.abspath(os.path.join(BUILD, "libufm.so.2")))

import torch  # noqa: E402

from ufm._enums import Place  # noqa: E402
from ufm._library import lib  # noqa: E402
from ufm._structs import ufm_moe_call, ufm_tokens  # noqa: E402
from ufm.core import Bank, Dtype, Engine, ExpertDesc, ExpertKind, Host, Layer, Role  # noqa: E402
from ufm.torch_op import routed  # noqa: E402

ROUNDS, TURNS, SIZE, EXPERTS, TOP_K = 4000, 8, 64, 8, 2


def open_layer():
    bank = Bank.synthetic(ExpertDesc.standard(ExpertKind.GATED, SIZE, SIZE, Dtype.F32), 1, EXPERTS)
    engine = Engine(Host(bank, "cpu"), max_tokens=1, top_k_max=TOP_K, cpu_assist="off", resident_all=True)
    engine.prefetch(0, range(EXPERTS))
    engine.sync()
    return Layer(engine, 0, TOP_K)


def foreign(layer, x, y, ids, gates):
    """The foreign function alone: its structs are made before."""
    tokens = [ufm_tokens(place=Place.ON_DEVICE, dtype=Dtype.F32, device=each.data_ptr()) for each in (x, y)]
    call = ufm_moe_call(tokens=1, x=ctypes.pointer(tokens[0]), y=ctypes.pointer(tokens[1]), wait=1, id_bytes=8)
    call.device_ids, call.device_gates = ids.data_ptr(), gates.data_ptr()
    function, pointer, at, kept = lib.ufm_moe_forward, layer.pointer, ctypes.addressof(call), (call, tokens, y)
    return lambda kept=kept: function(pointer, at, None)


def eager(bank, x, ids, gates):
    """What a model would do by itself for one token."""
    desc = bank.info.desc
    weights = {}
    for role in (Role.GATE, Role.UP, Role.DOWN):
        begin = desc.offsets[desc.index(role)] // 4
        blocks = [torch.frombuffer(bank.read(0, e), dtype=torch.float32) for e in range(EXPERTS)]
        weights[role] = torch.stack([block[begin : begin + SIZE * SIZE].reshape(SIZE, SIZE) for block in blocks])

    def run():
        gate, up, down = (weights[role][ids[0]] for role in (Role.GATE, Role.UP, Role.DOWN))
        hidden = torch.nn.functional.silu(gate @ x[0]) * (up @ x[0])
        return (torch.bmm(down, hidden[:, :, None])[:, :, 0] * gates[0][:, None]).sum(0, keepdim=True)

    return run


def ways():
    layer = open_layer()
    x, y = torch.randn(1, SIZE), torch.empty(1, SIZE)
    ids, gates = torch.tensor([[1, 6]]), torch.tensor([[0.75, 0.25]])
    plain = eager(layer.engine.host.bank, x, ids, gates)
    torch.testing.assert_close(routed(layer, x, ids, gates), plain(), rtol=1e-4, atol=1e-5)
    addresses = x.data_ptr(), y.data_ptr(), ids.data_ptr(), gates.data_ptr()

    def raw(kept=y):
        layer.forward_raw(1, addresses[0], addresses[1], ids=addresses[2], gates=addresses[3], wait=True)

    operator, number = torch.ops.ufm.routed.default, layer.number
    return {
        "foreign": foreign(layer, x, y, ids, gates),
        "forward_raw": raw,
        "routed": lambda: routed(layer, x, ids, gates),
        "operator": lambda: operator(x, ids, gates, number),
        "eager": plain,
    }


def time_calls(function, count):
    took = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        function()
        took.append(time.perf_counter_ns() - begin)
    return took


def of_c():
    """The row of the same call in C, by a clock around each as here."""
    program = os.path.join(BUILD, "bench", "call")
    listed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in listed.splitlines()]
    return next(row for row in rows if (row["case"], row["way"]) == ("resident", "wait"))


def row(way, took):
    took = sorted(took)
    count = len(took)
    figures = {"call_ns": took[count // 2], "call_p10_ns": took[count // 10], "call_p90_ns": took[count - count // 10]}
    print(json.dumps({"case": "resident", "way": way, "rounds": count, **figures}), flush=True)


def main():
    found = of_c()
    print(json.dumps({**found, "way": "c"}), flush=True)
    took = {}
    with torch.no_grad():
        functions = ways()
        for function in functions.values():
            time_calls(function, ROUNDS // 4)
        for _ in range(TURNS):
            for way, function in functions.items():
                took.setdefault(way, []).extend(time_calls(function, ROUNDS // TURNS))
    row("clock", time_calls(lambda: None, ROUNDS))
    for way, figures in took.items():
        row(way, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
