# SPDX-License-Identifier: MIT
"""`ufm plan` from a config.json alone against the model that Transformers builds from the same config.

Every family of the installed Transformers whose config speaks of experts is built on the meta device, as its own default
config has it: routed layers, experts, experts a token and bytes of an expert are counted there. None may be wrong;
what is refused is listed with the reason."""
import json
import os
import subprocess

import pytest

from conftest import BUILD

# The defaults of a few configs would ask the network, and wait for it.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
try:
    import torch
    import transformers
    from transformers import CONFIG_MAPPING, AutoModel
    transformers.logging.set_verbosity_error()
    missing = ""
except ImportError as error:
    missing = f"not installed: torch, transformers ({error})"

pytestmark = pytest.mark.skipif(bool(missing), reason=missing)

# What a default config lacks before a model can be built of it, or before it has experts.
GEMMA = {"text_config": dict(enable_moe_block=True, num_experts=8, top_k_experts=2, moe_intermediate_size=64)}
INDEXER = dict(indexer_n_heads=2, indexer_kv_heads=1, indexer_head_dim=256, indexer_budget=256,
               indexer_compress_ratio=16)
NEEDED = {
    "deepseek_ocr2": {"text_config": dict(mlp_layer_types=["dense"] + ["sparse"] * 3, num_hidden_layers=4,
                                          num_experts_per_tok=2)},
    "deepseek_ocr2_text": dict(mlp_layer_types=["dense"] + ["sparse"] * 3, num_hidden_layers=4, num_experts_per_tok=2),
    "deepseek_v2": dict(num_experts_per_tok=2),
    "diffusion_gemma": GEMMA,
    "doge": dict(is_moe=True),
    "dots1": dict(n_routed_experts=8, n_shared_experts=1, num_experts_per_tok=2),
    "gemma4": GEMMA, "gemma4_text": GEMMA["text_config"],
    "hunyuan_v1_moe": dict(head_dim=64, num_experts=4, moe_topk=2),
    "qwen4_exp": {"text_config": INDEXER}, "qwen4_exp_text": INDEXER,
    "lfm2_moe": dict(num_hidden_layers=4, layer_types=["conv", "full_attention", "conv", "full_attention"]),
}
# The line that says why.
REFUSED = {
    "diffusion_gemma": "both its encoder and its decoder",
    "doge": "rows of an embedding",
    "ernie4_5_vl_moe": "experts of two widths", "ernie4_5_vl_moe_text": "experts of two widths",
    "jetmoe": "its attention has experts",
    "nllb-moe": "its encoder and its decoder", "switch_transformers": "its encoder and its decoder",
    # A vision model whose one expert a layer stands for its data set: nothing is routed.
    "vitpose": "backbone_config", "vitpose_backbone": "num_experts_per_tok",
}
EXPERT_KEYS = {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"}


def speaks_of_experts(value):
    if not isinstance(value, dict):
        return False
    return bool(EXPERT_KEYS & set(value)) or any(map(speaks_of_experts, value.values()))


# What no model of the library's own choice can be built of.
PARTS = {
    # A part of DbrxModel asks for a rope_theta that its config cannot have.
    "dbrx": lambda config: torch.nn.ModuleList(
        transformers.models.dbrx.modeling_dbrx.DbrxFFN(config) for _ in range(config.n_layers)),
    "qwen3_omni_moe": lambda config: transformers.Qwen3OmniMoeThinkerForConditionalGeneration(config.thinker_config),
}


def families():
    """Those of which a model can be built: a part that has no model of its own is in the whole."""
    if missing:
        return ["none"]
    found = []
    for name, config in CONFIG_MAPPING.items():
        try:
            if speaks_of_experts(config().to_dict()) and (config in transformers.MODEL_MAPPING or name in PARTS):
                found.append(name)
        except Exception:  # a config that has no defaults speaks of nothing
            continue
    return sorted(found)


def plan(path):
    command = [f"{BUILD}/ufm", "plan", "--model", path, "--link-gbps", "50", "--hbm-gbps", "3000", "--vram-target", "100%",
               "--ram", "1000TiB", "--prompt", "4", "--headroom", "0", "--workload", "uniform", "-o", "jsonl"]
    return subprocess.run(command, text=True, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)


def build(family, config):
    with torch.device("meta"):
        return PARTS[family](config) if family in PARTS else AutoModel.from_config(config)


def top_k_of(block, config):
    """As the block's own modules have it, or else as its config says."""
    found = {module.top_k for module in block.modules() if isinstance(getattr(module, "top_k", None), int)}
    if not found:
        whole = config.get_text_config()
        parts = [whole, getattr(whole, "ffn_config", None)]
        found = {getattr(part, key) for part in parts for key in ("top_k_experts", "moe_topk", "moe_top_k")
                 if isinstance(getattr(part, key, None), int)}
    assert len(found) == 1, found
    return found.pop()


def count(model, config):
    """(layers, experts, top k, bytes of an expert in bf16) of its one kind of routed layers."""
    found = []
    for name, module in model.named_modules():
        if not name.endswith("experts") or "shared" in name:
            continue
        matrices = [p for p in module.parameters() if p.dim() > 1]
        three = [p for p in matrices if p.dim() == 3]
        if three:  # [experts, …]; experts without weights are in one of them alone
            experts = min(p.shape[0] for p in three)
            size = sum(2 * p.numel() // p.shape[0] for p in three)
        else:
            experts = config.ffn_config.moe_num_experts
            size = sum(2 * p.numel() // experts for p in matrices)
        found.append((experts, top_k_of(model.get_submodule(name.rpartition(".")[0]), config), size))
    assert len(set(found)) == 1, set(found)
    return (len(found), *found[0])


def compare(path, family, config):
    ended = plan(path)
    assert (ended.returncode, ended.stderr) == (0, "")
    row = json.loads(ended.stdout.splitlines()[-1])
    planned = tuple(row[name] for name in ("layers", "experts", "top_k", "expert_bytes"))
    assert planned == count(build(family, config), config)


@pytest.mark.parametrize("family", families())
def test_a_plan_has_the_model_that_transformers_builds(tmp_path, family):
    config = CONFIG_MAPPING[family](**NEEDED.get(family, {}))
    config.save_pretrained(tmp_path)
    if family not in REFUSED:
        compare(tmp_path / "config.json", family, config)
        return
    ended = plan(tmp_path / "config.json")
    assert ended.returncode == 4 and REFUSED[family] in ended.stderr, ended.stderr


# Layouts that are none of the defaults, by every key that a family has for them.
LAYOUTS = [
    ("axk2", dict(num_hidden_layers=9, first_k_dense_replace=1, moe_layer_freq=2)),
    ("cohere2_moe", dict(num_hidden_layers=4, first_k_dense_replace=2)),
    ("deepseek_v3", dict(num_hidden_layers=6, first_k_dense_replace=2)),
    ("deepseek_v32", dict(num_hidden_layers=5, first_k_dense_replace=1)),
    ("deepseek_v4", dict(num_hidden_layers=5, num_hash_layers=2)),
    ("ernie4_5_moe", dict(num_hidden_layers=10, moe_layer_start_index=2, moe_layer_end_index=7, moe_layer_interval=2)),
    ("exaone_moe", dict(num_hidden_layers=4, mlp_layer_types=["sparse", "dense", "sparse", "sparse"],
                        first_k_dense_replace=0)),
    ("glm4_moe_lite", dict(num_hidden_layers=4, mlp_layer_types=["dense", "sparse", "dense", "sparse"])),
    ("hy_v3", dict(num_hidden_layers=3)),
    ("inkling_mm_model", {"text_config": dict(num_hidden_layers=4, dense_mlp_idx=2)}),
    ("jamba", dict(num_hidden_layers=9, expert_layer_period=3, expert_layer_offset=2)),
    ("kimi_linear", dict(num_hidden_layers=5, first_k_dense_replace=2)),
    ("lfm2_moe", dict(num_hidden_layers=5, num_dense_layers=3, layer_types=["conv"] * 4 + ["full_attention"])),
    ("llama4", {"text_config": dict(num_hidden_layers=8, interleave_moe_layer_step=3)}),
    ("llama4", {"text_config": dict(num_hidden_layers=8, moe_layers=[0, 5])}),
    ("minimax_m3_vl", {"text_config": dict(num_hidden_layers=4, moe_layer_freq=[0, 1, 1, 0])}),
    ("nemotron_h", dict(hybrid_override_pattern="ME*EM-E", moe_latent_size=64)),
    ("qwen2_moe", dict(num_hidden_layers=8, decoder_sparse_step=2, mlp_only_layers=[0, 1])),
    ("qwen3_moe", dict(num_hidden_layers=8, decoder_sparse_step=3, mlp_only_layers=[2])),
    ("step3p7", {"text_config": dict(num_hidden_layers=6, moe_layers_enum="2,4")}),
]
DERIVED = ("mlp_layer_types", "moe_layers", "layers_block_type", "first_k_dense_replace", "interleave_moe_layer_step")


def as_published(saved, given):
    """The keys that were given, without those that the library derives from them when it saves."""
    for name, value in given.items():
        if isinstance(value, dict):
            as_published(saved[name], value)
        else:
            for key in DERIVED:
                saved.pop(key, None)
    saved.update({name: value for name, value in given.items() if not isinstance(value, dict)})


@pytest.mark.parametrize("published", [False, True], ids=["as-saved", "as-published"])
@pytest.mark.parametrize("family, given", LAYOUTS)
def test_other_layouts(tmp_path, family, given, published):
    config = CONFIG_MAPPING[family](**given)
    config.save_pretrained(tmp_path)
    if published:
        saved = json.loads((tmp_path / "config.json").read_text())
        as_published(saved, given)
        (tmp_path / "config.json").write_text(json.dumps(saved))
    compare(tmp_path / "config.json", family, CONFIG_MAPPING[family](**given))
