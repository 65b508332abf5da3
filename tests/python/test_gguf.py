# SPDX-License-Identifier: MIT
"""Banks of GGUF files from Python: bytes and values against the `gguf` package, and layers of several kinds under one
budget."""

import sys

import numpy as np
import pytest

from conftest import BACKEND, ROOT
from ufm import errors
from ufm.core import Activation, Bank, Dtype, Engine, ExpertDesc, ExpertKind, Host, Layer, Role, divide

sys.path.insert(0, str(ROOT / "tests"))
from support import gguf_files, oracle

ROLES = {"gate": Role.GATE, "up": Role.UP, "down": Role.DOWN}
MIXED = [("Q4_K", "Q6_K"), ("Q4_K", "Q4_K"), ("Q4_K", "Q6_K"), ("IQ4_XS", "Q8_0"), ("Q4_K", "Q4_K")]


def same(name):
    return {"gate": name, "up": name, "down": name}


def mixed(rng, tmp_path, experts=6, shards=1):
    layers = [
        gguf_files.Layer(rng, i, {"gate": a, "up": a, "down": b}, experts, 256, 256) for i, (a, b) in enumerate(MIXED)
    ]
    return gguf_files.write(tmp_path / "m.gguf", "qwen3moe", gguf_files.keys(layers), layers, shards=shards), layers


@pytest.mark.parametrize("scheme", ["stacked", "fused", "single"])
@pytest.mark.parametrize("name", gguf_files.TYPES)
def test_experts_are_worth_what_the_gguf_package_says(rng, tmp_path, name, scheme):
    layer = gguf_files.Layer(rng, 3, same(name), 3, 256, 512, scheme)
    path = gguf_files.write(tmp_path / "m.gguf", "llama", gguf_files.keys([layer]), [layer])
    with Bank.open(path) as bank:
        assert (bank.info.layers, bank.info.experts, bank.info.geometries) == (1, 3, 1)
        assert bank.layer_number(0) == 3
        for number, expert in enumerate(layer.experts):
            block = bank.read(0, number)
            for matrix, values in expert.items():
                found = np.array(bank.info.desc.expand(block, ROLES[matrix]), np.float32).reshape(values.shape)
                assert np.array_equal(found, values.astype(np.float32))


@pytest.mark.parametrize("shards", [1, 4])
def test_layers_of_several_kinds_share_one_budget(rng, tmp_path, shards):
    """A bank, a host tier and an engine for each kind, one budget for all, and every layer near the truth."""
    path, layers = mixed(rng, tmp_path, shards=shards)
    with pytest.raises(
        errors.InvalidArgument, match=r"geometry is 0, expected one of 3 kinds of layers \(1: gate Q4_K"
    ):
        Bank.checkpoint(path)
    count = Bank.checkpoint(path, geometry=1).info.geometries
    assert count == 3
    banks = [Bank.checkpoint(path, geometry=i + 1) for i in range(count)]
    numbers = [[bank.layer_number(i) for i in range(bank.info.layers)] for bank in banks]
    assert numbers == [[0, 2], [1, 4], [3]]
    sizes = {"max_tokens": 32, "top_k_max": 2, "cpu_assist": "off", "smallest": True}
    engines = [Engine(Host(bank, BACKEND), **sizes) for bank in banks]
    bounds = [engine.bounds() for engine in engines]
    total = (sum(b.least_bytes for b in bounds) * 3 + sum(b.most_bytes for b in bounds)) // 4
    assert sum(divide(engines, total)) <= total
    for _ in range(2):
        for engine, of_kind in zip(engines, numbers, strict=True):
            for at, number in enumerate(of_kind):
                check_layer(rng, Layer(engine, at, 2), layers[number])
        assert sum(divide(engines, total)) <= total
    for engine, bank in zip(engines, banks, strict=True):
        engine.close()
        bank.close()


def check_layer(rng, layer, expected, tokens=20):
    x = rng.standard_normal((tokens, 256)).astype(np.float32)
    ids = np.stack([rng.permutation(6)[:2] for _ in range(tokens)]).astype(np.int32)
    gates = rng.random((tokens, 2)).astype(np.float32)
    y = np.empty_like(x)
    routing = {"host_ids": ids.ctypes.data, "host_gates": gates.ctypes.data}
    layer.forward_raw(tokens, x.ctypes.data, y.ctypes.data, on_device=False, wait=True, id_bytes=4, **routing)
    layer.close()
    assert oracle.distance(y, oracle.layer(x, ids, gates.astype(np.float64), expected.experts, "silu")) <= 1e-5


def test_layers_of_a_range(rng, tmp_path):
    path, _ = mixed(rng, tmp_path)
    for number, (gate, down) in enumerate(MIXED):
        with Bank.checkpoint(path, layer_begin=number, layer_end=number + 1) as bank:
            formats = {part.role: part.format.name for part in bank.info.desc.parts}
            assert (bank.info.layers, bank.layer_number(0), bank.info.geometries) == (1, number, 1)
            assert (formats[Role.GATE], formats[Role.UP], formats[Role.DOWN]) == (gate, gate, down)


def test_what_a_geometry_must_be(rng, tmp_path):
    path, _ = mixed(rng, tmp_path)
    with pytest.raises(errors.InvalidArgument, match="geometry is 4, expected at most 3"):
        Bank.checkpoint(path, geometry=4)
    with pytest.raises(errors.InvalidArgument, match="geometry is -1"):
        Bank.checkpoint(path, geometry=-1)


@pytest.mark.parametrize("f16_as, dtype", [(None, Dtype.F16), (Dtype.F32, Dtype.F32), (Dtype.BF16, Dtype.BF16)])
def test_halves(rng, tmp_path, f16_as, dtype):
    layer = gguf_files.Layer(rng, 0, same("F16"), 2, 64, 32)
    path = gguf_files.write(tmp_path / "m.gguf", "qwen3moe", gguf_files.keys([layer]), [layer])
    with Bank.checkpoint(path, f16_as=f16_as) as bank:
        assert {part.dtype for part in bank.info.desc.parts} == {dtype}
        found = np.array(bank.info.desc.expand(bank.read(0, 1), Role.UP), np.float32).reshape(32, 64)
        assert np.allclose(found, layer.experts[1]["up"], rtol=0 if dtype != Dtype.BF16 else 2**-8, atol=0)


def test_a_given_activation_wins(rng, tmp_path):
    layer = gguf_files.Layer(rng, 0, same("Q8_0"), 2, 64, 32)
    path = gguf_files.write(tmp_path / "m.gguf", "qwen3moe", gguf_files.keys([layer]), [layer])
    with Bank.checkpoint(path) as bank:
        assert bank.info.desc.activation == Activation.SILU
    with Bank.checkpoint(path, activation=Activation.GELU) as bank:
        assert bank.info.desc.activation == Activation.GELU


def test_other_banks_have_one_geometry():
    with Bank.synthetic(ExpertDesc.standard(ExpertKind.GATED, 8, 8, Dtype.F32), 1, 1) as bank:
        assert bank.info.geometries == 1
