# SPDX-License-Identifier: MIT
"""Tiny models as GGUF files: the dense half of an eager model in F32, its experts in random blocks of any type, and the
eager model with what those blocks are worth."""

import dataclasses
import sys

import gguf
import numpy as np
import tiny_models
import torch
import transformers

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests"))
from support import gguf_files

VOCABULARY = 128
EXPERTS = 8
TOP_K = 2
# Blocks of the K types have 256 elements.
WIDTH = 256
TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "num_experts_per_tok": TOP_K,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
OWN = {
    "qwen2_moe": {
        "num_experts": EXPERTS,
        "intermediate_size": 96,
        "moe_intermediate_size": WIDTH,
        "shared_expert_intermediate_size": 64,
        "rope_parameters": {"rope_type": "default", "rope_theta": 2000.0},
    },
    "qwen3_moe": {
        "num_experts": EXPERTS,
        "intermediate_size": 96,
        "moe_intermediate_size": WIDTH,
        "head_dim": 32,
        "norm_topk_prob": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 2000.0},
    },
    "gpt_oss": {
        "num_local_experts": EXPERTS,
        "intermediate_size": WIDTH,
        "head_dim": 32,
        "sliding_window": 24,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 2000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 128,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
        },
    },
    "minimax_m2": {
        "num_local_experts": EXPERTS,
        "intermediate_size": WIDTH,
        "head_dim": 32,
        "rope_parameters": {"rope_type": "default", "rope_theta": 2000.0, "partial_rotary_factor": 0.5},
    },
}
ARCHITECTURES = {"qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "gpt_oss": "gpt-oss", "minimax_m2": "minimax-m2"}
# Of the routed layers, in turn: gate and up, and down.
MIXED = (("Q8_0", "Q8_0"), ("Q4_K", "Q6_K"))


@dataclasses.dataclass
class Written:
    """A model on disk.

    path: of the file, or the first of several.
    model: the eager one, with what its experts' blocks are worth.
    kinds: of layers.
    dense_bytes: of all tensors but the experts'.
    """

    path: object
    model: object
    kinds: int
    dense_bytes: int


def eager(family, layers=3, **more):
    config = transformers.AutoConfig.for_model(family, **TEXT | OWN[family] | more, num_hidden_layers=layers)
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, experts_implementation="eager"
    ).eval()
    tiny_models.strengthen(model, 3)
    tiny_models.quiet_generation(model)
    return model


def keys(config):
    """What converters write of a config, without the architecture's name."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = config.rope_parameters
    said = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": head,
        "attention.value_length": head,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": rope["rope_theta"],
        "expert_count": EXPERTS,
        "expert_used_count": TOP_K,
        "expert_feed_forward_length": WIDTH,
    }
    if rope["rope_type"] == "yarn":
        said |= {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": rope["factor"],
            "rope.scaling.original_context_length": rope["original_max_position_embeddings"],
            "attention.sliding_window": config.sliding_window,
        }
    if "partial_rotary_factor" in rope:
        said |= {"rope.dimension_count": int(head * rope["partial_rotary_factor"]), "expert_gating_func": 2}
    if config.model_type == "qwen2_moe":
        said["expert_shared_feed_forward_length"] = config.shared_expert_intermediate_size
    return said


def write(path, family, types=MIXED, layers=3, shards=1, said=None, scheme="stacked", edit=None, words=None, **more):
    """Writes a model of a family.

    said: whole keys and values beside or in place of the usual; None leaves one out. edit: is given all tensors, {name:
    (data, type)}, to change. words: of a tokenizer that reads text, in place of a list of names.
    """
    model = eager(family, layers, **more)
    architecture, random = ARCHITECTURES[family], np.random.default_rng(7)
    routed, kinds = [], []
    for name, module in tiny_models.experts_modules(model):
        number = int(name.split(".")[2])
        first, down = types[len(routed) % len(types)]
        layer = gguf_files.Layer(
            random,
            number,
            {"gate": first, "up": first, "down": down},
            EXPERTS,
            WIDTH,
            WIDTH,
            scheme,
            biases=family == "gpt_oss",
        )
        layer.tensors = {name: tensor for name, tensor in layer.tensors.items() if ".ffn_" in name and is_expert(name)}
        fill(module, layer.experts)
        routed.append(layer)
        kinds.append((first, down))
    dense = dense_tensors(model, architecture)
    if edit:
        routed[0].tensors |= {name: tensor for layer in routed for name, tensor in layer.tensors.items()} | dense
        routed = routed[:1]
        edit(routed[0].tensors)
    else:
        routed[0].tensors = dense | routed[0].tensors
    own = {f"{architecture}.{key}": value for key, value in keys(model.config).items()}
    told = {key: value for key, value in (own | (said or {})).items() if value is not None}
    if words:
        told |= {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.tokens": words,
            "tokenizer.ggml.merges": ["t h", "th e"],
        }
    # The vocabulary's size is that of the list of tokens.
    path = gguf_files.write(path, architecture, told, routed, 0 if words else VOCABULARY, shards)
    dense_bytes = sum(data.nbytes for data, _ in dense.values())
    return Written(path, model, len(dict.fromkeys(kinds)), dense_bytes)


def is_expert(name):
    """Of all experts of a layer, or of one."""
    return "_exps." in name or name.split(".")[-2].isdigit()


@torch.no_grad()
def fill(module, experts):
    """Gives an eager module the experts that a file has."""
    first, second, down = (
        torch.tensor(np.stack([expert[matrix] for expert in experts]), dtype=torch.float32)
        for matrix in ("gate", "up", "down")
    )
    if not getattr(module, "is_transposed", False):
        module.gate_up_proj.copy_(torch.cat([first, second], 1))
        module.down_proj.copy_(down)
        return
    module.gate_up_proj[..., ::2], module.gate_up_proj[..., 1::2] = first.mT, second.mT
    module.down_proj.copy_(down.mT)
    for at, matrix in enumerate(("gate", "up")):
        module.gate_up_proj_bias[:, at::2] = torch.tensor(np.stack([expert[f"{matrix}_bias"] for expert in experts]))
    module.down_proj_bias.copy_(torch.tensor(np.stack([expert["down_bias"] for expert in experts])))


def dense_tensors(model, architecture):
    """{name: (data, "F32")} of all parameters but the experts', as llama.cpp's converter names them."""
    number = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(number, model.config.num_hidden_layers)
    tied = model.all_tied_weights_keys
    found = {}
    for name, tensor in model.state_dict().items():
        if ".experts." in name or name in tied:
            continue
        stem, _, suffix = name.rpartition(".")
        if suffix not in ("weight", "bias"):
            stem, suffix = name, "bias" if "correction" in name else "weight"
        stem = stem.removesuffix(".e_score_correction_bias") + (".e_score_correction" if "correction" in name else "")
        mapped = names.get_name(stem) or f"blk.{stem.split('.')[2]}.exp_probs_b"
        data = tensor.float().numpy()
        found[f"{mapped}.{suffix}"] = (np.ascontiguousarray(data[0] if data.shape[0] == 1 else data), "F32")
    return found
