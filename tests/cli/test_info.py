# SPDX-License-Identifier: MIT
"""ufm info: checkpoints as others write them, packed banks, and malformed files."""
import ctypes
import glob
import json
import os
import re
import secrets
import struct

import numpy as np
import pytest
from conftest import unwrapped
from support import checkpoints, quantised
from support.library import load

SOURCE = os.environ.get("UFM_SOURCE_DIR", ".")
QWEN = dict(model_type="qwen3_moe", hidden_act="silu", num_experts_per_tok=2, norm_topk_prob=True)


def facts(ufm, path, *arguments):
    ended = ufm("info", path, "-o", "json", *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(ended.stdout)


def make(folder, scheme="gated", dtype="F32", numbers=(0, 1, 2), experts=4, d_model=6, d_hidden=5,
         shards=1, router=True):
    random = np.random.default_rng(secrets.randbits(32))
    tensors = {"model.embed.weight": random.standard_normal((7, 3))}
    for number in numbers:
        prefix = f"model.layers.{number}.mlp"
        tensors |= checkpoints.layer(random, scheme, prefix, experts, d_model, d_hidden)[0]
        if router:
            tensors[f"{prefix}.gate.weight"] = random.standard_normal((experts, d_model))
    if shards == 1:
        checkpoints.write(folder / "model.safetensors", tensors, dtype)
    else:
        checkpoints.write_shards(folder, tensors, dtype, shards)
    return tensors


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("scheme, kind, layout, matrices, biases", [
    ("gated", "gated", "single", 3, False), ("letters", "gated", "single", 3, False),
    ("fused", "gated", "fused", 3, False), ("plain", "mlp", "single", 2, False),
    ("biases", "mlp-bias", "single", 2, True)])
def test_schemes(ufm, tmp_path, scheme, kind, layout, matrices, biases, shards):
    tensors = make(tmp_path, scheme, "BF16", shards=shards)
    checkpoints.write_config(tmp_path, **QWEN)
    found = facts(ufm, tmp_path)
    assert found["format"] == "safetensors"
    assert len(found["files"]) == shards
    assert sum(f["bytes"] for f in found["files"]) == sum(
        os.path.getsize(p) for p in tmp_path.glob("*.safetensors"))
    assert found["tensors"] == len(tensors)
    assert (found["layers"], found["layer_numbers"], found["experts"]) == (3, [0, 1, 2], 4)
    assert (found["kind"], found["layout"]) == (kind, layout)
    assert (found["d_model"], found["d_hidden"]) == (6, 5)
    assert (found["file_dtype"], found["dtype"], found["activation"]) == ("BF16", "bf16", "silu")
    assert found["expert_bytes"] >= 2 * (matrices * 30 + 11 * biases)
    assert found["layer_bytes"] == 4 * found["expert_bytes"]
    assert found["bank_bytes"] == 3 * found["layer_bytes"]
    assert found["router"] == {"layers": 3, "top_k": 2, "scoring": "softmax", "norm_topk": True,
                               "obstacle": None}
    assert found["obstacle"] is None


@pytest.mark.parametrize("f16_as, dtype, each", [(None, "f32", 4), ("f32", "f32", 4),
                                                 ("bf16", "bf16", 2), ("f16", "f16", 2)])
def test_halves_become_what_is_asked(ufm, tmp_path, f16_as, dtype, each):
    make(tmp_path, "plain", "F16", d_model=16, d_hidden=16)
    checkpoints.write_config(tmp_path, hidden_act="gelu")
    found = facts(ufm, tmp_path, *(["--f16-as", f16_as] if f16_as else []))
    assert (found["file_dtype"], found["dtype"]) == ("F16", dtype)
    assert found["expert_bytes"] == 2 * 256 * each


def test_table_for_people(ufm, tmp_path):
    make(tmp_path, numbers=(1, 2, 3, 5, 8, 9))
    checkpoints.write_config(tmp_path, **QWEN)
    ended = ufm("info", tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = dict(line.strip("| ").split("|", 1) for line in ended.stdout.splitlines()
                if line.startswith("| "))
    rows = {name.strip(): value.strip() for name, value in rows.items()}
    assert rows["routed layers"] == "6: 1 … 3, 5, 8 … 9"
    assert rows["experts a layer"] == "4"
    assert rows["router"] == "in every layer"
    assert rows["top k normalised"] == "yes"
    assert "cannot be run" not in ended.stdout


def test_what_is_not_said_is_null(ufm, tmp_path):
    make(tmp_path, router=False)
    found = facts(ufm, tmp_path)
    assert found["router"] == {"layers": 0, "top_k": None, "scoring": None, "norm_topk": None,
                               "obstacle": None}
    assert found["model_type"] is None and found["activation"] is None
    assert "no hidden_act in a config.json" in found["obstacle"]


@pytest.mark.parametrize("fields, where, line", [
    (dict(hidden_act="relu2"), "experts", 'hidden_act is "relu2", expected silu or gelu'),
    (dict(hidden_act="silu", swiglu_limit=7.0), "experts", "swiglu_limit is set"),
    (dict(hidden_act="silu", n_group=8), "router", "n_group is 8, expected 1"),
    (dict(hidden_act="silu", scoring_func="relu"), "router", 'scoring_func is "relu"'),
    (dict(hidden_act="silu", routed_scaling_factor=2.5), "router", "routed_scaling_factor is 2.5"),
])
def test_obstacles_of_the_config(ufm, tmp_path, fields, where, line):
    make(tmp_path)
    checkpoints.write_config(tmp_path, **fields)
    found = facts(ufm, tmp_path)
    assert found["layers"] == 3
    obstacles = {"experts": found["obstacle"], "router": found["router"]["obstacle"]}
    assert line in obstacles.pop(where)
    assert list(obstacles.values()) == [None]
    assert line in unwrapped(ufm("info", tmp_path).stdout)


@pytest.mark.parametrize("name, shape, line", [
    ("model.layers.1.mlp.experts.gate_up_proj_bias", (1,), "fused experts with biases"),
    ("model.layers.1.mlp.experts.4.up_proj.weight", (5, 6), "layer 1 expert 4: its gate matrix is"),
])
def test_obstacles_of_the_names(ufm, tmp_path, name, shape, line):
    tensors = make(tmp_path)
    checkpoints.write(tmp_path / "model.safetensors", tensors | {name: np.zeros(shape)})
    checkpoints.write_config(tmp_path, **QWEN)
    assert line in facts(ufm, tmp_path)["obstacle"]


QUANTISED = {
    "up_proj.weight_packed": "compressed-tensors", "up_proj.weight_shape": "compressed-tensors",
    "up_proj.weight_scale_inv": "FP8 in blocks", "up_proj.weight_scale": "FP8, NVFP4 or compressed-tensors",
    "up_proj.input_scale": "FP8 or NVFP4", "up_proj.qweight": "GPTQ or AWQ", "up_proj.qzeros": "GPTQ or AWQ",
    "up_proj.g_idx": "GPTQ", "up_proj.scales": "with scales", "up_proj.weight.absmax": "bitsandbytes",
    "up_proj.W_q": "HQQ", "up_proj.codebooks": "AQLM"}


@pytest.mark.parametrize("tail", QUANTISED)
def test_quantised_experts_are_named(ufm, tmp_path, tail):
    name = f"model.layers.1.mlp.experts.0.{tail}"
    checkpoints.write(tmp_path / "model.safetensors", make(tmp_path) | {name: np.zeros(1)})
    checkpoints.write_config(tmp_path, **QWEN)
    assert (f'tensor "{name}": quantised experts are not understood ({QUANTISED[tail]}), '
            "expected F32, BF16 or F16 weights") in facts(ufm, tmp_path)["obstacle"]


@pytest.mark.parametrize("tail", ["gate_up_proj_blocks", "down_proj_scales"])
def test_quantised_fused_experts_are_named(ufm, tmp_path, tail):
    name = f"model.layers.1.mlp.experts.{tail}"
    checkpoints.write(tmp_path / "model.safetensors", {name: np.zeros((2, 3, 1, 16))})
    assert f'"{name}": quantised experts are not understood (MXFP4)' in facts(ufm, tmp_path)["obstacle"]


@pytest.mark.parametrize("name", quantised.NAMES)
def test_quantised_experts_that_are_read(ufm, tmp_path, name):
    random = np.random.default_rng(secrets.randbits(32))
    layer = quantised.Quantised(random, name, number=7)
    found = facts(ufm, layer.write(tmp_path))
    assert (found["obstacle"], found["dtype"], found["layer_numbers"]) == (None, layer.storage, [7])
    assert found["quantised"] == {"fp8": "FP8", "mxfp8": "FP8", "fused": "FP8", "int4": "INT4"}.get(
        name.split()[0], name.split()[0].upper())
    assert found["kind"] == ("gated-bias" if name == "mxfp4" else "gated")
    assert found["layout"] == ("single" if name in quantised.SINGLE else "fused")
    bits = sum(array.nbytes for key, (_, array) in layer.tensors.items()
               if not key.endswith(("g_idx", "weight_shape", "input_scale", "input_global_scale")))
    # Zero points take a byte each, and parts begin at multiples of 64.
    assert bits <= found["layer_bytes"] <= bits * 1.1 + 9 * 64 * 3
    text = ufm("info", tmp_path).stdout
    assert re.search(rf"quantised as +\| {found['quantised']} ", text) and layer.storage in text


def test_quantised_experts_that_config_does_not_know(ufm, tmp_path):
    layer = quantised.Quantised(np.random.default_rng(1), "awq")
    obstacle = facts(ufm, layer.write(tmp_path, QWEN))["obstacle"]
    assert "quantised experts, expected a config.json beside them whose quantization_config has" in obstacle


@pytest.mark.parametrize("name, whose", [
    ("block_sparse_moe.input_linear.weight", "Granite"), ("mlp.switch_mlp.up_proj.weight", "MLX"),
    ("mlp.switch_mlp.down_proj.scales", "MLX"), ("mlp.output_linear.weight", "JetMoE"),
    ("moe.gate_proj.weight", "Step-3")])
def test_layouts_that_are_not_read_are_named(ufm, tmp_path, name, whose):
    checkpoints.write(tmp_path / "model.safetensors",
                      {f"model.layers.{n}.{name}": np.zeros((2, 3, 4)) for n in (1, 2)})
    found = facts(ufm, tmp_path)
    assert f'tensor "model.layers.1.{name}": experts fused as {whose} does are not understood' in found["obstacle"]
    assert (found["prefix"], found["layer_numbers"], found["experts"]) == ("model.layers", [1, 2], None)


def test_names_that_are_nearly_those_of_layouts(ufm, tmp_path):
    names = ("shared_mlp.input_linear", "shared_moe.gate_proj", "no_switch_mlp.up_proj")
    checkpoints.write(tmp_path / "model.safetensors",
                      {f"model.layers.1.{name}.weight": np.zeros((3, 4)) for name in names})
    assert "holds no routed experts" in facts(ufm, tmp_path)["obstacle"]


# ---- several stacks of layers in one checkpoint

def add_tower(folder, tensors, base, numbers, scheme="gated", **sizes):
    random = np.random.default_rng(7)
    sizes = dict(experts=4, d_model=6, d_hidden=5) | sizes
    for number in numbers:
        tensors |= checkpoints.layer(random, scheme, f"{base}.{number}.mlp", **sizes)[0]
        tensors |= {f"{base}.{number}.mlp.gate.weight": np.zeros((sizes["experts"], sizes["d_model"]))}
    checkpoints.write(folder / "model.safetensors", tensors)
    return tensors


@pytest.mark.parametrize("main, beside", [("gated", "gated"), ("fused", "gated"), ("gated", "fused")])
def test_a_tower_of_one_layer_is_left_aside(ufm, tmp_path, main, beside):
    """As Qwen3-Next and Qwen3.5 are published: mtp.layers.0 beside model.layers.0."""
    add_tower(tmp_path, make(tmp_path, main), "mtp.layers", [0], beside, d_hidden=3)
    checkpoints.write_config(tmp_path, **QWEN)
    found = facts(ufm, tmp_path)
    assert (found["prefix"], found["layer_numbers"], found["d_hidden"]) == ("model.layers", [0, 1, 2], 5)
    assert found["left_aside"] == [{"prefix": "mtp.layers", "layers": 1, "layer_numbers": [0]}]
    assert found["obstacle"] is None and found["router"]["layers"] == 3
    found = facts(ufm, tmp_path, "--prefix", "mtp")
    assert (found["prefix"], found["layer_numbers"], found["d_hidden"]) == ("mtp.layers", [0], 3)
    assert found["left_aside"] == [{"prefix": "model.layers", "layers": 3, "layer_numbers": [0, 1, 2]}]
    assert found["obstacle"] is None and found["router"]["layers"] == 1
    text = ufm("info", tmp_path).stdout
    assert "| prefix             | model.layers |\n| routed layers      | 3: 0 … 2 |\n" in text
    assert "| left aside         | 1: 0 (--prefix mtp.layers) |" in text


def test_two_towers_that_are_alike(ufm, tmp_path):
    """As Qwen3-Omni is published: one that thinks and one that talks, each with its part of config.json."""
    tensors = add_tower(tmp_path, {}, "talker.model.layers", [0, 1], d_hidden=3)
    add_tower(tmp_path, tensors, "thinker.model.layers", [0, 1])
    part = dict(num_experts=4, num_hidden_layers=2, hidden_size=6, moe_intermediate_size=5, hidden_act="silu",
                norm_topk_prob=True, num_experts_per_tok=2, model_type="qwen3_moe")
    checkpoints.write_config(
        tmp_path, thinker_config=dict(text_config=part),
        talker_config=dict(text_config=part | dict(num_experts_per_tok=3, moe_intermediate_size=3)))
    found = facts(ufm, tmp_path)
    assert (found["prefix"], found["d_hidden"]) == ("thinker.model.layers", 5)
    assert (found["router"]["top_k"], found["obstacle"]) == (2, None)
    found = facts(ufm, tmp_path, "--prefix", "talker")
    assert (found["prefix"], found["d_hidden"]) == ("talker.model.layers", 3)
    assert (found["router"]["top_k"], found["obstacle"]) == (3, None)


def test_layers_past_the_last(ufm, tmp_path):
    """As DeepSeek-V3 is published: the layer that predicts another token is model.layers.61 of 61."""
    make(tmp_path, numbers=(1, 2, 3))
    checkpoints.write_config(tmp_path, **QWEN | dict(num_hidden_layers=3))
    found = facts(ufm, tmp_path)
    assert (found["layers"], found["layer_numbers"]) == (2, [1, 2])
    assert found["left_aside"] == [{"prefix": "model.layers.3", "layers": 1, "layer_numbers": [3]}]
    assert found["bank_bytes"] == 2 * found["layer_bytes"]
    assert facts(ufm, tmp_path, "--prefix", "model.layers.3")["layer_numbers"] == [3]


def test_wrong_prefixes(ufm, tmp_path):
    make(tmp_path)
    ended = ufm("info", tmp_path, "--prefix", "mtp")
    assert (ended.returncode, ended.stdout) == (4, "") and ended.stderr.count("\n") == 1
    assert 'holds no routed layers under "mtp", expected one of model.layers' in ended.stderr
    for arguments in (["--preset", "deepseek-v3"], [os.path.join(SOURCE, "README.md")]):
        ended = ufm("info", *arguments, "--prefix", "mtp")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "--prefix: found with" in ended.stderr and "expected a checkpoint" in ended.stderr


def test_a_geometry_that_is_not_that_of_the_config(ufm, tmp_path):
    make(tmp_path)
    checkpoints.write_config(tmp_path, **QWEN | dict(num_hidden_layers=3, num_experts=4, hidden_size=6,
                                                     moe_intermediate_size=7))
    assert "config.json: says d_hidden 7, the weights have 5" in facts(ufm, tmp_path)["obstacle"]


def test_router_with_a_bias(ufm, tmp_path):
    tensors = make(tmp_path)
    bias = {"model.layers.2.mlp.gate.e_score_correction_bias": np.zeros(4)}
    checkpoints.write(tmp_path / "model.safetensors", tensors | bias)
    checkpoints.write_config(tmp_path, **QWEN)
    found = facts(ufm, tmp_path)
    assert found["obstacle"] is None
    assert "e_score_correction_bias" in found["router"]["obstacle"]


def test_quantised_geometry_is_still_told(ufm, tmp_path):
    names = {f"experts.0.{m}_proj.weight": {"dtype": "F8_E4M3", "shape": [2, 2],
                                            "data_offsets": [4 * i, 4 * i + 4]}
             for i, m in enumerate(("up", "down"))}
    (tmp_path / "model.safetensors").write_bytes(checkpoints.raw(names, 8))
    found = facts(ufm, tmp_path)
    assert (found["layers"], found["experts"], found["file_dtype"]) == (1, 1, "F8_E4M3")
    assert "dtype F8_E4M3, expected F32, BF16 or F16" in found["obstacle"]


def test_no_experts(ufm, tmp_path):
    checkpoints.write(tmp_path / "model.safetensors", {"a": np.zeros((2, 2))})
    found = facts(ufm, tmp_path)
    assert found["layers"] is None and found["tensors"] == 1
    assert "holds no routed experts" in found["obstacle"]


def test_packed_bank(ufm, tmp_path):
    """A checkpoint saved as a packed bank is the same bank."""
    library, bank = load(), ctypes.c_void_p()
    make(tmp_path, "biases")
    checkpoints.write_config(tmp_path, hidden_act="gelu")
    assert library.ufm_bank_open(os.fsencode(tmp_path), ctypes.byref(bank)) == 0
    packed = tmp_path / "bank.ufm"
    assert library.ufm_bank_save(bank, os.fsencode(packed)) == 0
    library.ufm_bank_close(bank)
    found, source = facts(ufm, packed), facts(ufm, tmp_path)
    assert found["format"] == "packed"
    assert found["files"] == [{"path": str(packed), "bytes": packed.stat().st_size}]
    for name in ("layers", "experts", "kind", "d_model", "d_hidden", "file_dtype", "dtype",
                 "activation", "expert_bytes", "layer_bytes", "bank_bytes", "host_bytes"):
        assert found[name] == source[name] is not None
    assert found["router"] is None and found["obstacle"] is None


@pytest.mark.parametrize("name", ["awq", "int4", "fp8 blocks"])
def test_a_packed_bank_of_quantised_experts(ufm, tmp_path, name):
    """Its kind is that of its matrices, whatever scales them."""
    library, bank = load(), ctypes.c_void_p()
    layer = quantised.Quantised(np.random.default_rng(2), name)
    folder, packed = layer.write(tmp_path / "model"), tmp_path / "bank.ufm"
    assert library.ufm_bank_open(os.fsencode(folder), ctypes.byref(bank)) == 0
    assert library.ufm_bank_save(bank, os.fsencode(packed)) == 0
    library.ufm_bank_close(bank)
    found = facts(ufm, packed)
    assert (found["kind"], found["dtype"]) == ("gated", layer.storage)


def header_checksum(header):
    h, mask = 0x9E3779B97F4A7C15, (1 << 64) - 1
    for word in (*struct.unpack("<511Q", header[:4088]), 0, 4088):
        h = (h ^ word) * 0xD6E8FEB86659FD93 & mask
        h ^= h >> 32
    return struct.pack("<Q", h)


@pytest.mark.parametrize("code, name", [(1, "gelu"), (2, "silu"), (3, "gelu-tanh"), (4, "relu2")])
def test_packed_activation(ufm, tmp_path, code, name):
    library, bank, packed = load(), ctypes.c_void_p(), tmp_path / "bank.ufm"
    make(tmp_path, "biases")
    checkpoints.write_config(tmp_path, hidden_act="gelu")
    assert library.ufm_bank_open(os.fsencode(tmp_path), ctypes.byref(bank)) == 0
    assert library.ufm_bank_save(bank, os.fsencode(packed)) == 0
    library.ufm_bank_close(bank)
    content = bytearray(packed.read_bytes())
    assert content[4088:4096] == header_checksum(bytes(content))
    content[32:36] = struct.pack("<I", code)
    content[4088:4096] = header_checksum(bytes(content))
    packed.write_bytes(content)
    assert facts(ufm, packed)["activation"] == name


def test_names_that_are_no_utf8(ufm, tmp_path):
    folder = os.path.join(os.fsencode(tmp_path), b"\xff")
    os.mkdir(folder)
    checkpoints.write(os.fsdecode(folder) + "/model.safetensors", {"a": np.zeros(1)})
    found = facts(ufm, os.fsdecode(folder))
    assert found["path"].endswith("/?") and found["files"][0]["path"].endswith("/?/model.safetensors")


# ---- malformed files: exit 4 and one line

FOUR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def tensor(**changes):
    return {"a": {**FOUR, **changes}}


MALFORMED = {
    "shorter than a length": (b"\x02\0\0", "holds 3 bytes, expected a header length of 8"),
    "length past the end": (struct.pack("<Q", 100) + b"{}", "only 2 bytes follow it in the file"),
    "length that overflows": (struct.pack("<Q", 2 ** 64 - 1) + b"{}", "expected at most 100000000"),
    "length above 100 MB": (struct.pack("<Q", 100_000_001) + b"{}", "expected at most 100000000"),
    "no JSON": (checkpoints.raw("dtype"), "does not begin with '{'"),
    "no object": (checkpoints.raw("[]"), "does not begin with '{'"),
    "cut JSON": (checkpoints.raw('{"a":{'), "the text ends"),
    "no UTF-8": (checkpoints.raw(b'{"\xc3(":0}'), "expected UTF-8"),
    "tensor twice": (checkpoints.raw(
        '{"a":%s,"\\u0061":%s}' % ((json.dumps(FOUR),) * 2), 4), "stands twice in one object"),
    "nested": (checkpoints.raw('{"a":{"shape":' + "[" * 1000), "expected a whole number"),
    "unknown dtype": (checkpoints.raw(tensor(dtype="F33"), 4), 'dtype is "F33"'),
    "shape against extent": (checkpoints.raw(tensor(shape=[2]), 4), "hold 4 bytes, expected 8"),
    "shape that overflows": (checkpoints.raw(tensor(shape=[2 ** 63, 2 ** 63]), 4), "overflows"),
    "extent outside": (checkpoints.raw(tensor(), 3), "ends at byte 4 of a payload of 3"),
    "extents overlap": (checkpoints.raw({**tensor(), "b": FOUR}, 4), "overlap"),
    "hole": (checkpoints.raw({**tensor(), "b": {**FOUR, "data_offsets": [5, 9]}}, 9),
             "a hole of 1 bytes"),
    "bytes after the last tensor": (checkpoints.raw(tensor(), 5), "belong to none"),
}


def refused(ufm, path, line):
    ended = ufm("info", path)
    assert (ended.returncode, ended.stdout) == (4, "")
    assert ended.stderr.count("\n") == 1 and ended.stderr.startswith("ufm info: error: ")
    assert line in ended.stderr
    return ended.stderr


@pytest.mark.parametrize("rule", MALFORMED)
def test_malformed_files(ufm, tmp_path, rule):
    content, line = MALFORMED[rule]
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert "x.safetensors: " in refused(ufm, path, line)


@pytest.mark.parametrize("index, line", [
    ('{"weight_map":{"a":"../a.safetensors"}}', "is not a plain file name"),
    ('{"weight_map":{"a":"/a.safetensors"}}', "is not a plain file name"),
    ('{"weight_map":{"a":"none.safetensors"}}', "none.safetensors: cannot be opened"),
    ('{"weight_map":{"a":"a.safetensors","b":"a.safetensors"}}', "is in the index, but not in"),
    ('{"weight_map":{}}', None),
    ('{"weight_map":{"a":"a.safetensors","a":"a.safetensors"}}', "stands twice"),
    ('{"metadata":{}}', "weight_map is missing"),
])
def test_malformed_indices(ufm, tmp_path, index, line):
    checkpoints.write(tmp_path / "a.safetensors", {"a": np.zeros(2)})
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(index)
    if line:
        refused(ufm, tmp_path, line)
    else:
        assert facts(ufm, path)["tensors"] == 0


def test_malformed_config(ufm, tmp_path):
    make(tmp_path)
    (tmp_path / "config.json").write_text('{"hidden_act": "silu",}')
    refused(ufm, tmp_path, "config.json: byte 22")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json"])
@pytest.mark.parametrize("command", [["info"], ["plan", "--link-gbps", "50", "--hbm-gbps", "900", "--model"],
                                     ["forward", "--layer", "0", "--input", "x.npy", "--output", "y.npy",
                                      "--weights"]], ids=lambda words: words[0])
def test_a_pipe_is_not_waited_for(ufm, tmp_path, command, name):
    if name == "config.json":
        make(tmp_path)
    os.mkfifo(tmp_path / name)
    np.save(ufm.folder / "x.npy", np.zeros((1, 6), np.float32))
    for path in (tmp_path, tmp_path / name):
        ended = ufm(*command, path)
        assert (ended.returncode, ended.stdout) == (4, "")
        assert f"{name}: is not a regular file" in ended.stderr
        assert ended.stderr.count("error: ") == 1  # beside a warning, where a plugin is refused


def test_every_input_of_the_corpus_ends_cleanly(ufm, tmp_path):
    files = sorted(glob.glob(os.path.join(SOURCE, "tests", "fuzz", "corpus", "safetensors", "*")))
    assert files
    for source in files:
        path = tmp_path / "x.safetensors"
        path.write_bytes(open(source, "rb").read())
        ended = ufm("info", path, "-o", "json")
        assert ended.returncode in (0, 4), source
        assert ended.stderr.count("\n") == (1 if ended.returncode else 0), source


@pytest.mark.parametrize("arguments, code, line", [
    ([], 2, "found no path, expected FILE|DIR"),
    (["a", "b"], 2, "found 'b' after 'a'"),
    (["none"], 4, "none: cannot be opened"),
    (["."], 4, "holds 0 .safetensors files"),
    (["text"], 4, "not a packed bank"),
])
def test_wrong_paths(ufm, tmp_path, arguments, code, line):
    (tmp_path / "text").write_text("x" * 5000)
    ended = ufm("info", *arguments)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.count("\n") == 1 and line in ended.stderr


# ---- presets: layers, first routed layer, experts, top-k, d_model, d_hidden, scoring, norm

PRESETS = {
    "mixtral-8x7b": (32, 0, 8, 2, 4096, 14336, "softmax", True),
    "qwen3-30b-a3b": (48, 0, 128, 8, 2048, 768, "softmax", True),
    "gpt-oss-20b": (24, 0, 32, 4, 2880, 2880, "softmax", True),
    "deepseek-v2-lite": (26, 1, 64, 6, 2048, 1408, "softmax", False),
    "deepseek-v3": (58, 3, 256, 8, 7168, 2048, "sigmoid", True),
    "olmoe-1b-7b": (16, 0, 64, 8, 2048, 1024, "softmax", False),
    "glm-4.5-air": (45, 1, 128, 8, 4096, 1408, "sigmoid", True),
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets(ufm, name):
    layers, first, experts, top_k, d_model, d_hidden, scoring, norm = PRESETS[name]
    found = json.loads(ufm("info", "--preset", name, "-o", "json").stdout)
    assert (found["path"], found["format"], found["preset"]) == (None, "preset", name)
    assert found["layer_numbers"] == list(range(first, first + layers))
    assert (found["layers"], found["experts"]) == (layers, experts)
    assert (found["d_model"], found["d_hidden"]) == (d_model, d_hidden)
    assert (found["kind"], found["dtype"], found["activation"]) == ("gated", "bf16", "silu")
    assert found["router"] == {"layers": layers, "top_k": top_k, "scoring": scoring,
                               "norm_topk": norm, "obstacle": None}
    expert = 3 * d_model * d_hidden * 2
    assert found["expert_bytes"] == expert
    assert found["bank_bytes"] == layers * experts * expert
    assert name.split("-")[0] in found["source"].lower()
    text = ufm("info", "--preset", name).stdout
    assert text.startswith("| preset ") and f"({layers * experts * expert} bytes)" in text


@pytest.mark.parametrize("command", ["info", "bench"])
def test_every_preset_is_listed(ufm, command):
    refused = ufm(command, "--preset", "x").stderr
    assert refused.strip().split("expected one of ")[1].split(", ") == ["none", *PRESETS]


@pytest.mark.parametrize("arguments, line", [
    (["--preset", "mixtral"], "--preset: found 'mixtral'"),
    (["--preset", "none"], "expected FILE|DIR or --preset"),
    (["--preset", "deepseek-v3", "model"], "found 'model' beside --preset deepseek-v3"),
])
def test_wrong_presets(ufm, arguments, line):
    ended = ufm("info", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1 and line in ended.stderr
