# SPDX-License-Identifier: MIT
"""Banks read from checkpoints that the `safetensors` package wrote: every byte against NumPy."""
import ctypes
import os
import secrets

import numpy as np
import pytest
from support import checkpoints
from support.library import load

F32, BF16 = 1, 2
SILU = 2
PARTS = {1: "up", 2: "up_bias", 3: "gate", 5: "down", 6: "down_bias"}
u32, u64 = ctypes.c_uint32, ctypes.c_uint64


class Part(ctypes.Structure):
    _fields_ = [("role", u32), ("dtype", u32), ("rows", u32), ("cols", u32), ("offset", u64),
                ("size", u64), ("format", u32), ("reserved", u32 * 5)]


class Desc(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("d_model", u32), ("d_hidden", u32),
                ("activation", u32), ("part_count", u32), ("parts", Part * 16),
                ("expert_bytes", u64), ("block_bytes", u64),
                *((name, ctypes.c_float) for name in
                  ("act_alpha", "gate_limit", "activated_limit", "up_limit", "up_offset"))]


class Info(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("layers", u32), ("experts", u32), ("desc", ctypes.POINTER(Desc)),
                ("bank_bytes", u64)]


class Config(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("f16_as", u32), ("activation", u32),
                ("layer_begin", u32), ("layer_end", u32)]


class Bank:
    def __init__(self, path, f16_as=F32):
        self.library = load()
        config = Config(ctypes.sizeof(Config), f16_as, SILU, 0, 0)
        self.handle, self.info = ctypes.c_void_p(), Info(ctypes.sizeof(Info))
        status = self.library.ufm_bank_checkpoint(os.fsencode(path), ctypes.byref(config),
                                             ctypes.byref(self.handle))
        assert status == 0, self.library.ufm_last_error()
        assert self.library.ufm_bank_get_info(self.handle, ctypes.byref(self.info)) == 0
        self.desc = self.info.desc.contents

    def number(self, layer):
        return self.library.ufm_bank_layer_number(self.handle, layer)

    def parts(self, layer, expert):
        """{name: bits of the weights}; what lies between the parts must be zero."""
        block = np.full(self.desc.expert_bytes, 0xA5, np.uint8)
        status = self.library.ufm_bank_read(self.handle, layer, expert,
                                       block.ctypes.data_as(ctypes.c_void_p))
        assert status == 0, self.library.ufm_last_error()
        found, rest = {}, np.ones(block.size, bool)
        for part in self.desc.parts[:self.desc.part_count]:
            size = part.rows * part.cols * (4 if part.dtype == F32 else 2)
            place = slice(part.offset, part.offset + size)
            shape = (part.rows, part.cols) if "bias" not in PARTS[part.role] else (part.rows,)
            bits = block[place].view("<u4" if part.dtype == F32 else "<u2")
            found[PARTS[part.role]] = bits.reshape(shape)
            rest[place] = False
        assert not block[rest].any()
        return found

    def close(self):
        self.library.ufm_bank_close(self.handle)


def expected_bits(values, dtype, f16_as):
    """Halves pass through float32, from which both types round to nearest, ties to even."""
    weights = checkpoints.stored(values, dtype)
    if dtype == "F16":
        weights = checkpoints.stored(weights.astype(np.float32), "F32" if f16_as == F32 else "BF16")
    return weights.view(np.uint32 if weights.dtype == np.float32 else np.uint16)


def model(random, scheme, layers, experts, d_model, d_hidden):
    """Routed layers 1, 3, …, dense ones and shared experts between them."""
    tensors, routed = {}, []
    for i in range(layers):
        prefix = f"model.layers.{2 * i + 1}.mlp"
        own, parts = checkpoints.layer(random, scheme, prefix, experts, d_model, d_hidden)
        tensors |= own
        tensors[f"{prefix}.gate.weight"] = random.standard_normal((experts, d_model))
        tensors[f"{prefix}.shared_expert.up_proj.weight"] = random.standard_normal((3, 2))
        tensors[f"model.layers.{2 * i}.mlp.up_proj.weight"] = random.standard_normal((2, 3))
        routed.append(parts)
    return tensors, routed


def check(path, routed, dtype, f16_as, d_model, d_hidden):
    bank = Bank(path, f16_as)
    assert (bank.info.layers, bank.info.experts) == (len(routed), len(routed[0]))
    assert (bank.desc.d_model, bank.desc.d_hidden) == (d_model, d_hidden)
    for i, layer in enumerate(routed):
        assert bank.number(i) == 2 * i + 1
        for e, parts in enumerate(layer):
            found = bank.parts(i, e)
            assert set(found) == set(parts)
            for name, values in parts.items():
                assert np.array_equal(found[name], expected_bits(values, dtype, f16_as)), name
    bank.close()


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
@pytest.mark.parametrize("scheme", checkpoints.SCHEMES)
def test_every_byte(tmp_path, scheme, dtype, shards):
    seed = secrets.randbits(32)
    print("seed", seed)
    random = np.random.default_rng(seed)
    layers, experts = random.integers(1, 4, 2)
    d_model, d_hidden = (int(n) for n in random.integers(1, 70, 2))
    tensors, routed = model(random, scheme, layers, experts, d_model, d_hidden)
    if shards == 1:
        checkpoints.write(tmp_path / "model.safetensors", tensors, dtype)
    else:
        checkpoints.write_shards(tmp_path, tensors, dtype, shards)
    for f16_as in (F32, BF16):
        check(tmp_path, routed, dtype, f16_as, d_model, d_hidden)


@pytest.mark.parametrize("scheme", checkpoints.SCHEMES)
def test_one_expert_of_one_element(tmp_path, scheme):
    tensors, routed = model(np.random.default_rng(1), scheme, 1, 1, 1, 1)
    checkpoints.write(tmp_path / "any.safetensors", tensors, "F16")
    check(tmp_path / "any.safetensors", routed, "F16", F32, 1, 1)


def test_special_values(tmp_path):
    """Infinities, NaN, subnormals and values that round to another exponent."""
    values = np.array([[np.inf, -np.inf, 0.0, -0.0, 2.0 ** -24, -2.0 ** -15, 65504.0, 1.9990234375]],
                      np.float32)
    tensors = {"experts.0.up_proj.weight": values, "experts.0.down_proj.weight": values.T}
    checkpoints.write(tmp_path / "model.safetensors", tensors, "F16")
    for f16_as in (F32, BF16):
        bank = Bank(tmp_path, f16_as)
        assert np.array_equal(bank.parts(0, 0)["up"], expected_bits(values, "F16", f16_as))
        bank.close()
