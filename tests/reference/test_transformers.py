# SPDX-License-Identifier: MIT
"""`ufm forward` against the routed blocks of Transformers, on folders that save_pretrained made."""
import copy
import json

import numpy as np
import pytest
from support import oracle

try:
    import torch
    import transformers
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    missing = ""
except ImportError as error:
    missing = f"not installed: torch, transformers ({error})"

pytestmark = pytest.mark.skipif(bool(missing), reason=missing)

LIMIT = {"float32": 1e-5, "bfloat16": 1e-2}
SHARED = dict(vocab_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
              hidden_size=64, num_experts_per_tok=3, attn_implementation="eager",
              experts_implementation="eager")
FAMILIES = {
    "mixtral": ("Mixtral", dict(num_local_experts=7, intermediate_size=40)),
    "qwen3_moe": ("Qwen3Moe", dict(num_experts=8, moe_intermediate_size=24, norm_topk_prob=True)),
    "qwen3_moe_raw": ("Qwen3Moe", dict(num_experts=8, moe_intermediate_size=24,
                                       norm_topk_prob=False)),
}


def build(family, dtype, seed):
    name, own = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(**SHARED, **own)
    torch.manual_seed(seed)
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    # The library's own start is so small that all experts get nearly the same weight.
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return model.to(getattr(torch, dtype)).eval()


def block_of(model, number):
    """The block as Transformers computes it, in float64 on the very weights that are saved."""
    return copy.deepcopy(model.model.layers[number].mlp).double()


def compute(block, x):
    with torch.no_grad():
        return block(torch.from_numpy(x).double()[None])[0].numpy()


@pytest.mark.parametrize("per_expert", [True, False], ids=["per-expert", "fused"])
@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize("family", FAMILIES)
def test_block_agrees(tmp_path, forward, rng, family, dtype, per_expert):
    """With nothing but the folder: config.json gives the rule."""
    model = build(family, dtype, int(rng.integers(2**31)))
    folder = tmp_path / "model"
    model.save_pretrained(folder, save_original_format=per_expert)
    for number, tokens in ((0, 1), (1, 37)):
        block = block_of(model, number)
        router = block.gate.weight.detach().numpy()
        x = oracle.clear_tokens(rng, tokens, router, SHARED["num_experts_per_tok"])
        want = compute(block, x)
        run = forward(folder, number)
        y, report = run(x)
        assert oracle.distance(y, want) <= LIMIT[dtype]
        for option in ("top-k", "norm-topk", "scoring", "activation"):
            assert report["config"][option]["origin"] == "config.json"


def test_shards_agree_within_one_working_set(tmp_path, forward, rng):
    model = build("mixtral", "float32", int(rng.integers(2**31)))
    model.save_pretrained(tmp_path / "model", max_shard_size="40KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 2
    block = block_of(model, 1)
    x = oracle.clear_tokens(rng, 9, block.gate.weight.detach().numpy(), 3)
    run = forward(tmp_path / "model", 1)
    y, _ = run(x, "--vram-target", run.least_target(x))
    assert oracle.distance(y, compute(block, x)) <= LIMIT["float32"]


def test_another_router_is_refused_and_its_routing_taken(tmp_path, forward, rng):
    """DeepSeek-V3 adds a correction to the scores and picks among groups: not ours to imitate."""
    config = transformers.DeepseekV3Config(
        **SHARED, n_routed_experts=8, n_shared_experts=1, moe_intermediate_size=24, n_group=2,
        topk_group=1, first_k_dense_replace=1, intermediate_size=48, kv_lora_rank=8, q_lora_rank=8,
        qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8)
    torch.manual_seed(int(rng.integers(2**31)))
    model = transformers.DeepseekV3ForCausalLM(config).eval()
    model.save_pretrained(tmp_path / "model")
    experts = copy.deepcopy(model.model.layers[1].mlp.experts).double()
    run = forward(tmp_path / "model", 1)
    x = rng.standard_normal((11, SHARED["hidden_size"])).astype(np.float32)
    ended = run.run(x)
    assert ended.returncode == 4 and "--ids and --gates" in ended.stderr
    ids = np.stack([rng.permutation(8)[:3] for _ in range(11)])
    gates = rng.random((11, 3)).astype(np.float32)
    with torch.no_grad():
        want = experts(torch.from_numpy(x).double(), torch.from_numpy(ids),
                       torch.from_numpy(gates).double()).numpy()
    y, _ = run(x, routing=(ids, gates))
    assert oracle.distance(y, want) <= LIMIT["float32"]


def test_the_config_that_was_saved_is_what_is_read(tmp_path, forward, rng):
    """The same weights under another rule give another result."""
    model = build("qwen3_moe", "float32", int(rng.integers(2**31)))
    model.save_pretrained(tmp_path / "model")
    block = block_of(model, 0)
    x = oracle.clear_tokens(rng, 9, block.gate.weight.detach().numpy(), 3)
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"norm_topk_prob": False}))
    y, _ = forward(tmp_path / "model", 0)(x)
    assert oracle.distance(y, compute(block, x)) > 1e-3
