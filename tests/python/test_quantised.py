# SPDX-License-Identifier: MIT
"""Experts of checkpoints that are published quantised: every weight bit for bit, also as Transformers has it."""

import numpy as np
import pytest
from support import checkpoints, quantised

from ufm import errors
from ufm.core import Bank, Dtype, Format, Role

torch = pytest.importorskip("torch", reason="not installed: torch")

ROLES = {"gate": Role.GATE, "up": Role.UP, "down": Role.DOWN}
BIASES = {"gate_bias": Role.GATE_BIAS, "up_bias": Role.UP_BIAS, "down_bias": Role.DOWN_BIAS}


def expanded(bank, expert, role):
    desc = bank.info.desc
    part = desc.parts[desc.index(role)]
    values = np.array(desc.expand(bank.read(0, expert), role), np.float32)
    return values if part.cols == 1 else values.reshape(part.rows, part.cols)


def assert_same_bits(found, expected, what):
    assert found.shape == expected.shape, what
    assert np.array_equal(found.view(np.uint32), np.ascontiguousarray(expected).view(np.uint32)), what


@pytest.mark.parametrize("name", quantised.NAMES)
def test_every_weight(tmp_path, rng, name):
    layer = quantised.Quantised(rng, name)
    with Bank.checkpoint(layer.write(tmp_path)) as bank:
        info = bank.info
        assert (info.layers, info.experts, info.desc.d_model, info.desc.d_hidden) == (1, 3, 192, layer.d_hidden)
        for e, parts in enumerate(layer.experts):
            for role, values in parts.items():
                assert_same_bits(expanded(bank, e, (ROLES | BIASES)[role]), values, (e, role))


@pytest.mark.parametrize("name", ["awq", "gptq", "int4 zero points", "fp8 blocks", "nvfp4 modelopt"])
def test_large_matrices(tmp_path, rng, name):
    """Of more than one band, and of more words a row than a run has."""
    layer = quantised.Quantised(rng, name, experts=1, d_model=2048, d_hidden=1056)
    with Bank.checkpoint(layer.write(tmp_path)) as bank:
        for role, values in layer.experts[0].items():
            assert_same_bits(expanded(bank, 0, ROLES[role]), values, role)


@pytest.mark.parametrize("version", [1, 2])
def test_zero_points_of_gptq_that_borrow(tmp_path, rng, version):
    """A zero point of 0 is stored as 15 and a borrow from the next: one added to every nibble alone would read 16."""
    tensors, expected = {}, {}
    for role in ROLES:
        shape = (64, 96) if role == "down" else (96, 64)
        values = np.abs(rng.standard_normal(shape)).astype(np.float32)
        made, expected[role] = quantised.gptq(values, 32, version)
        assert (made["qzeros"][1] == (-0x11111111 if version == 1 else 0)).all()
        tensors |= {f"experts.0.{role}_proj.{name}": tensor for name, tensor in made.items()}
    quantised.write(tmp_path / "model.safetensors", tensors)
    said = quantised.GPTQ | {"checkpoint_format": "gptq" if version == 1 else "gptq_v2"}
    checkpoints.write_config(tmp_path, hidden_act="silu", quantization_config=said)
    with Bank.checkpoint(tmp_path) as bank:
        for role, values in expected.items():
            assert_same_bits(expanded(bank, 0, ROLES[role]), values, role)


def test_experts_of_two_matrices(tmp_path, rng):
    tensors, expected = {}, {}
    for role, shape in (("up", (96, 64)), ("down", (64, 96))):
        made, expected[role] = quantised.fp8_blocks(rng.standard_normal(shape).astype(np.float32))
        tensors |= {f"experts.0.{role}_proj.{name}": tensor for name, tensor in made.items()}
    quantised.write(tmp_path / "model.safetensors", tensors)
    checkpoints.write_config(tmp_path, hidden_act="gelu", quantization_config={"quant_method": "fp8"})
    with Bank.checkpoint(tmp_path) as bank:
        assert [part.role for part in bank.info.desc.parts] == [Role.UP, Role.UP_SCALE, Role.DOWN, Role.DOWN_SCALE]
        for role, values in expected.items():
            assert_same_bits(expanded(bank, 0, ROLES[role]), values, role)


@pytest.mark.parametrize("halves", ["a scale each", "blocks each", "a scale for both"])
def test_fused_scales_of_gate_and_up(tmp_path, rng, halves):
    """Transformers keeps a scale for gate and one for up also where one block would hold both."""
    experts, d_model, d_hidden = 2, 128, 48
    codes = rng.integers(0, 120, (experts, 2 * d_hidden, d_model), dtype=np.uint8)
    down = rng.integers(0, 120, (experts, d_model, d_hidden), dtype=np.uint8)
    rows = 1 if halves == "a scale for both" else 2
    scale = rng.random((experts, rows, 1)).astype(np.float32)
    one = np.ones((experts, 1, 1), np.float32)
    quantised.write(
        tmp_path / "model.safetensors",
        {
            "experts.gate_up_proj": ("F8_E4M3", codes),
            "experts.gate_up_proj_scale_inv": ("F32", scale),
            "experts.down_proj": ("F8_E4M3", down),
            "experts.down_proj_scale_inv": ("F32", one),
        },
    )
    said = {"quant_method": "fp8"} | ({"weight_block_size": [128, 128]} if halves == "blocks each" else {})
    checkpoints.write_config(tmp_path, hidden_act="silu", quantization_config=said)
    with Bank.checkpoint(tmp_path) as bank:
        for e in range(experts):
            worth = quantised.E4M3[codes[e]]
            assert_same_bits(expanded(bank, e, Role.GATE), worth[:d_hidden] * scale[e, 0], e)
            assert_same_bits(expanded(bank, e, Role.UP), worth[d_hidden:] * scale[e, -1], e)


def test_parameters_of_gpt_oss(tmp_path, rng):
    layer = quantised.Quantised(rng, "mxfp4")
    with Bank.checkpoint(layer.write(tmp_path)) as bank:
        desc = bank.info.desc
        assert (desc.act_alpha, desc.gate_limit, desc.up_limit, desc.up_offset) == (np.float32(1.702), 7, 7, 1)
        assert desc.parts[0].format == Format.E2M1 and desc.parts[desc.index(Role.UP_BIAS)].dtype == Dtype.BF16
    layer.write(tmp_path, layer.config | {"swiglu_limit": 5, "swiglu_alpha": 1.5})
    with Bank.checkpoint(tmp_path) as bank:
        desc = bank.info.desc
        assert (desc.act_alpha, desc.gate_limit, desc.up_limit) == (1.5, 5, 5)


@pytest.mark.parametrize("scheme", checkpoints.SCHEMES)
def test_halves_stay_halves_when_that_is_asked(tmp_path, rng, scheme):
    tensors, parts = checkpoints.layer(rng, scheme, "mlp", 2, 24, 16)
    checkpoints.write(tmp_path / "model.safetensors", tensors, "F16")
    checkpoints.write_config(tmp_path, hidden_act="silu")
    with Bank.checkpoint(tmp_path, f16_as=Dtype.F16) as bank:
        for part in bank.info.desc.parts:
            assert part.dtype == (Dtype.F32 if part.cols == 1 else Dtype.F16)
        for e, own in enumerate(parts):
            for role, values in own.items():
                kept = checkpoints.exact(values, "F16").astype(np.float32)
                assert_same_bits(expanded(bank, e, (ROLES | BIASES)[role]), kept, (e, role))


# ---------------------------------------------------------------- as Transformers has it


def as_torch(tensor):
    dtype, values = tensor
    values = torch.from_numpy(np.ascontiguousarray(values))
    return values.view(
        {"F8_E4M3": torch.float8_e4m3fn, "F8_E8M0": torch.float8_e8m0fnu, "BF16": torch.bfloat16}.get(
            dtype, values.dtype
        )
    )


def test_mxfp4_as_transformers_dequantises_it(tmp_path, rng):
    mxfp4 = pytest.importorskip("transformers.integrations.mxfp4", reason="not installed: transformers")
    layer = quantised.Quantised(rng, "mxfp4")
    with Bank.checkpoint(layer.write(tmp_path)) as bank:
        for name, roles in (("gate_up_proj", (Role.GATE, Role.UP)), ("down_proj", (Role.DOWN,))):
            blocks, scales = (
                as_torch(layer.tensors[f"{layer.block}.experts.{name}_{part}"]) for part in ("blocks", "scales")
            )
            worth = mxfp4.convert_moe_packed_tensors(blocks, scales, dtype=torch.float32).transpose(1, 2).numpy()
            for e in range(3):
                for i, role in enumerate(roles):
                    assert_same_bits(expanded(bank, e, role), worth[e][i :: len(roles)], (e, role))


@pytest.mark.parametrize("name", ["fp8 blocks", "fp8 blocks bf16", "fp8 blocks e8m0", "fused fp8 blocks"])
def test_fp8_as_transformers_dequantises_it(tmp_path, rng, name):
    fp8 = pytest.importorskip("transformers.integrations.finegrained_fp8", reason="not installed: transformers")
    layer = quantised.Quantised(rng, name, d_model=256, d_hidden=128)
    op = fp8.Fp8Dequantize(None)
    with Bank.checkpoint(layer.write(tmp_path)) as bank:
        for e in range(3):
            for role in ROLES:
                if layer.name.startswith("fused"):
                    stem = f"{layer.block}.experts." + ("down_proj" if role == "down" else "gate_up_proj")
                    weight, scale = (as_torch(layer.tensors[stem + end])[e] for end in ("", "_scale_inv"))
                    if role != "down":
                        half = role == "up"
                        weight, scale = weight.chunk(2)[half], scale.chunk(2)[half]
                else:
                    stem = f"{layer.block}.experts.{e}.{role}_proj.weight"
                    weight, scale = (as_torch(layer.tensors[stem + end]) for end in ("", "_scale_inv"))
                worth = op._dequantize_one(weight, scale, torch.float32).numpy()
                assert_same_bits(expanded(bank, e, ROLES[role]), worth, (e, role))


# ---------------------------------------------------------------- what is refused


def replaced(layer, tail, dtype=None, values=None, name=None):
    """Changes the tensor of that tail: its type and its values, or its name; without any, it goes."""
    key = next(key for key in layer.tensors if key.endswith(tail))
    old = layer.tensors.pop(key)
    if dtype or values is not None:
        layer.tensors[key] = (dtype or old[0], old[1] if values is None else values)
    if name:
        layer.tensors[key[: -len(tail)] + name] = old


def said(**changes):
    """Changes what quantization_config says; None takes a key away."""

    def change(layer):
        now = layer.config["quantization_config"] | changes
        layer.config["quantization_config"] = {key: value for key, value in now.items() if value is not None}

    return change


def weights_said(**changes):
    def change(layer):
        group = layer.config["quantization_config"]["config_groups"]["group_0"]
        weights = {key: value for key, value in (group["weights"] | changes).items() if value is not None}
        layer.config["quantization_config"] |= {"config_groups": {"group_0": group | {"weights": weights}}}

    return change


def tensor(tail, dtype=None, values=None, name=None):
    return lambda layer: replaced(layer, tail, dtype, values, name)


def added(name, dtype, values):
    return lambda layer: layer.tensors.update({layer.block + name: (dtype, values)})


def config_without(key):
    return lambda layer: layer.config.pop(key)


F32 = np.zeros((2, 2), np.float32)
WORDS = np.zeros((2, 3), np.int32)
REFUSED = {
    # method and tensors
    "no quantization_config": (
        "fp8 blocks",
        config_without("quantization_config"),
        "quantised experts, expected a config.json .* methods fp8",
    ),
    "another method": (
        "awq",
        said(quant_method="mxfp4"),
        'quant_method "mxfp4", expected one of awq gptq, which have such a tensor as',
    ),
    "no method": ("int4", said(quant_method=None), 'quant_method "", expected one of compressed-tensors'),
    "GPTQ's index in AWQ": ("gptq", said(**quantised.GEMM), 'g_idx": experts quantised as AWQ have none'),
    "an unknown combination": (
        "awq",
        added(".experts.0.up_proj.weight_scale_2", "F32", F32),
        r"quantised experts are not understood \(GPTQ or AWQ\)",
    ),
    "an index of compressed-tensors": (
        "int4",
        added(".experts.0.up_proj.weight_g_idx", "I32", WORDS),
        r'weight_g_idx": quantised experts are not understood \(GPTQ\)',
    ),
    # what is not quantised
    "a layer that is not": (
        "fp8 blocks",
        said(modules_to_not_convert=["model.layers.0"]),
        'modules_to_not_convert of quantization_config has "model.layers.0", expected no routed',
    ),
    "an expert that is not": ("awq", said(modules_to_not_convert=["mlp.experts.2"]), '"mlp.experts.2", expected no'),
    "a matrix that is not": ("fp8 tensor", said(ignored_layers=["down_proj"]), 'ignored_layers .* "down_proj", exp'),
    "a pattern of experts": ("int4", said(ignore=["re:.*mlp.experts.1.*"]), r'"re:\.\*mlp\.experts\.1\.\*", exp'),
    "an excluded module": ("nvfp4 modelopt", said(exclude_modules=["model.layers.0.mlp"]), "exclude_modules of"),
    "no list": ("fp8 blocks", said(modules_to_not_convert="all"), 'has modules_to_not_convert "all", expected a list'),
    "no names": ("fp8 blocks", said(modules_to_not_convert=[3]), "has modules_to_not_convert 3, expected names"),
    "an expert of plain elements": (
        "fp8 blocks",
        tensor("2.up_proj.weight_scale_inv"),
        r"layer 0 expert 2: its up matrix \(weight_scale_inv\) is missing",
    ),
    "a plain expert among packed ones": (
        "int4",
        tensor("1.up_proj.weight_packed", name="1.up_proj.weight"),
        "the first expert has no such part, all must be quantised alike",
    ),
    "a part of the first expert": (
        "fp8 blocks",
        tensor("0.up_proj.weight_scale_inv"),
        "its expert has no weight_scale_inv of every matrix",
    ),
    "a first expert without down": (
        "fp8 blocks",
        lambda layer: [replaced(layer, "0.down_proj.weight"), replaced(layer, "0.down_proj.weight_scale_inv")],
        "its expert lacks an up or a down matrix",
    ),
    "two names for one matrix": (
        "fp8 blocks",
        added(".experts.0.w1.weight", "F8_E4M3", np.zeros((160, 192), "u1")),
        "its expert has one of its tensors twice",
    ),
    "another type": (
        "fp8 blocks",
        tensor("1.up_proj.weight_scale_inv", "BF16", np.zeros((2, 2), np.uint16)),
        "dtype is BF16, of other experts F32",
    ),
    "another shape": (
        "awq",
        tensor("1.up_proj.scales", "F16", np.zeros((3, 160), np.float16)),
        r"shape is \[3, 160\], expected \[6, 160\]",
    ),
    # MXFP4
    "MXFP4 of another model": (
        "mxfp4",
        lambda layer: layer.config.update(model_type="qwen3_moe"),
        'model_type is "qwen3_moe", expected gpt_oss',
    ),
    "blocks of another size": (
        "mxfp4",
        tensor("down_proj_blocks", "U8", np.zeros((3, 192, 5, 8), np.uint8)),
        r"shape is \[3, 192, 5, 8\], expected \[3, 192, 5, 16\]",
    ),
    "scales of another size": (
        "mxfp4",
        tensor("down_proj_scales", "U8", np.zeros((3, 192, 4), np.uint8)),
        r"shape is \[3, 192, 4\], expected \[3, 192, 5\]",
    ),
    "biases of another size": (
        "mxfp4",
        tensor("down_proj_bias", "BF16", np.zeros((3, 4), np.uint16)),
        r"shape is \[3, 4\], expected \[3, 192\]",
    ),
    "scales of another type": (
        "mxfp4",
        tensor("down_proj_scales", "F32", np.zeros((3, 192, 5), np.float32)),
        "dtype is F32, expected U8",
    ),
    "blocks of three dimensions": (
        "mxfp4",
        tensor("down_proj_blocks", "U8", np.zeros((3, 192, 80), np.uint8)),
        "has 3 dimensions, expected 4",
    ),
    # FP8
    "blocks that are not said": (
        "fp8 other blocks",
        said(weight_block_size=None),
        "expected one scale, one a row, or one for 128 by 128 weights",
    ),
    "other blocks than said": (
        "fp8 blocks",
        said(weight_block_size=[32, 32]),
        "expected one for each block of quantization_config",
    ),
    "no block": ("fp8 blocks", said(weight_block_size=[128]), "has weight_block_size a list of 1, expected rows and"),
    "scales in three dimensions": (
        "fp8 blocks",
        tensor("0.gate_proj.weight_scale_inv", "F32", np.zeros((2, 2, 1), "f4")),
        r"shape is \[2, 2, 1\], expected",
    ),
    "scales of whole numbers": (
        "fp8 blocks",
        tensor("0.gate_proj.weight_scale_inv", "I32", np.zeros((2, 2), "i4")),
        "dtype is I32, expected U8, F8_E8M0, F16, BF16, F32",
    ),
    "4-bit floats of FP8's method": (
        "fp8 blocks",
        tensor("0.gate_proj.weight", "U8", np.zeros((160, 96), np.uint8)),
        "dtype is U8, expected F8_E4M3",
    ),
    "values of another type": (
        "fp8 blocks",
        tensor("0.gate_proj.weight", "U8", np.zeros((160, 192), np.uint8)),
        "dtype is U8, expected F8_E4M3",
    ),
    "another algorithm of modelopt": (
        "fp8 modelopt",
        said(quant_algo="W4A8_AWQ"),
        'quant_algo "W4A8_AWQ", expected FP8',
    ),
    "another strategy": ("fp8 compressed", weights_said(strategy="tensor"), 'strategy "tensor", expected channel'),
    "another format": ("fp8 compressed", said(format="int-quantized"), 'format "int-quantized", expected float-'),
    # compressed-tensors
    "eight bits": ("int4", weights_said(num_bits=8), "has num_bits 8, expected 4"),
    "a float": ("int4", weights_said(type="float"), 'has type "float", expected int'),
    "symmetric with zero points": ("int4 zero points", weights_said(symmetric=True), "symmetric true, expected false"),
    "zero points that are missing": ("int4", weights_said(symmetric=False), "symmetric false, expected true"),
    "activation order": ("int4", weights_said(actorder="group"), 'actorder "group", expected static weight'),
    "another group": (
        "int4",
        weights_said(group_size=64),
        "has 6 groups in 192 columns, config.json says a group_size of 64",
    ),
    "two schemes": ("int4", said(config_groups={"a": {}, "b": {}}), "has 2 config_groups, expected one"),
    "no scheme": ("int4", said(config_groups=None), "has 0 config_groups, expected one"),
    "a scheme without weights": (
        "int4",
        said(config_groups={"group_0": {"targets": ["Linear"], "weights": None}}),
        "config_groups of quantization_config have no weights",
    ),
    "an expert of another layer's number": (
        "awq",
        said(modules_to_not_convert=["model.layers.1.mlp.experts.0", "model.layers.0.mlp.experts.1.up_proj"]),
        'has "model.layers.0.mlp.experts.1.up_proj", expected no routed',
    ),
    "transforms": (
        "int4",
        said(transform_config={"config_groups": {}}),
        "has transform_config an object, expected none",
    ),
    "zero points in bytes": (
        "int4 zero points",
        tensor("0.gate_proj.weight_zero_point", "U8", np.zeros((20, 6), "u1")),
        "dtype is U8, expected I32",
    ),
    # AWQ, GPTQ
    "AWQ of eight bits": ("awq", said(bits=8), "has bits 8, expected 4"),
    "AWQ in another order": ("awq", said(version="gemv"), 'has version "gemv", expected gemm'),
    "AWQ without zero points": ("awq", said(zero_point=False), "has zero_point false, expected true"),
    "AWQ in other groups": (
        "awq",
        said(group_size=128),
        "has 6 groups in 192 columns, config.json says a group_size of 128",
    ),
    "GPTQ of three bits": ("gptq", said(bits=3), "has bits 3, expected 4"),
    "GPTQ in activation order": ("gptq", said(desc_act=True), "has desc_act true, expected false"),
    "GPTQ in an order that is not said": ("gptq", said(desc_act=None), "does not say desc_act, expected false"),
    "GPTQ for Marlin": (
        "gptq",
        said(checkpoint_format="marlin"),
        'has checkpoint_format "marlin", expected gptq gptq_v2',
    ),
    "GPTQ by module": ("gptq", said(dynamic={"-:.*experts.0.*": {}}), "has dynamic an object, expected none"),
    "GPTQ in words of 64 bits": ("gptq", said(pack_dtype="int64"), 'has pack_dtype "int64", expected int32'),
    "zero points of half the rows": (
        "awq",
        tensor("0.gate_proj.qzeros", "I32", np.zeros((6, 10), np.int32)),
        r"shape is \[6, 10\], expected \[6, 20\]",
    ),
    # NVFP4
    "NVFP4 in groups of 32": ("nvfp4 compressed", weights_said(group_size=32), "has group_size 32, expected 16"),
    "NVFP4 by another name": ("nvfp4 modelopt", said(quant_algo="FP8"), 'has quant_algo "FP8", expected NVFP4'),
    "two factors": (
        "nvfp4 modelopt",
        tensor("0.gate_proj.weight_scale_2", "F32", np.ones(2, np.float32)),
        r"shape is \[2\], expected \[1\]",
    ),
    "a factor of another type": (
        "nvfp4 modelopt",
        tensor("0.gate_proj.weight_scale_2", "F16", np.ones((), np.float16)),
        "dtype is F16, expected F32",
    ),
    "scales of another group": (
        "nvfp4 modelopt",
        tensor("0.gate_proj.weight_scale", "F8_E4M3", np.zeros((160, 6), "u1")),
        r"shape is \[160, 6\], expected \[160, 12\]",
    ),
}


@pytest.mark.parametrize("which", REFUSED)
def test_refused(tmp_path, rng, which):
    name, change, line = REFUSED[which]
    layer = quantised.Quantised(rng, name)
    change(layer)
    layer.write(tmp_path)
    with pytest.raises(errors.FormatError, match=line) as raised:
        Bank.checkpoint(tmp_path)
    assert "\n" not in str(raised.value)


def test_fused_gate_and_up_that_share_a_block(tmp_path, rng):
    layer = quantised.Quantised(rng, "fused fp8 blocks", d_hidden=192)
    for key in [key for key in layer.tensors if key.endswith("gate_up_proj_scale_inv")]:
        layer.tensors[key] = ("F32", np.ones((3, 3, 2), np.float32))
    layer.write(tmp_path)
    with pytest.raises(errors.FormatError, match="gate and up of 192 rows share a block of 128 rows"):
        Bank.checkpoint(tmp_path)


def test_what_others_leave_out_is_no_refusal(tmp_path, rng):
    """Routers, shared experts, other towers and layers that the bank has not."""
    layer = quantised.Quantised(rng, "fp8 blocks", number=3)
    said(
        modules_to_not_convert=[
            "lm_head",
            "gate",
            "shared_experts",
            "model.layers.61",
            "model.layers.3.self_attn",
            "re:.*shared_experts.*",
            "model.layers.3.mlp.gate",
            "model.layers.30",
        ]
    )(layer)
    Bank.checkpoint(layer.write(tmp_path)).close()
