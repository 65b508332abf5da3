# SPDX-License-Identifier: MIT
"""`ufm forward` on GGUF files that the `gguf` package wrote, against float64 on what the same package makes of them."""
import subprocess

import numpy as np
import pytest
from support import gguf_files, oracle

LIMIT = 1e-5
TOP_K = 3
GPT_OSS = oracle.Gating("silu", act_alpha=np.float32(1.702), gate_limit=7.0, up_limit=7.0, up_offset=1.0)


def same(name):
    return {"gate": name, "up": name, "down": name}


def check(forward, rng, path, layer, tokens=40, rule="silu", router=True):
    """Every placement gives one set of bits, near the truth."""
    run = forward(path, layer.number)
    x = oracle.clear_tokens(rng, tokens, layer.router, TOP_K)
    ids, gates = oracle.route(x, layer.router, TOP_K, "softmax", True)
    given = {} if router else {"routing": (ids, gates)}
    want = oracle.layer(x, ids, gates.astype(np.float32) if given else gates, layer.experts, rule)
    first, report = run(x, **given)
    assert oracle.distance(first, want) <= LIMIT
    least = run.least_target(x, **given)
    few, paged = run(x, "--vram-target", least, **given)
    assert paged["streamed_uses"] > 0
    for y in (few, run(x, "--mode", "naive_offload", **given)[0]):
        assert y.tobytes() == first.tobytes()
    return report


@pytest.mark.parametrize("name", gguf_files.TYPES)
def test_every_type(tmp_path, forward, rng, name):
    """A budget of one working set, everything resident, and offloading: the same bits."""
    layer = gguf_files.Layer(rng, 2, same(name), 9, 256, 512)
    path = gguf_files.write(tmp_path / "m.gguf", "qwen3moe", gguf_files.keys([layer], TOP_K), [layer])
    report = check(forward, rng, path, layer)
    assert report["dtype"] == (name.lower() if name in ("F32", "F16", "BF16") else name)


@pytest.mark.parametrize("tokens", [1, 300])
@pytest.mark.parametrize("scheme", ["stacked", "fused", "single"])
def test_layouts(tmp_path, forward, rng, scheme, tokens):
    types = {"gate": "Q5_K", "up": "Q5_K", "down": "Q6_K"}
    layers = [gguf_files.Layer(rng, i, types, 5, 512, 256, scheme) for i in (1, 2)]
    path = gguf_files.write(tmp_path / "m.gguf", "llama", gguf_files.keys(layers, TOP_K), layers)
    for layer in layers:
        report = check(forward, rng, path, layer, tokens)
        assert report["dtype"] == "gate Q5_K, up Q5_K, down Q6_K"


@pytest.mark.parametrize("shards, alignment", [(3, None), (1, 256)])
def test_layers_of_several_kinds(tmp_path, forward, rng, shards, alignment):
    """Each layer is taken with its own kind, split over files or aligned as the file says."""
    kinds = [("Q4_K", "Q6_K"), ("Q4_K", "Q4_K"), ("Q8_0", "F16")]
    layers = [gguf_files.Layer(rng, i, {"gate": a, "up": a, "down": b}, 4, 256, 256)
              for i, (a, b) in enumerate([kinds[k] for k in (0, 1, 0, 2)])]
    said = gguf_files.keys(layers, TOP_K)
    path = gguf_files.write(tmp_path / "m.gguf", "qwen3moe", said, layers, 9, shards, alignment)
    for layer in layers:
        check(forward, rng, path, layer)


def test_gpt_oss(tmp_path, forward, rng):
    """Biases, a clamped gate, and routing by the caller, as its router adds a bias."""
    layer = gguf_files.Layer(rng, 0, same("MXFP4"), 6, 128, 96, biases=True)
    path = gguf_files.write(tmp_path / "m.gguf", "gpt-oss", gguf_files.keys([layer], TOP_K), [layer])
    check(forward, rng, path, layer, rule=GPT_OSS, router=False)


def test_experts_without_a_gate(tmp_path, forward, rng):
    layer = gguf_files.Layer(rng, 0, {"up": "Q8_0", "down": "Q4_0"}, 6, 128, 96)
    path = gguf_files.write(tmp_path / "m.gguf", "nemotron_h_moe", gguf_files.keys([layer], TOP_K), [layer])
    check(forward, rng, path, layer, rule="relu2", router=False)


@pytest.mark.parametrize("f16_as, dtype", [("f32", "f32"), ("bf16", "bf16"), ("auto", "f16")])
def test_halves_become_what_is_asked(tmp_path, forward, rng, f16_as, dtype):
    layer = gguf_files.Layer(rng, 0, same("F16"), 4, 64, 96)
    path = gguf_files.write(tmp_path / "m.gguf", "qwen3moe", gguf_files.keys([layer], TOP_K), [layer])
    x = oracle.clear_tokens(rng, 30, layer.router, TOP_K)
    want = oracle.layer(x, *oracle.route(x, layer.router, TOP_K, "softmax", True), layer.experts, "silu")
    y, report = forward(path, 0)(x, "--f16-as", f16_as)
    assert report["dtype"] == dtype
    distance = oracle.distance(y, want)
    assert LIMIT < distance < 1e-2 if dtype == "bf16" else distance <= LIMIT


def test_a_folder_with_one_model(tmp_path, forward, rng):
    layer = gguf_files.Layer(rng, 0, same("Q8_0"), 4, 64, 96)
    folder = tmp_path / "model"
    folder.mkdir()
    gguf_files.write(folder / "m.gguf", "qwen3moe", gguf_files.keys([layer], TOP_K), [layer], shards=2)
    check(forward, rng, folder, layer)


def test_a_file_by_its_first_bytes(tmp_path, forward, rng):
    """As other programs store them, under a digest."""
    layer = gguf_files.Layer(rng, 0, same("Q8_0"), 4, 64, 96)
    gguf_files.write(tmp_path / "m.gguf", "qwen3moe", gguf_files.keys([layer], TOP_K), [layer])
    path = (tmp_path / "m.gguf").rename(tmp_path / "sha256-00")
    check(forward, rng, path, layer)


@pytest.mark.parametrize("architecture, norm, scoring, more", [
    ("olmoe", False, "softmax", {}),
    ("qwen2moe", False, "softmax", {}),
    ("deepseek2", True, "sigmoid", {"expert_gating_func": 2, "expert_weights_norm": True}),
    ("deepseek2", False, "softmax", {"expert_gating_func": 1}),
    ("dots1", True, "softmax", {"expert_gating_func": 3, "expert_weights_scale": 1.0}),
])
def test_rules(tmp_path, forward, rng, architecture, norm, scoring, more):
    layer = gguf_files.Layer(rng, 0, same("Q8_0"), 6, 64, 96)
    path = gguf_files.write(tmp_path / "m.gguf", architecture, gguf_files.keys([layer], TOP_K, **more), [layer])
    x = oracle.clear_tokens(rng, 30, layer.router, TOP_K)
    want = oracle.layer(x, *oracle.route(x, layer.router, TOP_K, scoring, norm), layer.experts, "silu")
    y, _ = forward(path, 0)(x)
    assert oracle.distance(y, want) <= LIMIT


REFUSED = [
    ("grok", {}, 4, 'general.architecture is "grok": what its experts compute is not known'),
    ("gpt-oss", {}, 4, "its router adds a bias to the logits; expected --ids and --gates"),
    ("qwen3moe", {"expert_weights_scale": 2.5}, 4, "qwen3moe.expert_weights_scale is 2.5, expected 0 or 1"),
    ("qwen3moe", {"expert_group_count": 8}, 4, "qwen3moe.expert_group_count is 8, expected 0 or 1"),
    ("qwen3moe", {"expert_weights_norm": False}, 4, "expert_weights_norm is false, expected true of this arch"),
    ("qwen3moe", {"expert_gating_func": 2}, 4, "expert_gating_func is 2, expected what its architecture does"),
    ("qwen3moe", {"expert_gating_func": 4}, 4, "expert_gating_func is 4, expected 0 … 3"),
    ("qwen3moe", {"router_logit_softcapping": 30.0}, 4, "router_logit_softcapping is 30, expected 0"),
    ("qwen3moe", {"expert_mystery": 1}, 4, "qwen3moe.expert_mystery: sounds like experts or routing"),
    ("qwen3moe", {"swiglu_clamp_exp": [7.0]}, 4, "qwen3moe.swiglu_clamp_exp is set, which is not understood"),
    ("qwen3moe", {"expert_count": 9}, 4, "its key-values say expert_count 9, the tensors of layer 0 have 4"),
    ("qwen3moe", {"embedding_length": 65}, 4, "its key-values say d_model 65, the tensors of layer 0 have 64"),
    ("qwen3moe", {"expert_feed_forward_length": 1}, 4, "say d_hidden 1, the tensors of layer 0 have 96"),
    ("deepseek2", {}, 2, "--scoring: found nothing"),
]


@pytest.mark.parametrize("architecture, more, code, line", REFUSED)
def test_models_that_would_be_computed_wrongly(tmp_path, forward, rng, architecture, more, code, line):
    layer = gguf_files.Layer(rng, 0, same("Q8_0"), 4, 64, 96)
    path = gguf_files.write(tmp_path / "m.gguf", architecture, gguf_files.keys([layer], TOP_K, **more), [layer])
    ended = forward(path, 0).run(rng.standard_normal((2, 64)).astype(np.float32))
    assert ended.returncode == code
    assert line in ended.stderr.replace("\n", " ") and "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["exp_probs_b.bias", "ffn_gate_inp.bias"])
def test_a_router_with_more_than_a_weight(tmp_path, forward, rng, name):
    layer = gguf_files.Layer(rng, 0, same("Q8_0"), 4, 64, 96)
    layer.add(name, np.ones(4, np.float32), "F32")
    path = gguf_files.write(tmp_path / "m.gguf", "qwen3moe", gguf_files.keys([layer], TOP_K), [layer])
    x = rng.standard_normal((2, 64)).astype(np.float32)
    ended = forward(path, 0).run(x)
    assert ended.returncode == 4 and f'"blk.0.{name}": a router with more than a weight' in ended.stderr
    routing = rng.integers(0, 4, (2, 2)), np.ones((2, 2))
    y, _ = forward(path, 0)(x, routing=routing)
    assert oracle.distance(y, oracle.layer(x, *routing, layer.experts, "silu")) <= LIMIT


@pytest.mark.parametrize("name, line", [
    ("ffn_gate_exps.scale", "not a known name of an expert's weights"),
    ("ffn_up_chexps.weight", "not a known name of an expert's weights"),
    ("ffn_norm_exps.weight", "not a known name of an expert's weights"),
    ("ffn_up_gate_exps.weight", "not a known name of an expert's weights"),
    ("ffn_gate_up_exps.weight", "are both the gate matrix of layer 0"),
    ("ffn_up.0.weight", "are both the up matrix of layer 0"),
])
def test_experts_that_are_not_understood(tmp_path, forward, rng, name, line):
    layer = gguf_files.Layer(rng, 0, same("Q8_0"), 4, 64, 96)
    layer.add(name, np.ones((4, 192, 64), np.float32), "F32")
    path = gguf_files.write(tmp_path / "m.gguf", "qwen3moe", gguf_files.keys([layer], TOP_K), [layer])
    ended = forward(path, 0).run(np.zeros((1, 64), np.float32))
    assert ended.returncode == 4 and line in ended.stderr


@pytest.mark.parametrize("name", ["Q2_K", "Q3_K", "Q4_1", "Q5_1", "IQ2_XXS", "IQ3_S", "TQ1_0", "NVFP4"])
def test_types_that_are_not_read(tmp_path, forward, rng, name):
    import gguf
    elements, size = gguf.GGML_QUANT_SIZES[gguf_files.number(name)]
    layer = gguf_files.Layer(rng, 0, same("Q8_0"), 4, 256, 256)
    layer.add("ffn_down_exps.weight", np.zeros((4, 256, 256 // elements * size), np.uint8), name)
    path = gguf_files.write(tmp_path / "m.gguf", "qwen3moe", gguf_files.keys([layer], TOP_K), [layer])
    ended = forward(path, 0).run(np.zeros((1, 256), np.float32))
    assert ended.returncode == 4
    assert f'"blk.0.ffn_down_exps.weight": experts of type {name} are not understood' in ended.stderr


def test_layers_past_the_last_are_left_aside(tmp_path, forward, rng):
    layers = [gguf_files.Layer(rng, i, same("Q8_0"), 4, 64, 96) for i in range(3)]
    said = gguf_files.keys(layers, TOP_K, nextn_predict_layers=1, expert_gating_func=1)
    path = gguf_files.write(tmp_path / "m.gguf", "glm4moe", said, layers)
    run = forward(path, 2)
    x = oracle.clear_tokens(rng, 5, layers[2].router, TOP_K)
    assert run.run(x).returncode == 4
    ids, gates = oracle.route(x, layers[2].router, TOP_K, "softmax", False)
    y, _ = run(x, "--prefix", "blk.2")
    assert oracle.distance(y, oracle.layer(x, ids, gates, layers[2].experts, "silu")) <= LIMIT


def test_a_missing_file_is_named(tmp_path, forward, rng):
    layer = gguf_files.Layer(rng, 0, same("Q8_0"), 4, 64, 96)
    path = gguf_files.write(tmp_path / "m.gguf", "qwen3moe", gguf_files.keys([layer], TOP_K), [layer], shards=3)
    (tmp_path / "m-00002-of-00003.gguf").unlink()
    ended = forward(path, 0).run(np.zeros((1, 64), np.float32))
    assert isinstance(ended, subprocess.CompletedProcess) and ended.returncode == 4
    assert "m-00002-of-00003.gguf: cannot be opened" in ended.stderr
