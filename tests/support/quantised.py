# SPDX-License-Identifier: MIT
"""Checkpoints of quantised experts as others publish them, through the `safetensors` package, and what their weights are worth
in float32: (value - zero) * (scale * factor), each operation rounded, by NumPy from the floats that the test quantises."""
import copy
import os

import numpy as np
import pytest

from support import checkpoints

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
AWQ_NIBBLES = (0, 2, 4, 6, 1, 3, 5, 7)  # the output that each nibble of a word has
TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "U8": "uint8", "I32": "int32", "I64": "int64",
         "F8_E4M3": "float8_e4m3fn", "F8_E8M0": "float8_e8m0fnu"}


def e4m3(bits):
    """float32 of every pattern; the two of a NaN are NaN."""
    bits = np.asarray(bits, np.int32)
    exponent, fraction = bits >> 3 & 15, bits & 7
    size = np.where(exponent, (8 + fraction) * 2.0 ** (exponent - 10.0), fraction * 2.0 ** -9)
    size = np.where((exponent == 15) & (fraction == 7), np.nan, size)
    return np.where(bits & 128, -size, size).astype(np.float32)


def nearest(values, table):
    """Indices of the nearest entries; which of two as near does not matter here."""
    order = np.argsort(table, kind="stable")
    ordered = table[order]
    at = np.clip(np.searchsorted(ordered, values), 1, len(ordered) - 1)
    at -= np.abs(values - ordered[at - 1]) < np.abs(values - ordered[at])
    return order[at]


# Nothing is nearest to what stands for the two of a NaN.
E4M3 = np.nan_to_num(e4m3(np.arange(256)), nan=np.inf)


def float_bits(values, dtype):
    """As a file has them, and what that is worth."""
    if dtype == "F8_E8M0":
        bits = np.clip(np.round(np.log2(np.maximum(np.abs(values), 1e-30))) + 127, 1, 254).astype(np.uint8)
        return bits, (2.0 ** (bits.astype(np.float64) - 127)).astype(np.float32)
    return checkpoints.stored(values, dtype), checkpoints.exact(values, dtype).astype(np.float32)


def spread(grid, rows, cols, by_row, by_col):
    return np.repeat(np.repeat(grid, by_row, 0)[:rows], by_col, 1)[:, :cols]


def groups_of(values, by_row, by_col, of=np.max):
    """Of each group's values the largest, or the smallest: [ceil(rows / by_row), ceil(cols / by_col)]."""
    rows, cols = values.shape
    return np.array([[of(values[r:r + by_row, c:c + by_col]) for c in range(0, cols, by_col)]
                     for r in range(0, rows, by_row)], np.float32)


def words(nibbles, order=range(8)):
    """int32 of eight values along the last axis, the order-th of them in each nibble from the low end on."""
    grouped = nibbles.reshape(*nibbles.shape[:-1], -1, 8).astype(np.uint32)
    packed = np.zeros(grouped.shape[:-1], np.uint32)
    for i, which in enumerate(order):
        packed |= grouped[..., which] << np.uint32(4 * i)
    return packed.view(np.int32)


def padded(values, axis):
    extra = [(0, 0)] * values.ndim
    extra[axis] = (0, -values.shape[axis] % 8)
    return np.pad(values, extra)


# ---- a matrix in each way: tensors {suffix: (dtype, array)}, and float32


def fp8(values, by_row, by_col, scale_dtype="F32", name="weight_scale_inv", squeeze=False):
    rows, cols = values.shape
    by_row, by_col = min(by_row, rows), min(by_col, cols)
    bits, scale = float_bits(groups_of(np.abs(values), by_row, by_col) / 448, scale_dtype)
    each = spread(scale, rows, cols, by_row, by_col)
    codes = nearest(values / each, E4M3).astype(np.uint8)
    return ({"weight": ("F8_E4M3", codes), name: (scale_dtype, bits.reshape(()) if squeeze else bits)},
            E4M3[codes] * each)


def fp8_blocks(values, scale_dtype="F32", block=(128, 128)):
    return fp8(values, *block, scale_dtype)


def in_bytes(made):
    """Exponents in a tensor that does not say so."""
    tensors, worth = made
    return {name: ("U8" if dtype == "F8_E8M0" else dtype, array) for name, (dtype, array) in tensors.items()}, worth


def fp8_tensor(values, name="weight_scale"):
    tensors, worth = fp8(values, *values.shape, name=name, squeeze=True)
    return tensors | {"input_scale": ("F32", np.float32(0.5).reshape(()))}, worth


def fp8_channel(values, scale_dtype="BF16"):
    return fp8(values, 1, values.shape[1], scale_dtype, "weight_scale")


def pairs(codes):
    return (codes[..., 0::2] | codes[..., 1::2] << 4).astype(np.uint8)


def nvfp4(values, packed):
    rows, cols = values.shape
    most = groups_of(np.abs(values), 1, 16)
    factor = np.float32(most.max() / (6 * 448))
    stored = np.float32(1) / factor if packed else factor
    factor = np.float32(1) / stored if packed else factor
    bits = nearest(most / 6 / factor, E4M3[:127]).astype(np.uint8)
    each = spread(E4M3[bits] * factor, rows, cols, 1, 16)
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = nearest(np.nan_to_num(values / each), E2M1)
    names = ("weight_packed", "weight_global_scale") if packed else ("weight", "weight_scale_2")
    shape = (1,) if packed else ()
    return ({names[0]: ("U8", pairs(codes)), "weight_scale": ("F8_E4M3", bits),
             names[1]: ("F32", stored.reshape(shape)),
             "input_global_scale" if packed else "input_scale": ("F32", np.float32(3).reshape(shape))},
            E2M1[codes] * each)


def int4(values, group, dtype, zero_points):
    """Codes, zero points and scales, the last as they are stored too; and what it all is worth."""
    rows, cols = values.shape
    group = cols if group == -1 else group
    high, low = groups_of(values, 1, group), groups_of(values, 1, group, np.min)
    step = (np.maximum(high, 0) - np.minimum(low, 0)) / 15 if zero_points else \
        groups_of(np.abs(values), 1, group) / 7.5
    bits, scale = float_bits(step, dtype)
    zero = np.clip(np.round(-np.minimum(low, 0) / scale), 0, 15) if zero_points else np.full(scale.shape, 8)
    zero = zero.astype(np.uint8)
    each, shift = spread(scale, rows, cols, 1, group), spread(zero, rows, cols, 1, group)
    codes = np.clip(np.round(values / each) + shift, 0, 15).astype(np.uint8)
    return codes, zero, bits, (codes.astype(np.float32) - shift.astype(np.float32)) * each


def compressed_int4(values, group=32, dtype="BF16", zero_points=False):
    codes, zero, scale, worth = int4(values, group, dtype, zero_points)
    tensors = {"weight_packed": ("I32", words(codes)), "weight_scale": (dtype, scale),
               "weight_shape": ("I64", np.array(values.shape, np.int64))}
    if zero_points:
        tensors["weight_zero_point"] = ("I32", np.ascontiguousarray(words(padded(zero, 0).T).T))
    return tensors, worth


def awq(values, group=32):
    codes, zero, scale, worth = int4(values, group, "F16", True)
    return ({"qweight": ("I32", words(codes.T, AWQ_NIBBLES)), "qzeros": ("I32", words(zero.T, AWQ_NIBBLES)),
             "scales": ("F16", np.ascontiguousarray(scale.T))}, worth)


def gptq(values, group=32, version=1, zero_points=True):
    codes, zero, scale, worth = int4(values, group, "F16", zero_points)
    qzeros = words(zero.T)
    if version == 1:
        qzeros = (qzeros.view(np.uint32) - np.uint32(0x11111111)).view(np.int32)
    cols, size = values.shape[1], values.shape[1] if group == -1 else group
    return ({"qweight": ("I32", np.ascontiguousarray(words(codes).T)), "qzeros": ("I32", qzeros),
             "scales": ("F16", np.ascontiguousarray(scale.T)),
             "g_idx": ("I32", (np.arange(cols) // size).astype(np.int32))}, worth)


def mxfp4(values):
    """Blocks [rows, cols / 32, 16] and scales [rows, cols / 32] of one matrix."""
    rows, cols = values.shape
    bits, scale = float_bits(groups_of(np.abs(values), 1, 32) / 6, "F8_E8M0")
    each = spread(scale, rows, cols, 1, 32)
    codes = nearest(values / each, E2M1)
    return {"blocks": ("U8", pairs(codes).reshape(rows, cols // 32, 16)), "scales": ("U8", bits)}, E2M1[codes] * each


# ---- what quantization_config says


def compressed(fmt, **weights):
    return {"quant_method": "compressed-tensors", "format": fmt, "ignore": ["lm_head", "re:.*mlp.gate$"],
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": None}}}


GEMM = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm",
        "modules_to_not_convert": ["gate", "shared_expert_gate"]}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": False,
        "checkpoint_format": "gptq", "dynamic": {}}
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128],
       "modules_to_not_convert": ["lm_head", "model.layers.0.mlp.gate"]}
INT4 = dict(num_bits=4, type="int", symmetric=True, strategy="group", group_size=32, actorder=None)
FLOAT8 = dict(num_bits=8, type="float", symmetric=True)

# Experts apart: how a matrix becomes tensors, what config.json says, and how `ufm info` tells of it.
SINGLE = {
    "fp8 blocks": (fp8_blocks, FP8, "E4M3 (128 × 128, f32)"),
    "fp8 blocks bf16": (lambda v: fp8_blocks(v, "BF16"), FP8, "E4M3 (128 × 128, bf16)"),
    "fp8 blocks e8m0": (lambda v: fp8_blocks(v, "F8_E8M0"), FP8, "E4M3 (128 × 128, E8M0)"),
    "fp8 other blocks": (lambda v: fp8_blocks(v, "F32", (64, 32)), FP8 | {"weight_block_size": [64, 32]},
                         "E4M3 (64 × 32, f32)"),
    "mxfp8": (lambda v: fp8_blocks(v, "F8_E8M0", (1, 32)), FP8 | {"weight_block_size": [1, 32]},
              "E4M3 (1 × 32, E8M0)"),
    "mxfp8 in bytes": (lambda v: in_bytes(fp8_blocks(v, "F8_E8M0", (1, 32))), FP8 | {"weight_block_size": [1, 32]},
                       "E4M3 (1 × 32, E8M0)"),
    "fp8 tensor": (fp8_tensor, {"quant_method": "fp8", "activation_scheme": "static"}, "E4M3 (160 × 192, f32)"),
    "fp8 modelopt": (fp8_tensor, {"quant_method": "modelopt", "quant_algo": "FP8"}, "E4M3 (160 × 192, f32)"),
    "fp8 compressed": (fp8_channel, compressed("float-quantized", **FLOAT8, strategy="channel"),
                       "E4M3 (1 × 192, bf16)"),
    "fp8 compressed blocks": (lambda v: fp8(v, 128, 128, "BF16", "weight_scale"),
                              compressed("float-quantized", **FLOAT8, strategy="block", block_structure=[128, 128]),
                              "E4M3 (128 × 128, bf16)"),
    "int4": (compressed_int4, compressed("pack-quantized", **INT4), "U4 (1 × 32, bf16)"),
    "int4 channel": (lambda v: compressed_int4(v, -1, "F32"),
                     compressed("pack-quantized", **INT4 | {"strategy": "channel", "group_size": None}),
                     "U4 (1 × 192, f32)"),
    "int4 zero points": (lambda v: compressed_int4(v, 32, "F16", True),
                         compressed("pack-quantized", **INT4 | {"symmetric": False}),
                         "U4 (1 × 32, f16, zero points)"),
    "int4 channel zero points": (lambda v: compressed_int4(v, -1, "BF16", True),
                                 compressed("pack-quantized", **INT4 | {"symmetric": False, "strategy": "channel",
                                                                        "group_size": -1}),
                                 "U4 (1 × 192, bf16, zero points)"),
    "awq": (awq, GEMM, "U4 (1 × 32, f16, zero points)"),
    "awq 64": (lambda v: awq(v, 64), GEMM | {"group_size": 64, "version": "GEMM"},
               "U4 (1 × 64, f16, zero points)"),
    "gptq": (gptq, GPTQ, "U4 (1 × 32, f16, zero points)"),
    "gptq v2": (lambda v: gptq(v, 32, 2), GPTQ | {"checkpoint_format": "gptq_v2"}, "U4 (1 × 32, f16, zero points)"),
    "gptq symmetric": (lambda v: gptq(v, -1, 1, False), GPTQ | {"group_size": -1, "sym": True},
                       "U4 (1 × 192, f16, zero points)"),
    "nvfp4 modelopt": (lambda v: nvfp4(v, False), {"quant_method": "modelopt", "quant_algo": "NVFP4"},
                       "E2M1 (1 × 16, E4M3, a factor)"),
    "nvfp4 compressed": (lambda v: nvfp4(v, True),
                         compressed("nvfp4-pack-quantized", num_bits=4, type="float", strategy="tensor_group",
                                    group_size=16), "E2M1 (1 × 16, E4M3, a factor)"),
}
FUSED = {
    "fused fp8 blocks": (fp8_blocks, FP8, "E4M3 (128 × 128, f32)"),
    "fused fp8 channel": (lambda v: fp8(v, 1, v.shape[1]), {"quant_method": "fp8"}, "E4M3 (1 × 192, f32)"),
    "fused fp8 tensor": (lambda v: fp8(v, *v.shape), {"quant_method": "fp8"}, "E4M3 ({d_hidden} × 192, f32)"),
}
MXFP4 = ("mxfp4", {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn",
                                                                     "model.layers.*.mlp.router", "lm_head"]},
         "E2M1 (1 × 32, E8M0)")
NAMES = [*SINGLE, *FUSED, "mxfp4"]


class Quantised:
    """One routed layer: `tensors` {name: (dtype, array)}, `config` and `experts` as float32 arrays by role."""

    def __init__(self, rng, name, number=0, experts=3, d_model=192, d_hidden=None):
        self.name, self.number = name, number
        # Blocks of a fused tensor may not be shared by gate and up.
        self.d_model, self.d_hidden = d_model, d_hidden or (128 if name in FUSED else 160)
        self.tensors, self.experts = {}, []
        self.block = f"model.layers.{number}.mlp"
        for _ in range(experts):
            self.experts.append({"gate": self._random(rng, self.d_hidden, d_model),
                                 "up": self._random(rng, self.d_hidden, d_model),
                                 "down": self._random(rng, d_model, self.d_hidden)})
        self.family = {"model_type": "qwen3_moe", "hidden_act": "silu"}
        build = {"mxfp4": self._mxfp4}.get(name, self._fused if name in FUSED else self._single)
        _, self.quantisation, text = MXFP4 if name == "mxfp4" else (SINGLE | FUSED)[name]
        self.storage = text.format(d_hidden=self.d_hidden)
        build(rng)
        self.config = self.family | {"quantization_config": copy.deepcopy(self.quantisation)}

    @staticmethod
    def _random(rng, rows, cols):
        return (rng.standard_normal((rows, cols)) / cols ** 0.5).astype(np.float32)

    def _single(self, _):
        for e, parts in enumerate(self.experts):
            for role in parts:
                tensors, parts[role] = SINGLE[self.name][0](parts[role])
                self.tensors |= {f"{self.block}.experts.{e}.{role}_proj.{k}": v for k, v in tensors.items()}

    def _fused(self, _):
        made = []
        for parts in self.experts:
            of = {}
            for role in parts:
                of[role], parts[role] = FUSED[self.name][0](parts[role])
            made.append(of)
        for role, roles in (("gate_up_proj", ("gate", "up")), ("down_proj", ("down",))):
            for key, suffix in (("weight", ""), ("weight_scale_inv", "_scale_inv")):
                each = [np.concatenate([of[r][key][1] for r in roles]) for of in made]
                self.tensors[f"{self.block}.experts.{role}{suffix}"] = (made[0]["down"][key][0], np.stack(each))

    def _mxfp4(self, rng):
        """Gate in the even rows, up in the odd ones."""
        self.family = {"model_type": "gpt_oss", "hidden_act": "silu", "swiglu_limit": 7.0}
        made = {"gate_up_proj": [], "down_proj": []}
        for parts in self.experts:
            for role in ("gate", "up", "down"):
                bias = checkpoints.exact(rng.standard_normal(len(parts[role])), "BF16").astype(np.float32)
                parts[role + "_bias"] = bias
            both = np.stack([parts["gate"], parts["up"]], 1).reshape(-1, self.d_model)
            biases = np.stack([parts["gate_bias"], parts["up_bias"]], 1).reshape(-1)
            tensors, worth = mxfp4(both)
            parts["gate"], parts["up"] = worth[0::2], worth[1::2]
            made["gate_up_proj"].append(tensors | {"bias": ("BF16", checkpoints.stored(biases, "BF16"))})
            tensors, parts["down"] = mxfp4(parts["down"])
            made["down_proj"].append(tensors | {"bias": ("BF16", checkpoints.stored(parts["down_bias"], "BF16"))})
        for role, each in made.items():
            for key in each[0]:
                self.tensors[f"{self.block}.experts.{role}_{key}"] = (
                    each[0][key][0], np.stack([tensors[key][1] for tensors in each]))

    def write(self, folder, config=None):
        os.makedirs(folder, exist_ok=True)
        write(os.path.join(folder, "model.safetensors"), self.tensors)
        checkpoints.write_config(folder, **(self.config if config is None else config))
        return folder


def write(path, tensors):
    """One file of {name: (dtype, array of that type, or of its bits)}."""
    safetensors = pytest.importorskip("safetensors", reason="not installed: safetensors in ./.venv")
    arrays = {name: np.ascontiguousarray(array) for name, (_, array) in tensors.items()}
    specs = {name: safetensors.TensorSpec(dtype=TYPES[tensors[name][0]], shape=list(np.shape(tensors[name][1])),
                                          data_ptr=array.ctypes.data, data_len=array.nbytes)
             for name, array in arrays.items()}
    safetensors.serialize_file(specs, str(path), {"format": "pt"})
