# SPDX-License-Identifier: MIT
"""Tiny checkpoints whose experts, and for FP8 all linear layers, are quantised as others publish them, and the models
that Transformers itself makes of them by dequantising."""

import json
import re
from unittest import mock

import families
import layouts
import numpy as np
import parity
import tiny_configs
import tiny_models
import torch
from safetensors.torch import load_file, save_file
from support import quantised
from transformers import CONFIG_MAPPING, Mxfp4Config
from transformers.quantizers import quantizer_finegrained_fp8 as of_fp8

# Sizes that are whole numbers of blocks: Transformers' own dequantisation knows no others.
BLOCK = (16, 16)
SIZES = {
    "gpt_oss": {"hidden_size": 64, "intermediate_size": 32},
    "qwen3_moe": {"moe_intermediate_size": 32},
    "deepseek_v3": {"moe_intermediate_size": 32, "qk_rope_head_dim": 16, "head_dim": 16},
}
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": list(BLOCK)}
MXFP4 = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router"]}
LINEAR = re.compile(r".*_proj(_with_mqa)?\.weight")


def config_of(family, **sizes):
    """As `tiny_configs.tiny_config`, of sizes that can be quantised."""
    kind = CONFIG_MAPPING[family]
    own = tiny_configs.OWN.get(family, {}) | SIZES[family] | sizes
    return kind(**tiny_configs.shrunk(kind, tiny_configs.SMALL, own))


def plain_model(family, **sizes):
    """As `tiny_models.tiny_model`, of those sizes."""
    config = config_of(family, **sizes)
    torch.manual_seed(3)
    options = {"dtype": torch.float32, "experts_implementation": "eager"}
    model = families.model_class(family)._from_config(config, **options).eval()
    tiny_models.strengthen(model, 3)
    model.tie_weights()
    tiny_models.quiet_generation(model)
    return model


def skeleton(family):
    """The same without values, on the meta device."""
    with torch.device("meta"):
        return families.model_class(family)._from_config(config_of(family), dtype=torch.float32)


def fp8(weight, block=BLOCK):
    """(codes, scales) of a matrix; blocks at its end are cut."""
    rows, cols = weight.shape
    padded = torch.nn.functional.pad(weight, (0, -cols % block[1], 0, -rows % block[0]))
    tiles = padded.unflatten(1, (-1, block[1])).unflatten(0, (-1, block[0]))
    scale = tiles.abs().amax((1, 3)).clamp(min=1e-12) / 448
    each = scale.repeat_interleave(block[0], 0)[:rows].repeat_interleave(block[1], 1)[:, :cols]
    return (weight / each).to(torch.float8_e4m3fn), scale


def in_fp8(tensors, block=BLOCK):
    """Every linear layer's weight as code and scale, experts' among them."""
    found = {}
    for name, tensor in tensors.items():
        if LINEAR.fullmatch(name):
            found[name], found[f"{name}_scale_inv"] = fp8(tensor, block)
        else:
            found[name] = tensor
    return found


def in_mxfp4(tensors):
    """The experts of gpt_oss, [experts, inputs, outputs], as blocks and scales of [experts, outputs, inputs]."""
    found = {}
    for name, tensor in tensors.items():
        if not re.search(r"experts\.(gate_up|down)_proj$", name):
            found[name] = tensor
            continue
        made = [quantised.mxfp4(matrix.T.contiguous().numpy())[0] for matrix in tensor]
        for key in ("blocks", "scales"):
            found[f"{name}_{key}"] = torch.from_numpy(np.stack([each[key][1] for each in made]))
    return found


def with_towers(tensors):
    """Beside the model's layers towers that predict more tokens, in FP8 too."""
    as_bytes = {n: t.view(torch.uint8) if t.dtype == torch.float8_e4m3fn else t for n, t in tensors.items()}
    more = layouts.further_towers(as_bytes)
    codes = {name for name in more if more[name].dtype == torch.uint8}
    return tensors | {n: t.view(torch.float8_e4m3fn) if n in codes else t for n, t in more.items()}


def edit(folder, **keys):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))
    return folder


def write(family, folder, layout="saved", said=None):
    """The quantised checkpoint of a family in `folder`, an empty pathlib.Path; gives the folder."""
    layouts.write(plain_model(family), folder, "saved")
    only = folder / "model.safetensors"
    tensors = (in_mxfp4 if family == "gpt_oss" else in_fp8)(load_file(only))
    if layout == "published":
        only.unlink()
        layouts.write_shards(folder, with_towers(tensors))
    else:
        save_file(tensors, only, metadata={"format": "pt"})
    return edit(folder, quantization_config=said or (MXFP4 if family == "gpt_oss" else FP8))


def dequantised(family, folder, dtype=torch.float32):
    """What Transformers makes of it without UFM. It would ask for accelerate, and needs it for nothing here."""
    with mock.patch.object(of_fp8, "is_accelerate_available", lambda: True):
        options = {"quantization_config": Mxfp4Config(dequantize=True)} if family == "gpt_oss" else {}
        model = families.model_class(family).from_pretrained(
            folder, dtype=dtype, experts_implementation="eager", **options
        )
    tiny_models.quiet_generation(model)
    return model.eval().float() if dtype == torch.float32 else model.eval()


class Reference(parity.Reference):
    """A model that is not paged, of a family."""

    def __init__(self, family, model):
        super().__init__(family)
        self.model = model


def with_experts_as(name, folder, attention=False):
    """A qwen3_moe checkpoint whose experts, and with `attention` that too, are quantised in a way of
    `support.quantised.SINGLE`; gives a model with what they are worth."""
    make, said, _ = quantised.SINGLE[name]
    model = plain_model("qwen3_moe")
    layouts.write(model, folder, "saved")
    (folder / "model.safetensors").unlink()
    tensors = {}
    for key, tensor in saved(model).items():
        if not LINEAR.fullmatch(key) or not (attention or ".experts." in key):
            tensors[key] = ("F32", tensor.numpy())
            continue
        made, worth = make(tensor.numpy())
        tensors |= {f"{key.removesuffix('.weight')}.{part}": value for part, value in made.items()}
        put(model, key, torch.from_numpy(worth))
    quantised.write(folder / "model.safetensors", tensors)
    edit(folder, quantization_config=of_linear_layers(said) if attention else said)
    return model


def of_linear_layers(said):
    """As compressed-tensors says it of all linear layers but routers and the last."""
    groups = {name: group | {"targets": ["Linear"]} for name, group in said["config_groups"].items()}
    ignored = ["lm_head", "re:.*mlp.gate$"]
    return said | {"quantization_status": "compressed", "config_groups": groups, "ignore": ignored}


def saved(model):
    """The tensors of a qwen3_moe model by the names that they have on disk."""
    found = {}
    for name, tensor in model.state_dict().items():
        block, _, matrix = name.partition(".experts.")
        if not matrix:
            found[name] = tensor
            continue
        for number, expert in enumerate(tensor):
            roles = ("gate", "up") if matrix == "gate_up_proj" else ("down",)
            for role, part in zip(roles, expert.chunk(len(roles)), strict=True):
                found[f"{block}.experts.{number}.{role}_proj.weight"] = part.contiguous()
    return found


@torch.no_grad()
def put(model, key, values):
    """Gives a model the matrix that has this name on disk."""
    match = re.fullmatch(r"(.*\.experts)\.(\d+)\.(gate|up|down)_proj\.weight", key)
    if match is None:
        model.get_parameter(key).copy_(values)
        return
    experts, number, role = model.get_submodule(match[1]), int(match[2]), match[3]
    if role == "down":
        experts.down_proj[number].copy_(values)
    else:
        experts.gate_up_proj[number].chunk(2)[role == "up"].copy_(values)


def with_cut_blocks(folder):
    """qwen3_moe in FP8 whose matrices end within a block, and a model with what they are worth."""
    block = (24, 32)
    model = plain_model("qwen3_moe", moe_intermediate_size=48)
    layouts.write(model, folder, "saved")
    tensors = in_fp8(saved(model), block)
    for key, tensor in tensors.items():
        if tensor.dtype == torch.float8_e4m3fn:
            rows, cols = tensor.shape
            scale = tensors[f"{key}_scale_inv"].repeat_interleave(block[0], 0)[:rows]
            put(model, key, tensor.float() * scale.repeat_interleave(block[1], 1)[:, :cols])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder, quantization_config=FP8 | {"weight_block_size": list(block)})
    return model
