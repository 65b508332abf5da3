# SPDX-License-Identifier: MIT
"""`ufm forward` against NumPy in float64, on checkpoints written by the `safetensors` package."""
import numpy as np
import pytest
from support import checkpoints, oracle

LIMIT = {"F32": 1e-5, "F16": 1e-5, "BF16": 1e-2}
CONFIG = {"gated": {"model_type": "qwen3_moe", "hidden_act": "silu"},
          "letters": {"model_type": "mixtral", "hidden_act": "silu"},
          "biases": {"hidden_act": "gelu"},
          "fused": {"model_type": "qwen3_moe", "hidden_act": "silu"}}
NUMBER, TOP_K = 3, 3


def activation(scheme):
    return CONFIG[scheme]["hidden_act"]


def make(rng, scheme, dtype, experts=9, d_model=96, d_hidden=72, number=NUMBER):
    return checkpoints.Routed(rng, scheme, number, experts, d_model, d_hidden, dtype)


def placements(least, report, tokens):
    """Other ways to place the same experts, from one working set to everything; fewer for few tokens."""
    bank_bytes = report["experts"] * report["expert_bytes"]
    few = [["--vram-target", least], ["--mode", "baseline"], ["--mode", "naive_offload"]]
    return few if tokens < 100 else few + [
        ["--vram-target", least + bank_bytes // 2, "--policy", "lru"],
        ["--vram-target", least + bank_bytes], ["--max-tokens", 7]]


@pytest.mark.parametrize("tokens", [1, 5, 300])
@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize("scheme", CONFIG)
def test_layer_agrees_with_float64(tmp_path, forward, rng, scheme, dtype, tokens):
    """Every mode and budget, with the router and with given routing: one set of bits, near the truth."""
    layer = make(rng, scheme, dtype)
    config = CONFIG[scheme] | {"num_experts_per_tok": TOP_K, "norm_topk_prob": True}
    weights = layer.write(tmp_path / "model", config)
    run = forward(weights, NUMBER)
    x = oracle.clear_tokens(rng, tokens, layer.router, TOP_K)
    rule = ["--scoring", "softmax", "--top-k", TOP_K, "--norm-topk"] if scheme == "biases" else []

    ids, gates = oracle.route(x, layer.router, TOP_K, "softmax", True)
    want = oracle.layer(x, ids, gates, layer.experts, activation(scheme))
    first, report = run(x, *rule)
    assert report["routing"] == "router" and report["uses"] == len(np.unique(ids))
    assert oracle.distance(first, want) <= LIMIT[dtype]
    for more in placements(run.least_target(x, *rule), report, tokens):
        y, _ = run(x, *rule, *more)
        assert y.tobytes() == first.tobytes(), more


@pytest.mark.parametrize("mode", ["ufm", "baseline", "naive_offload"])
@pytest.mark.parametrize("scheme, dtype", [("gated", "BF16"), ("biases", "F32"), ("fused", "F16")])
def test_given_routing(tmp_path, forward, rng, scheme, dtype, mode):
    layer = make(rng, scheme, dtype)
    weights = layer.write(tmp_path / "model", CONFIG[scheme])
    run = forward(weights, NUMBER)
    for tokens, top_k in ((1, 1), (5, 9), (300, 2)):
        x = rng.standard_normal((tokens, 96)).astype(np.float32)
        ids = np.stack([rng.permutation(9)[:top_k] for _ in range(tokens)])
        gates = rng.standard_normal((tokens, top_k)).astype(np.float32)
        options = ["--mode", mode]
        if mode == "ufm":
            options += ["--vram-target", run.least_target(x, routing=(ids, gates))]
        y, report = run(x, *options, routing=(ids, gates))
        want = oracle.layer(x, ids, gates.astype(np.float64), layer.experts, activation(scheme))
        assert oracle.distance(y, want) <= LIMIT[dtype]
        assert (report["routing"], report["top_k"]) == ("ids", top_k)
        assert report["uses"] == len(np.unique(ids))


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("top_k", [1, 4, 9])
def test_rules(tmp_path, forward, rng, scoring, norm, top_k):
    layer = make(rng, "gated", "F32")
    run = forward(layer.write(tmp_path / "model"), NUMBER)
    x = oracle.clear_tokens(rng, 40, layer.router, top_k)
    ids, gates = oracle.route(x, layer.router, top_k, scoring, norm)
    y, _ = run(x, "--top-k", top_k, "--norm-topk" if norm else "--no-norm-topk", "--scoring",
               scoring, "--activation", "silu")
    want = oracle.layer(x, ids, gates, layer.experts, "silu")
    assert oracle.distance(y, want) <= LIMIT["F32"]


@pytest.mark.parametrize("given", ["gelu", "silu"])
@pytest.mark.parametrize("scheme", ["letters", "biases"])
def test_the_activation_of_the_command_line_wins(tmp_path, forward, rng, scheme, given):
    layer = make(rng, scheme, "F32")
    run = forward(layer.write(tmp_path / "model", CONFIG[scheme]), NUMBER)
    x = rng.standard_normal((7, 96)).astype(np.float32)
    ids, gates = rng.integers(0, 9, (7, 1)), np.ones((7, 1))
    y, _ = run(x, "--activation", given, routing=(ids, gates))
    assert oracle.distance(y, oracle.layer(x, ids, gates, layer.experts, given)) <= LIMIT["F32"]


def test_f16_as_bf16(tmp_path, forward, rng):
    layer = make(rng, "gated", "F16")
    run = forward(layer.write(tmp_path / "model", CONFIG["gated"]), NUMBER)
    x = rng.standard_normal((31, 96)).astype(np.float32)
    routing = rng.integers(0, 9, (31, 1)), np.ones((31, 1))
    want = oracle.layer(x, *routing, layer.experts, "silu")
    exact, of_f32 = run(x, routing=routing)
    rounded, of_bf16 = run(x, "--f16-as", "bf16", routing=routing)
    assert oracle.distance(exact, want) <= LIMIT["F16"]
    assert LIMIT["F16"] < oracle.distance(rounded, want) <= LIMIT["BF16"]
    assert (of_f32["dtype"], of_bf16["dtype"]) == ("f32", "bf16")
    assert of_bf16["expert_bytes"] < of_f32["expert_bytes"]


def test_more_tokens_than_the_workspace_takes(tmp_path, forward, rng):
    layer = make(rng, "gated", "F32", experts=4, d_model=32, d_hidden=24)
    run = forward(layer.write(tmp_path / "model", CONFIG["gated"]), NUMBER)
    x = rng.standard_normal((2500, 32)).astype(np.float32)
    routing = rng.integers(0, 4, (2500, 2)), rng.standard_normal((2500, 2)).astype(np.float32)
    y, report = run(x, routing=routing)
    assert report["config"]["max-tokens"] == {"value": 1024, "origin": "at most that many"}
    want = oracle.layer(x, *routing, layer.experts, "silu")
    assert oracle.distance(y, want) <= LIMIT["F32"]
    whole, _ = run(x, "--max-tokens", 2500, routing=routing)
    assert whole.tobytes() == y.tobytes()


def test_two_slots_of_many(tmp_path, forward, rng):
    """Experts large enough that the least budget holds two of them on any backend."""
    layer = make(rng, "gated", "F32", experts=11, d_model=256, d_hidden=1024)
    config = CONFIG["gated"] | {"num_experts_per_tok": 4, "norm_topk_prob": False}
    run = forward(layer.write(tmp_path / "model", config), NUMBER)
    x = oracle.clear_tokens(rng, 33, layer.router, 4)
    y, report = run(x, "--vram-target", run.least_target(x))
    ids, gates = oracle.route(x, layer.router, 4, "softmax", False)
    assert report["slots"] == 2 and report["evictions"] > 0
    want = oracle.layer(x, ids, gates, layer.experts, "silu")
    assert oracle.distance(y, want) <= LIMIT["F32"]


def test_shards_and_neighbours(tmp_path, forward, rng):
    """Each layer of several, in shards, gives its own result."""
    layers = {n: make(rng, "letters", "F32", experts=5, d_model=33, d_hidden=17, number=n)
              for n in (0, 2, 10)}
    tensors = {name: array for layer in layers.values() for name, array in layer.tensors.items()}
    tensors |= {"model.norm.weight": np.ones(33, np.float32)}
    weights = tmp_path / "model"
    weights.mkdir()
    checkpoints.write_shards(weights, tensors, "F32")
    checkpoints.write_config(weights, **CONFIG["letters"], num_experts_per_tok=2)
    for number, layer in layers.items():
        x = oracle.clear_tokens(rng, 6, layer.router, 2)
        ids, gates = oracle.route(x, layer.router, 2, "softmax", True)
        y, report = forward(weights, number)(x)
        want = oracle.layer(x, ids, gates, layer.experts, "silu")
        assert oracle.distance(y, want) <= LIMIT["F32"]
        assert report["layer"] == number and report["config"]["norm-topk"]["origin"] == "config.json"


def test_the_check_can_fail(tmp_path, forward, rng):
    """Weights of another rule must not pass: the limits mean something."""
    layer = make(rng, "gated", "F32")
    run = forward(layer.write(tmp_path / "model", CONFIG["gated"]), NUMBER)
    x = oracle.clear_tokens(rng, 20, layer.router, TOP_K)
    y, _ = run(x, "--top-k", TOP_K, "--no-norm-topk", "--scoring", "softmax")
    ids, gates = oracle.route(x, layer.router, TOP_K, "softmax", True)
    want = oracle.layer(x, ids, gates, layer.experts, "silu")
    assert oracle.distance(y, want) > 1e-3
