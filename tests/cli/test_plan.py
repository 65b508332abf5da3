# SPDX-License-Identifier: MIT
"""ufm plan: what it assumes, predicts and refuses."""
import csv
import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree

import numpy as np
import pytest
from conftest import unwrapped
from support import checkpoints, quantised

SHAPE = ["--layers", "3", "--experts", "16", "--top-k", "2", "--d-model", "256", "--d-hidden", "512",
         "--prompt", "32", "--headroom", "0", "--workload", "uniform"]
MACHINE = ["--link-gbps", "50", "--hbm-gbps", "3000", "--dram-gbps", "100", "--gflops", "100000"]
# The smallest of SHAPE's experts, gated and bf16.
BLOCK = 3 * 256 * 512 * 2


def rows(ufm, *arguments):
    ended = ufm("plan", *arguments, "-o", "json")
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(ended.stdout)


def test_a_ladder_from_the_smallest_to_all(ufm):
    found = rows(ufm, *SHAPE, *MACHINE)
    assert len(found) == 11 and not any(r["refused"] for r in found)
    assert [r["slots"] for r in (found[0], found[-1])] == [2, 48]
    for before, after in zip(found, found[1:]):
        assert before["vram_target_bytes"] < after["vram_target_bytes"]
        assert before["decode_hit_rate"] <= after["decode_hit_rate"] + 0.02
        assert before["decode_tokens_per_s"] < after["decode_tokens_per_s"] * 1.02
    last = found[-1]
    assert last["decode_hit_rate"] == last["prefill_hit_rate"] == last["share"] == 1
    assert last["decode_link_bytes_per_token"] == 0
    assert last["decode_cpu_tokens_per_s"] is None  # nothing misses
    for row in found:
        assert row["expert_bytes"] == BLOCK and row["bank_bytes"] == 48 * BLOCK
        uses = 3 * 2 * BLOCK
        assert row["decode_device_bytes_per_token"] == pytest.approx(uses)
        missed = (1 - row["decode_hit_rate"]) * uses
        assert row["decode_link_bytes_per_token"] == pytest.approx(missed)
        assert row["decode_hit_rate"] <= row["bound_hit_rate"] + 1e-9


TINY = ["--layers", "2", "--experts", "64", "--top-k", "2", "--d-model", "64", "--d-hidden", "64", "--workload", "uniform"]


def test_budgets_of_a_tiny_model_look_different(ufm):
    """Beside a headroom of 1 GiB they differ by less than a hundredth of one."""
    found = [r["vram_target_bytes"] for r in rows(ufm, *TINY, *MACHINE)]
    said = ufm("plan", *TINY, *MACHINE).stdout
    told = re.findall(r"^\| +(\d+\.\d\d) MiB \|", said, re.MULTILINE)
    assert [float(size) for size in told] == [round(size / 2**20, 2) for size in found] and len(told) == len(set(told)) > 1
    assert "GiB |" not in said and re.search(r"^10\d\d\.\d\d MiB: about", said)
    assert f"At {told[-1]} MiB everything is resident" in unwrapped(said)
    far = ufm("plan", *SHAPE, *MACHINE, "--headroom", "1GiB", "--vram-target", "2GiB,4GiB").stdout
    assert "| 2.00 GiB |" in far and "| 4.00 GiB |" in far


def test_equal_seeds_plan_alike(ufm):
    ended = [ufm("plan", *SHAPE, *MACHINE, "--seed", seed, "-o", "csv").stdout for seed in (1, 1, 2)]
    assert ended[0] == ended[1] != ended[2]
    assert len(list(csv.DictReader(ended[0].splitlines()))) == 11


def test_the_cpu_helps_where_host_memory_is_known(ufm):
    half = [*SHAPE, "--vram-target", "50%"]
    row, = rows(ufm, *half, *MACHINE, "--link-gbps", "5")
    assert row["decode_cpu_cpu_bytes_per_token"] > 0
    assert row["decode_cpu_tokens_per_s"] > row["decode_tokens_per_s"]
    alone, = rows(ufm, *half, "--link-gbps", "5", "--hbm-gbps", "3000")
    assert alone["decode_cpu_tokens_per_s"] is None and alone["dram_gbps"] is None


def test_the_quicker_way_is_the_headline(ufm):
    """For decode and prefill apart: in a slow host memory experts of so many rows are the link's, or of few."""
    half = [*SHAPE, "--vram-target", "50%", "--hbm-gbps", "3000", "--gflops", "100000"]
    chosen = set()
    for link, dram in ((5, 100), (50, 4), (20, 20), (50, 100)):
        row, = rows(ufm, *half, "--link-gbps", link, "--dram-gbps", dram)
        for phase in ("decode", "prefill"):
            alone, cpu = (row[f"{phase}{way}_tokens_per_s"] for way in ("", "_cpu"))
            takes_cpu = cpu is not None and cpu > alone
            assert row[f"{phase}_choice"] == ("cpu+link" if takes_cpu else "link")
            assert row[f"{phase}_choice_tokens_per_s"] == (cpu if takes_cpu else alone)
            chosen.add((phase, row[f"{phase}_choice"], cpu is None))
        text = unwrapped(ufm("plan", *half, "--link-gbps", link, "--dram-gbps", dram).stdout)
        refused = row["decode_cpu_tokens_per_s"] is not None and row["decode_choice"] == "link"
        assert ("the engine would decode over the link alone" in text) == refused
        assert "link alone" in text and "with CPU" in text
    assert {way for _, way, _ in chosen} == {"link", "cpu+link"}


def test_a_faster_link_is_faster_by_as_much_at_most(ufm):
    slow, = rows(ufm, *SHAPE, "--vram-target", "25%", "--link-gbps", "1", "--hbm-gbps", "3000")
    fast, = rows(ufm, *SHAPE, "--vram-target", "25%", "--link-gbps", "2", "--hbm-gbps", "3000")
    assert slow["decode_bound_by"] == fast["decode_bound_by"] == "link"
    assert 1.5 < fast["decode_tokens_per_s"] / slow["decode_tokens_per_s"] < 2
    assert slow["decode_hit_rate"] == fast["decode_hit_rate"]


def test_limit_beside_the_plan(ufm):
    """The floor of what is resident, or the reads of the bound over link and CPU together."""
    for batch in (1, 3):
        for row in rows(ufm, *SHAPE, *MACHINE, "--batch", batch):
            uses = batch * (row["decode_device_bytes_per_token"] + row["decode_cpu_bytes_per_token"])
            operations = 2 * batch * 2 * 3 * 3 * 256 * 512
            resident_s = max(uses / 3000e9, operations / 100000e9)
            gbps = max(50, row["sum_link_gbps"] + row["sum_cpu_gbps"])
            missed = 0 if row["slots"] == 48 else 1 - row["bound_hit_rate"]
            limit_s = max(resident_s, missed * uses / gbps / 1e9)
            assert row["limit_tokens_per_s"] == pytest.approx(batch / limit_s)
            assert row["fraction_of_limit"] == pytest.approx(
                row["decode_choice_tokens_per_s"] / row["limit_tokens_per_s"])
    ended = ufm("plan", *SHAPE, *MACHINE)
    assert "limit tok/s" in unwrapped(ended.stdout) and "of limit" in unwrapped(ended.stdout)


def test_a_plan_counts_what_our_own_products_do(ufm, tmp_path):
    """Not the vendor's rate that floors count with; rows of before have one rate, which was ours."""
    probed = {"backend": "cuda", "device": "a device", "probe_link_gbps": 50.0,
              "probe_hbm_gbps": 3000.0, "probe_threads": 3, "probe_gflops": 500.0}
    for row, gflops in ((probed, 500), (probed | {"probe_kernel_gflops": 200.0}, 200),
                        (probed | {"probe_kernel_gflops": None}, None)):
        (tmp_path / "machine.jsonl").write_text(json.dumps(row) + "\n")
        planned = rows(ufm, *SHAPE, "--machine", tmp_path / "machine.jsonl", "--vram-target", "50%")
        assert planned[0]["gflops"] == gflops


def test_people_are_told_what_was_assumed(ufm):
    ended = ufm("plan", *SHAPE, *MACHINE, "--disk-gbps", "2", "--batch", "2")
    assert (ended.returncode, ended.stderr) == (0, "")
    text = unwrapped(ended.stdout)
    for words in ("3 layers of 16 experts", "link 50.0 GB/s", "were not measured", "16 cores are assumed",
                  "uniform routing", "2 sequences at once", "from a disk of 2 GB/s", "Policy: ",
                  "everything is resident", "decode is bound by"):
        assert words in text
    assert "arithmetic is taken for free" not in text
    free = unwrapped(ufm("plan", *SHAPE, "--link-gbps", "50", "--hbm-gbps", "3000").stdout)
    assert "arithmetic is taken for free" in free


def test_what_a_prefetcher_could_save(ufm):
    told = ["--prefetch-recall", "0.5", "--prefetch-guesses", "2"]
    text = unwrapped(ufm("plan", *SHAPE, *MACHINE, *told).stdout)
    assert "A prefetcher that guesses 50 %" in text
    assert "prefetcher" not in unwrapped(ufm("plan", *SHAPE, *MACHINE).stdout)


# ---- models

def test_a_preset_and_its_checkpoint_agree(ufm, tmp_path):
    random = np.random.default_rng(5)
    tensors = {}
    for layer in range(2):
        tensors |= checkpoints.layer(random, "gated", f"model.layers.{layer}.mlp", 4, 16, 8)[0]
    checkpoints.write(tmp_path / "model.safetensors", tensors, "BF16")
    checkpoints.write_config(tmp_path, model_type="qwen3_moe", hidden_act="silu", num_experts_per_tok=2)
    found = rows(ufm, "--model", tmp_path, *MACHINE, "--prompt", "8", "--headroom", "0")
    assert (found[0]["layers"], found[0]["experts"], found[0]["top_k"]) == (2, 4, 2)
    assert found[0]["expert_bytes"] == 3 * 16 * 8 * 2


CONFIG = {"num_hidden_layers": 5, "first_k_dense_replace": 1, "n_routed_experts": 8,
          "num_experts_per_tok": 2, "hidden_size": 32, "moe_intermediate_size": 16,
          "intermediate_size": 999, "torch_dtype": "bfloat16"}


@pytest.mark.parametrize("named", [True, False])
def test_a_config_without_weights(ufm, tmp_path, named):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    arguments = ["--prompt", "8", "--headroom", "0", *MACHINE]
    row = rows(ufm, "--model", path if named else tmp_path, *arguments)[0]
    assert (row["layers"], row["experts"], row["top_k"]) == (4, 8, 2)
    assert row["expert_bytes"] == 3 * 32 * 16 * 2
    assert "config.json" in unwrapped(ufm("plan", "--model", path, *arguments).stdout)


@pytest.mark.parametrize("change, words", [
    ({"num_experts_per_tok": None}, "num_experts_per_tok"), ({"hidden_size": "x"}, "hidden_size"),
    ({"n_routed_experts": None}, "num_experts"), ({"num_hidden_layers": -1}, "num_hidden_layers"),
    ({"first_k_dense_replace": 5}, "no routed layer"), ({"num_experts_per_tok": 9}, "top-k")])
def test_a_config_that_does_not_say(ufm, tmp_path, change, words):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG | change))
    ended = ufm("plan", "--model", path, *MACHINE)
    assert ended.returncode == 4 and ended.stdout == ""
    assert "config.json" in ended.stderr and words in ended.stderr


def test_a_config_that_is_none(ufm, tmp_path):
    (tmp_path / "config.json").write_text('{"a": ')
    ended = ufm("plan", "--model", tmp_path, *MACHINE)
    assert ended.returncode == 4 and "config.json: byte 6: the text ends" in ended.stderr
    assert ufm("plan", "--model", tmp_path / "none", *MACHINE).returncode == 4


QUICK = ["--prompt", "4", "--headroom", "0", "--vram-target", "100%"]


def planned(ufm, path, config):
    """(layers, experts, top k, bytes of an expert), and what people are told."""
    if config is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(config if isinstance(config, str) else json.dumps(config))
    row, = rows(ufm, "--model", path, *MACHINE, *QUICK)
    text = unwrapped(ufm("plan", "--model", path, *MACHINE, *QUICK).stdout)
    return tuple(row[name] for name in ("layers", "experts", "top_k", "expert_bytes")), text


EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "hidden_size": 32, "moe_intermediate_size": 16,
           "num_hidden_layers": 6, "dtype": "bfloat16"}
GATED = 3 * 32 * 16 * 2


@pytest.mark.parametrize("change, layers, expert_bytes", [
    ({"model_type": "llama4_text", "interleave_moe_layer_step": 2, "intermediate_size": 16}, 3, GATED),
    ({"model_type": "jamba", "expert_layer_period": 3, "expert_layer_offset": 2}, 2, GATED),
    ({"model_type": "exaone_moe", "is_moe_layer": [False] + [True] * 5}, 5, GATED),
    ({"model_type": "glm4_moe_lite", "mlp_layer_types": ["dense", "dense"] + ["sparse"] * 4}, 4, GATED),
    ({"model_type": "deepseek_v2", "moe_layer_freq": 2, "first_k_dense_replace": 0, "num_hidden_layers": 5}, 3, GATED),
    ({"model_type": "mimo_v2_flash", "moe_layer_freq": [0, 0, 1, 1, 1, 1]}, 4, GATED),
    ({"model_type": "qwen2_moe", "decoder_sparse_step": 2, "mlp_only_layers": [0, 1]}, 2, GATED),
    ({"model_type": "nemotron_h", "hybrid_override_pattern": "ME*EM-", "mlp_hidden_act": "relu2"}, 2, 2 * 32 * 16 * 2),
    ({"model_type": "nemotron_h", "layers_block_type": ["mamba", "moe"], "num_hidden_layers": None,
      "moe_latent_size": 8}, 1, 2 * 8 * 16 * 2),
    ({"routed_expert_hidden_size": 8}, 6, 3 * 8 * 16 * 2),
    ({"num_experts_per_tok": [2] * 6, "moe_intermediate_size": [16] * 6}, 6, GATED),
    ({"dtype": "float32"}, 6, 2 * GATED),
])
def test_a_config_layer_by_layer(ufm, tmp_path, change, layers, expert_bytes):
    found, _ = planned(ufm, tmp_path / "config.json", EXPERTS | change)
    assert found == (layers, 8, 2, expert_bytes)


@pytest.mark.parametrize("config", [
    {"text_config": EXPERTS}, {"language_config": EXPERTS}, {"llm_config": EXPERTS},
    {"thinker_config": {"text_config": EXPERTS}, "vision_config": {"hidden_size": 7, "num_hidden_layers": 3}}])
def test_a_config_of_parts(ufm, tmp_path, config):
    found, _ = planned(ufm, tmp_path / "config.json", {"model_type": "some_vl"} | config)
    assert found == (6, 8, 2, GATED)


def test_what_was_taken_for_what(ufm, tmp_path):
    parts = {key: value for key, value in EXPERTS.items() if key != "dtype"}
    config = {"model_type": "x", "dtype": "float32", "quantization_config": {"quant_method": "fp8"},
              "text_config": parts, "talker_config": {"text_config": parts}}
    found, text = planned(ufm, tmp_path / "config.json", config)
    assert found == (6, 8, 2, 2 * GATED)
    assert "published quantised (fp8); here its experts are f32" in text
    assert "experts under talker_config are not counted" in text
    found, text = planned(ufm, tmp_path / "config.json", EXPERTS | {"model_type": "glm4_moe"})
    assert found[0] == 5 and "It does not say which layers are routed" in text
    _, text = planned(ufm, tmp_path / "config.json", parts)
    assert "does not say its type; bf16 is assumed" in text


def test_a_config_as_python_writes_it(ufm, tmp_path):
    """Whatever no plan needs may be anything; what one needs may not."""
    config = EXPERTS | {"time_step_limit": [0.0, float("inf")], "a": float("nan"), "b": float("-inf"), "c": 10**40,
                        "hidden_act": 7, "routed_scaling_factor": float("nan")}
    assert planned(ufm, tmp_path / "config.json", config)[0] == (6, 8, 2, GATED)
    for name in ("num_experts", "hidden_size", "num_hidden_layers", "num_experts_per_tok"):
        (tmp_path / "config.json").write_text(json.dumps(config | {name: float("inf")}))
        ended = ufm("plan", "--model", tmp_path, *MACHINE)
        assert ended.returncode == 4 and f"{name} is Infinity, expected a whole number" in ended.stderr


@pytest.mark.parametrize("change, words", [
    ({"is_moe": False}, "is_moe is false, expected true"),
    ({"is_moe": False, "model_type": "doge"}, "is_moe is false, expected true"),
    ({"moe_new_rule": [1, 3]}, "moe_new_rule is a list of 2: it sounds like layers, experts or routing"),
    ({"text_config": {}, "dense_every": 2}, "dense_every is 2"),
    ({"num_experts_per_tok": [1, 2, 2, 2, 2, 2]}, "num_experts_per_tok is 1 for layer 0 and 2 for layer 1"),
    ({"moe_intermediate_size": [16, 16]}, "moe_intermediate_size is a list of 2"),
    ({"moe_layer_freq": 2}, "moe_layer_freq is 2, expected 1 or a list"),
    ({"hidden_act": "relu2"}, "whether experts have a gate"),
    ({"model_type": "doge"}, "model_type doge: its experts are rows of an embedding"),
    ({"first_k_dense_replace": 2, "is_moe_layer": [False] + [True] * 5}, "layer 1 is routed by is_moe_layer"),
    ({"moe_topk": 3}, "num_experts_per_tok is 2, and moe_topk is 3"),
])
def test_a_config_that_is_not_understood(ufm, tmp_path, change, words):
    (tmp_path / "config.json").write_text(json.dumps(EXPERTS | change))
    ended = ufm("plan", "--model", tmp_path, *MACHINE)
    assert (ended.returncode, ended.stdout) == (4, "")
    assert "config.json: " in ended.stderr and words in ended.stderr and ended.stderr.count("\n") == 1


def test_a_config_by_another_name(ufm, tmp_path):
    assert planned(ufm, tmp_path / "some-model.json", EXPERTS)[0] == (6, 8, 2, GATED)
    (tmp_path / "some.json").write_text('{"weight_map": {"a": "none.safetensors"}}')
    assert "none.safetensors" in ufm("plan", "--model", tmp_path / "some.json", *MACHINE).stderr
    ended = ufm("info", tmp_path / "some-model.json")
    assert ended.returncode == 4 and "a config holds no weights" in ended.stderr


def write_weights(folder, **config):
    random = np.random.default_rng(5)
    tensors = {}
    for layer in range(2):
        tensors |= checkpoints.layer(random, "gated", f"model.layers.{layer}.mlp", 4, 16, 8)[0]
    checkpoints.write(folder / "model.safetensors", tensors, "BF16")
    checkpoints.write_config(folder, **config)
    return tensors


@pytest.mark.parametrize("config, words", [
    (dict(num_experts_per_tok=2), ""),
    (dict(num_experts_per_tok=2, hidden_activation="gelu_pytorch_tanh"), "hidden_activation is"),
    (dict(num_experts_per_tok=2, swiglu_limit=7.0), "swiglu_limit is set"),
    (dict(text_config=dict(top_k_experts=2, hidden_act="silu")), ""),
])
def test_weights_that_cannot_be_run_are_planned(ufm, tmp_path, config, words):
    write_weights(tmp_path, **config)
    found, text = planned(ufm, tmp_path, None)
    assert found == (2, 4, 2, 3 * 16 * 8 * 2)
    assert words in text and ("Nothing here can run them yet" in text) == bool(words)


def test_quantised_weights_count_as_they_are(ufm, tmp_path):
    layer = quantised.Quantised(np.random.default_rng(1), "int4", d_hidden=160)
    config = layer.config | {"num_experts": 3, "num_experts_per_tok": 2, "hidden_size": 192, "num_hidden_layers": 1,
                             "moe_intermediate_size": 160}
    layer.write(tmp_path, config)
    found, text = planned(ufm, tmp_path, None)
    matrices = 3 * 192 * 160 // 2  # four bits, and bf16 scales of 32 each
    assert found == (1, 3, 2, matrices + 3 * 192 * 160 // 32 * 2)
    assert "Its experts count as they are published, quantised (INT4)." in text


def test_a_config_beside_weights_that_do_not_say(ufm, tmp_path):
    """An incomplete download, and quantised weights: the config says everything."""
    tensors = write_weights(tmp_path, **EXPERTS | {"num_experts": 5})
    found, text = planned(ufm, tmp_path, None)
    assert found == (6, 5, 2, GATED)
    assert "The weights beside it were left aside" in text and "the weights hold 4" in text
    checkpoints.write(tmp_path / "model.safetensors",
                      tensors | {"model.layers.0.mlp.experts.0.up_proj.weight_scale": np.zeros(1)}, "BF16")
    assert planned(ufm, tmp_path / "model.safetensors", None)[0] == (6, 5, 2, GATED)
    checkpoints.write_config(tmp_path, num_experts=5)
    ended = ufm("plan", "--model", tmp_path, *MACHINE)
    assert ended.returncode == 4
    assert "quantised experts" in ended.stderr and "nor can it be planned without" in ended.stderr
    (tmp_path / "config.json").unlink()
    ended = ufm("plan", "--model", tmp_path, *MACHINE)
    assert ended.returncode == 4 and "nor can" not in ended.stderr


def test_towers_beside(ufm, tmp_path):
    """What several tokens at once need is no part of the bank, unless it is asked for."""
    tensors = write_weights(tmp_path, num_experts_per_tok=2)
    tensors |= checkpoints.layer(np.random.default_rng(5), "fused", "mtp.layers.0.mlp", 4, 16, 4)[0]
    checkpoints.write(tmp_path / "model.safetensors", tensors, "BF16")
    found, text = planned(ufm, tmp_path, None)
    assert found == (2, 4, 2, 3 * 16 * 8 * 2)
    assert "Left aside: 1 routed layer under mtp.layers (--prefix)." in text
    row, = rows(ufm, "--model", tmp_path, "--prefix", "mtp", *MACHINE, "--vram-target", "100%")
    assert (row["layers"], row["expert_bytes"]) == (1, 3 * 16 * 4 * 2)
    ended = ufm("plan", "--model", tmp_path, "--prefix", "talker", *MACHINE)
    assert ended.returncode == 4 and 'no routed layers under "talker"' in ended.stderr
    assert ufm("plan", *SHAPE, "--prefix", "mtp", *MACHINE).returncode == 2


def test_weights_of_any_name_beside_a_config(ufm, tmp_path):
    """A single file is a checkpoint whatever its name; of several without an index none is meant."""
    random = np.random.default_rng(5)
    tensors = write_weights(tmp_path, num_experts_per_tok=2)
    tensors |= checkpoints.layer(random, "fused", "mtp.layers.0.mlp", 4, 16, 4)[0]
    (tmp_path / "model.safetensors").unlink()
    checkpoints.write(tmp_path / "all-of-it.safetensors", tensors, "BF16")
    found, text = planned(ufm, tmp_path, None)
    assert found == (2, 4, 2, 3 * 16 * 8 * 2) and "Left aside: 1 routed layer under mtp.layers" in text
    row, = rows(ufm, "--model", tmp_path, "--prefix", "mtp", *MACHINE, "--vram-target", "100%")
    assert (row["layers"], row["expert_bytes"]) == (1, 3 * 16 * 4 * 2)
    checkpoints.write_config(tmp_path, **EXPERTS)
    found, text = planned(ufm, tmp_path, None)
    assert found == (6, 8, 2, GATED) and "The weights beside it were left aside" in text
    checkpoints.write(tmp_path / "another.safetensors", tensors, "BF16")
    found, text = planned(ufm, tmp_path, None)
    assert found == (6, 8, 2, GATED) and "left aside" not in text


def test_a_part_of_a_config_by_prefix(ufm, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"thinker_config": EXPERTS, "talker_config": EXPERTS | {"num_hidden_layers": 3}}))
    assert rows(ufm, "--model", path, *MACHINE, "--vram-target", "100%")[0]["layers"] == 6
    assert rows(ufm, "--model", path, "--prefix", "talker", *MACHINE, "--vram-target", "100%")[0]["layers"] == 3
    ended = ufm("plan", "--model", path, "--prefix", "mtp", *MACHINE)
    assert ended.returncode == 4 and "has no part for --prefix mtp" in ended.stderr


def test_layers_that_the_config_has_otherwise(ufm, tmp_path):
    """A shard alone is no model: the config counts."""
    write_weights(tmp_path, **EXPERTS | {"num_experts": 4, "hidden_size": 16, "moe_intermediate_size": 8})
    found, text = planned(ufm, tmp_path, None)
    assert found[0] == 6 and "config.json says 6 routed layers, the weights hold 2" in text
    write_weights(tmp_path, **EXPERTS | {"num_experts": 4, "hidden_size": 16, "moe_intermediate_size": 8,
                                         "mlp_only_layers": [1]})
    found, text = planned(ufm, tmp_path, None)
    assert found[0] == 5 and "config.json says that layer 1 is dense" in text


# ---- workloads

def write_trace(path, tokens=400, layers=3, experts=16, top_k=2, hot=None):
    random = np.random.default_rng(3)
    ids = np.argsort(random.random((tokens, layers, hot or experts)), axis=2)[:, :, :top_k]
    np.save(path, ids.astype(np.uint8))


def test_recorded_routing(ufm, tmp_path):
    write_trace(tmp_path / "hot.npy", hot=4)
    found, = rows(ufm, *SHAPE, *MACHINE, "--vram-target", "50%", "--workload", "trace:hot.npy")
    assert found["decode_hit_rate"] == 1  # four experts a layer are ever used, eight have a slot
    assert found["bound_hit_rate"] == 1
    uniform, = rows(ufm, *SHAPE, *MACHINE, "--vram-target", "50%")
    assert uniform["decode_hit_rate"] < 0.8
    text = unwrapped(ufm("plan", *SHAPE, *MACHINE, "--vram-target", "50%", "--workload", "trace:hot.npy").stdout)
    assert "recorded in hot.npy, which is short and read more than once" in text


def test_recorded_sequences(ufm, tmp_path):
    """Fewer sequences than the batch: hits are planned, the bound is not known."""
    random = np.random.default_rng(4)
    with open(tmp_path / "two.jsonl", "w", encoding="utf-8") as lines:
        for token in range(60):
            for layer in range(3):
                ids = random.permutation(16)[:2].tolist()
                lines.write(json.dumps({"sequence": token // 30, "token": token, "layer": layer,
                                        "experts": ids}) + "\n")
    half = [*SHAPE, *MACHINE, "--vram-target", "50%", "--workload", "trace:two.jsonl"]
    alone, = rows(ufm, *half)
    batch, = rows(ufm, *half, "--batch", "4")
    assert alone["bound_hit_rate"] > alone["decode_hit_rate"] > 0
    assert batch["bound_hit_rate"] is None and batch["decode_hit_rate"] > 0


def test_made_routing(ufm):
    half = [*SHAPE, *MACHINE, "--vram-target", "50%"]
    uniform, = rows(ufm, *half)
    sticky, = rows(ufm, *half, "--workload", "sticky")
    assert sticky["decode_hit_rate"] > uniform["decode_hit_rate"] + 0.05
    named, = rows(ufm, *half, "--workload", "sticky:0.3,1,0.05")
    assert sticky["decode_hit_rate"] != named["decode_hit_rate"] > uniform["decode_hit_rate"]
    for workload, words in (("sticky", "as that of gpt-oss-20b does"),
                            ("sticky:qwen3-30b-a3b", "as that of qwen3-30b-a3b does"),
                            ("sticky:0.3,1,0.05", "overlap 0.3, skew 1 and drift 0.05")):
        assert words in unwrapped(ufm("plan", *half, "--workload", workload).stdout)


@pytest.mark.parametrize("change, words", [
    ({"top_k": 3}, "ranks"), ({"layers": 2}, "layers"), ({"experts": 32}, "expert id")])
def test_recorded_routing_that_does_not_suit(ufm, tmp_path, change, words):
    write_trace(tmp_path / "other.npy", **change)
    ended = ufm("plan", *SHAPE, *MACHINE, "--workload", "trace:other.npy")
    assert ended.returncode == 4 and "other.npy" in ended.stderr and words in ended.stderr


# ---- what cannot run

def test_a_budget_that_is_too_small(ufm):
    ended = ufm("plan", *SHAPE, *MACHINE, "--vram-target", "1MiB")
    assert ended.returncode == 2 and ended.stdout == ""
    assert "--vram-target" in ended.stderr and "must be at least" in ended.stderr
    ended = ufm("plan", *SHAPE, *MACHINE, "--vram-target", "1MiB,1GiB")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "does not run" in unwrapped(ended.stdout) and "must be at least" in unwrapped(ended.stdout)
    turned = ufm("plan", *SHAPE, *MACHINE, "--vram-target", "1GiB,1MiB").stdout
    fixed, = {re.search("slots for experts, (.*) for the layers", unwrapped(text))[1] for text in (ended.stdout, turned)}
    assert fixed == "373.00 KiB"
    small, large = rows(ufm, *SHAPE, *MACHINE, "--vram-target", "1MiB,1GiB")
    assert "must be at least" in small["refused"] and small["decode_tokens_per_s"] is None
    assert large["refused"] is None and large["slots"] == 48


def test_a_bank_beyond_host_memory(ufm):
    ended = ufm("plan", *SHAPE, *MACHINE, "--ram", "16MiB")
    assert ended.returncode == 2 and ended.stdout == ""
    for words in ("36.00 MiB", "16.00 MiB", "no disk tier", "what would run"):
        assert words in ended.stderr
    assert ufm("plan", *SHAPE, *MACHINE, "--ram", "64MiB").returncode == 0


def test_a_machine_that_lacks_memory_is_no_reason_not_to_plan_another(ufm):
    # This one is probed; nobody has 1.2 TiB to lock.
    ended = ufm("plan", "--preset", "deepseek-v3", "--backend", "cpu", "--vram-target", "24GiB", "--prompt", "1")
    assert ended.returncode == 0 and "24 GiB: about" in unwrapped(ended.stdout)
    assert "warning: deepseek-v3" in ended.stderr and "no disk tier" in ended.stderr


CARD = ["--preset", "gpt-oss-20b", "--card"]


def test_a_card_by_name(ufm):
    ended = ufm("plan", *CARD, "rtx-4090")
    assert ended.returncode == 0, ended.stderr
    first, empty, model = ended.stdout.splitlines()[:3]
    assert re.fullmatch(r"24 GiB: about \d+ tok/s in the routed layers, \d+ % resident, bound by the link\.", first)
    assert empty == "" and model.startswith("**gpt-oss-20b**")
    for words in ("rtx-4090 by its data sheet (24 GiB, 1008 GB/s, 31.5 GB/s", "link 27.4 GB/s, device memory 937 GB/s",
                  "Without --dram-gbps the CPU's help is not planned", "Without --gflops"):
        assert words in unwrapped(ended.stdout), words
    sizes = [row["vram_target_bytes"] >> 30 for row in rows(ufm, *CARD, "rtx-4090")]
    assert sizes == [8, 12, 16, 24]
    everything = rows(ufm, *CARD, "h200")
    assert [row["vram_target_bytes"] >> 30 for row in everything[:-1]] == [8, 12, 16, 24, 32]
    assert everything[-1]["share"] == 1
    assert "tok/s in the routed layers, 100 % resident" in ufm("plan", *CARD, "h200").stdout.splitlines()[0]


def test_what_is_said_counts_more_than_a_card(ufm):
    told, = rows(ufm, *CARD, "rtx-4090", "--link-gbps", "20", "--vram-target", "12GiB")
    assert told["link_gbps"] == 20 and told["hbm_gbps"] == pytest.approx(0.93 * 1008)
    both = rows(ufm, *CARD, "rtx-4090", "--dram-gbps", "60")
    assert all(row["decode_cpu_tokens_per_s"] for row in both)


def test_a_card_that_is_not_known(ufm):
    ended = ufm("plan", *CARD, "rtx-4091")
    assert ended.returncode == 2 and "rtx-4090" in ended.stderr


@pytest.mark.parametrize("arguments, words", [
    ([], "found no model"),
    (["--preset", "olmoe-1b-7b", "--layers", "3"], "more than one"),
    (["--layers", "3"], "--experts"),
    ([*SHAPE, "--top-k", "17"], "--top-k"),
    ([*SHAPE, "--vram-target", "10GB"], "--vram-target"),
    ([*SHAPE, "--workload", "sometimes"], "--workload"),
    ([*SHAPE, "--workload", "sticky:nobody"], "--workload"),
    ([*SHAPE, "--workload", "sticky:2,1,0"], "--workload"),
    ([*SHAPE, "--policy", "min"], "--policy"),
    ([*SHAPE, "--batch", "4096", "--prompt", "65536"], "--batch x --prompt"),
    ([*SHAPE, "--prefetch-recall", "0.5"], "--prefetch-guesses"),
    ([*SHAPE, "rows.jsonl"], "--against"),
    (["--against"], "no FILE"),
    ([*SHAPE, "--ring", "40", "--vram-target", "50%"], "ring")])
def test_wrong_usage(ufm, arguments, words):
    ended = ufm("plan", *arguments, *MACHINE)
    assert ended.returncode == 2 and ended.stdout == "" and words in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_machine_that_is_no_file_of_rows(ufm, tmp_path):
    assert ufm("plan", *SHAPE, "--machine", "nothing.jsonl").returncode == 4
    (tmp_path / "rows.jsonl").write_text('{"mode": "ufm"}\n')
    ended = ufm("plan", *SHAPE, "--machine", "rows.jsonl")
    assert ended.returncode == 4 and "probe_link_gbps" in ended.stderr
    (tmp_path / "rows.jsonl").write_text('{"mode": "ufm"}\n{')
    ended = ufm("plan", *SHAPE, "--machine", "rows.jsonl")
    assert ended.returncode == 4 and "line 2" in ended.stderr


# ---- measured

BENCH = ["--backend", "cpu", "--modes", "ufm", "--layers", "2", "--experts", "8", "--top-k", "2",
         "--d-model", "64", "--d-hidden", "64", "--kind", "gated", "--dtype", "bf16", "--batch", "2",
         "--warmup", "6", "--steps", "12", "--headroom", "0", "--vram-target", "1MiB",
         "--link-gbps", "1", "--cpu-assist", "off", "--no-figures"]


@pytest.mark.parametrize("phase, seq", [("decode", []), ("prefill", ["--seq", "4"]),
                                        ("steps", ["--seq", "3"])])
def test_against_rows_of_bench(ufm, phase, seq):
    """The number of slots is exact; speeds of so small a case mean nothing."""
    ended = ufm("bench", *BENCH, "--vram-target", "300KiB", "--phase", phase, *seq)
    assert ended.returncode == 0, ended.stderr
    found = rows(ufm, "--against", "results/latest/runs.jsonl")
    assert len(found) == 1
    assert found[0]["slots"] == found[0]["slots_measured"] < 16
    assert abs(found[0]["hit_rate_error"]) < 0.15
    assert found[0]["tokens_per_s"] > 0 and found[0]["phase"] == phase
    text = unwrapped(ufm("plan", "--against", "results/latest/runs.jsonl", "results/latest/summary.json").stdout)
    assert "2 cases: " in text and "the number of slots exact in 2" in text


@pytest.mark.parametrize("ids", ["device", "ahead"])
@pytest.mark.parametrize("batch", [1, 3])
def test_against_the_same_made_routing(ufm, batch, ids):
    """The router of the benchmark is made again from its seed: every hit."""
    ended = ufm("bench", *BENCH, "--vram-target", "200KiB", "--phase", "decode", "--batch", batch,
                "--workload", "sticky:0.5,1,0.05", "--ids", ids)
    assert ended.returncode == 0, ended.stderr
    found, = rows(ufm, "--against", "results/latest/runs.jsonl")
    assert found["ids"] == ids
    assert found["slots"] == found["slots_measured"]
    assert found["hit_rate"] == pytest.approx(found["hit_rate_measured"])
    assert 0 < found["hit_rate"] < 1


@pytest.mark.parametrize("ids", ["device", "ahead"])
def test_against_a_prompt_longer_than_the_routers_are_wide(ufm, tmp_path, ids):
    """Tokens that share a column of the device's routers are routed alike: others are used, and every hit."""
    write_trace(tmp_path / "ids.npy", layers=2, experts=32)
    longer = [*BENCH, "--experts", "32", "--d-model", "32", "--batch", "1", "--seq", "40"]
    ended = ufm("bench", *longer, "--vram-target", "330KiB", "--phase", "prefill", "--warmup", "2",
                "--steps", "4", "--workload", "trace:ids.npy", "--ids", ids)
    assert ended.returncode == 0, ended.stderr
    found, = rows(ufm, "--against", "results/latest/runs.jsonl")
    assert found["slots"] == found["slots_measured"]
    assert found["hit_rate"] == pytest.approx(found["hit_rate_measured"])
    assert 0 < found["hit_rate"] < 1


def test_who_had_the_ids_ahead_is_known_of_earlier_rows(ufm, tmp_path):
    """Rows without the field had them ahead where the workload knows them."""
    ended = ufm("bench", *BENCH, "--phase", "decode", "--workload", "sticky:0.5,1,0.05")
    assert ended.returncode == 0, ended.stderr
    row = json.loads((tmp_path / "results" / "latest" / "runs.jsonl").read_text())
    assert row.pop("ids") == "device"
    even = row | {"workload": "uniform"}
    (tmp_path / "old.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(even) + "\n")
    old, uniform = rows(ufm, "--against", "old.jsonl")
    assert (old["ids"], uniform["ids"]) == ("ahead", "device")


def test_speeds_are_compared_as_the_row_counts_them(ufm, tmp_path):
    """Earlier rows have the median step's; some steps miss more than others."""
    ended = ufm("bench", *BENCH, "--vram-target", "200KiB", "--phase", "decode", "--workload",
                "sticky:0.5,1,0.05")
    assert ended.returncode == 0, ended.stderr
    row = json.loads((tmp_path / "results" / "latest" / "runs.jsonl").read_text())
    del row["tokens_per_s_median"]
    (tmp_path / "old.jsonl").write_text(json.dumps(row) + "\n")
    mean, median = rows(ufm, "--against", "results/latest/runs.jsonl", "old.jsonl")
    assert mean["hit_rate"] == median["hit_rate"]
    assert mean["tokens_per_s"] != pytest.approx(median["tokens_per_s"])


def test_against_what_was_asked_of_the_cpu(ufm, tmp_path):
    """A share with the CPU that was asked for is planned; where the engine chose, the quicker way."""
    ended = ufm("bench", *BENCH, "--vram-target", "200KiB", "--phase", "decode", "--workload",
                "sticky:0.5,1,0.05", "--link-gbps", "1", "--cpu-assist", "2")
    assert ended.returncode == 0, ended.stderr
    row = json.loads((tmp_path / "results" / "latest" / "runs.jsonl").read_text())
    assert (row["cpu_assist"], row["cpu_assist_asked"], row["cpu_threads"]) == ("on", "2", 2)
    told = row | {"probe_sum_link_gbps": 0.9, "probe_sum_cpu_gbps": 20.0}
    slow = told | {"probe_sum_cpu_gbps": 0.1}
    earlier = {name: value for name, value in slow.items() if name != "cpu_assist_asked"}
    cases = [told | {"cpu_assist_asked": "auto"}, slow, slow | {"cpu_assist_asked": "auto"}, earlier,
             slow | {"cpu_threads": 0, "cpu_assist_asked": "off"}]
    (tmp_path / "some.jsonl").write_text("".join(json.dumps(each) + "\n" for each in cases))
    fast, asked, auto, before, off = rows(ufm, "--against", "some.jsonl")
    assert [each["cpu"] for each in (fast, asked, auto, before, off)] == [True] * 4 + [False]
    assert fast["cpu_chosen"] and asked["cpu_chosen"] and before["cpu_chosen"]
    assert not auto["cpu_chosen"] and not off["cpu_chosen"]
    assert asked["tokens_per_s"] == before["tokens_per_s"] <= auto["tokens_per_s"] == off["tokens_per_s"]
    assert "on, not chosen" in unwrapped(ufm("plan", "--against", "some.jsonl").stdout)


def test_against_the_same_recorded_routing(ufm, tmp_path):
    """What is recorded is replayed as the engine ran it: every hit."""
    write_trace(tmp_path / "ids.npy", layers=2, experts=8)
    ended = ufm("bench", *BENCH, "--vram-target", "200KiB", "--phase", "decode", "--workload",
                "trace:ids.npy")
    assert ended.returncode == 0, ended.stderr
    shutil.move(tmp_path / "ids.npy", tmp_path / "elsewhere.npy")
    found, = rows(ufm, "--against", "results/latest/runs.jsonl", "--workload", "trace:elsewhere.npy")
    assert found["slots"] == found["slots_measured"] < 16
    assert found["hit_rate"] == pytest.approx(found["hit_rate_measured"])
    assert 0 < found["hit_rate"] < 1
    ended = ufm("plan", "--against", "results/latest/runs.jsonl")
    assert ended.returncode == 4 and "left out" in ended.stderr and "ids.npy" in ended.stderr
    row = json.loads((tmp_path / "results" / "latest" / "runs.jsonl").read_text())
    (tmp_path / "some.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row | {"seq": None}) + "\n")
    ended = ufm("plan", "--against", "some.jsonl", "--workload", "trace:elsewhere.npy")
    assert ended.returncode == 4 and "line 2 is left out" in ended.stderr
    assert "1 cases: " in unwrapped(ended.stdout) and "1 rows are left out" in unwrapped(ended.stdout)


@pytest.mark.parametrize("arguments", [["--against"], [*SHAPE, "--machine"]])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")],
                         ids=["fifo", "folder", "device"])
def test_rows_that_are_no_regular_file_are_refused_at_once(ufm, tmp_path, arguments, make):
    make(tmp_path / "rows.jsonl")
    ended = ufm("plan", *arguments, "rows.jsonl", timeout=10)
    assert ended.returncode == 4 and ended.stdout == ""
    assert ended.stderr == "ufm plan: error: rows.jsonl: is not a regular file\n"


def test_a_last_row_cut_short_is_left_out_with_a_warning(ufm, tmp_path):
    assert ufm("bench", *BENCH, "--phase", "decode").returncode == 0
    text = (tmp_path / "results" / "latest" / "runs.jsonl").read_text()
    (tmp_path / "cut.jsonl").write_text(text + text[:len(text) // 2])
    ended = ufm("plan", "--against", "cut.jsonl", "-o", "json")
    assert ended.returncode == 0 and len(json.loads(ended.stdout)) == 1
    assert ended.stderr == "ufm: warning: cut.jsonl: line 2: cut short, left out\n"


@pytest.fixture(scope="module")
def measured(ufm_path, tmp_path_factory):
    """A row of ufm bench."""
    folder = tmp_path_factory.mktemp("measured")
    subprocess.run([ufm_path, "bench", *BENCH, "--phase", "decode"], cwd=folder, check=True,
                   capture_output=True)
    return json.loads((folder / "results" / "latest" / "runs.jsonl").read_text())


@pytest.mark.parametrize("change, words", [
    ({"warmup": 2**32 - 2}, "warmup: found 4294967294, expected a whole number from 0 to 100000"),
    ({"warmup": 1000000}, "warmup: found 1000000, expected"),
    ({"warmup": 99999, "layers": 64}, "warmup and step_ms: found 100011 steps, expected at most"),
    ({"warmup": -1}, "warmup: found -1, expected"), ({"warmup": 1.5}, "warmup: found 1.5, expected"),
    ({"batch": 65537}, "batch: found 65537, expected"), ({"seq": 2**32 + 1}, "seq: found 4294967297"),
    ({"batch": 65536, "seq": 65536}, "batch and seq: found 65536 x 65536 tokens, expected"),
    ({"layers": 2**32 + 2}, "layers: found 4294967298, expected"), ({"layers": 0}, "layers: found 0"),
    ({"layers": 4096, "num_experts": 65536}, "layers x experts: found 268435456, expected"),
    ({"num_experts": 2**32 + 8}, "num_experts: found"), ({"num_experts": None}, "num_experts: found null"),
    ({"top_k": 2**32 + 2}, "top_k: found"), ({"top_k": "2"}, 'top_k: found "2"'),
    ({"d_model": 2**33}, "d_model: found"), ({"d_hidden": 0}, "d_hidden: found 0"),
    ({"step_ms": "x"}, "step_ms: found 0 steps, expected"), ({"step_ms": []}, "step_ms: found 0 steps"),
    ({"uses": -1}, "uses: found -1"), ({"uses": 0}, "resident_uses: found"),
    ({"tokens_per_s": 0}, "tokens_per_s: found 0, expected a number"),
    ({"tokens_per_s": 1e300}, "tokens_per_s: found 1"), ({"slots": -1}, "slots: found -1"),
    ({"link_gbps_emulated": 100001}, "link_gbps_emulated: found 100001, expected a number from 0 to 100000"),
    ({"probe_link_gbps": -1}, "probe_link_gbps: found -1"), ({"probe_hbm_gbps": "x"}, "probe_hbm_gbps: found"),
    ({"probe_sum_cpu_gbps": 1e30}, "probe_sum_cpu_gbps: found"), ({"probe_threads": 2**40}, "probe_threads"),
    ({"probe_hbm_gbps": None}, "probe_link_gbps, probe_hbm_gbps: found nothing"),
    ({"cpu_threads": 2**32}, "cpu_threads: found"), ({"max_tokens": 2**32 + 1}, "max_tokens: found"),
    ({"ring_slots": 2**32 + 2}, "ring_slots: found"), ({"seed": -1}, "seed: found -1"),
    ({"headroom_bytes": -1}, "headroom_bytes: found -1"), ({"vram_target_bytes": []}, "vram_target_bytes: found []"),
    ({"policy": "best"}, "policy: found 'best', expected"), ({"kind": 7}, "kind: found '', expected"),
    ({"workload": "trace:" + "x" * 2000}, "workload: found 2006 characters"),
], ids=str)
def test_numbers_of_rows_that_are_out_of_range(ufm, tmp_path, measured, change, words):
    """Those of the line are named, the others are predicted, and at once."""
    good, bad = json.dumps(measured), json.dumps(measured | change)
    (tmp_path / "some.jsonl").write_text(f"{good}\n\n{bad}\n")
    ended = ufm("plan", "--against", "some.jsonl", "-o", "json", timeout=20)
    assert ended.returncode == 4 and len(json.loads(ended.stdout)) == 1
    assert ended.stderr.startswith("ufm plan: error: some.jsonl: line 3 is left out: " + words)
    assert ended.stderr.count("\n") == 1


def test_a_run_that_used_nothing_keeps_its_fields(ufm, tmp_path, measured):
    """Of nothing there is no hit rate: null, and not a row that lacks it."""
    nothing = json.dumps(measured | {"uses": 0, "resident_uses": 0})
    (tmp_path / "some.jsonl").write_text(nothing + "\n" + json.dumps(measured) + "\n")
    empty, full = rows(ufm, "--against", "some.jsonl")
    assert list(empty) == list(full)
    assert empty["hit_rate_measured"] is None and empty["hit_rate_error"] is None
    text = unwrapped(ufm("plan", "--against", "some.jsonl").stdout)
    assert " - " in text and "nan" not in text


def test_a_number_that_no_machine_has(ufm, tmp_path, measured):
    (tmp_path / "some.jsonl").write_text(json.dumps(measured | {"probe_hbm_gbps": -3}) + "\n")
    ended = ufm("plan", *SHAPE, "--machine", "some.jsonl")
    assert ended.returncode == 4
    assert "some.jsonl: line 1: probe_hbm_gbps: found -3, expected a number from 0" in ended.stderr
    (tmp_path / "some.json").write_text(json.dumps({"rows": [measured, measured | {"batch": -3}]}))
    ended = ufm("plan", "--against", "some.json")
    assert ended.returncode == 4 and "some.json: row 2 is left out: batch: found -3" in ended.stderr


def test_a_pipe_is_no_model(ufm):
    """Also where a config.json beside it could be planned."""
    os.mkfifo(ufm.folder / "pipe")
    (ufm.folder / "config.json").write_text(json.dumps({"model_type": "mixtral", "num_hidden_layers": 2,
        "num_local_experts": 4, "num_experts_per_tok": 2, "hidden_size": 64, "intermediate_size": 32}))
    ended = ufm("plan", "--model", "pipe", timeout=10)
    assert ended.returncode == 4 and "pipe: is not a regular file" in ended.stderr


def test_what_would_take_minutes_is_refused_at_once(ufm, tmp_path):
    many = CONFIG | {"num_hidden_layers": 4000, "n_routed_experts": 4096, "first_k_dense_replace": 0}
    (tmp_path / "config.json").write_text(json.dumps(many))
    ended = ufm("plan", "--model", ".", *MACHINE, timeout=10)
    assert ended.returncode == 4
    assert "layers x experts: found 16384000, expected at most 131072" in ended.stderr
    ended = ufm("plan", *SHAPE, *MACHINE, "--layers", "1000", "--experts", "128", "--prompt", "65536",
                "--workload", "sticky", timeout=10)
    assert ended.returncode == 2
    assert "--batch and --prompt: found 1 and 65536, which route" in ended.stderr
    assert "expected at most 33554 tokens there" in ended.stderr


def test_a_machine_from_rows_of_bench(ufm):
    assert ufm("bench", *BENCH, "--phase", "decode").returncode == 0
    ended = ufm("plan", *SHAPE, "--machine", "results/latest/runs.jsonl")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "results/latest/runs.jsonl probed it" in unwrapped(ended.stdout) and "(emulated)" in unwrapped(ended.stdout)
    row = rows(ufm, *SHAPE, "--machine", "results/latest/runs.jsonl", "--link-gbps", "7")[0]
    assert row["link_gbps"] == 7 and row["backend"] == "cpu"


def test_this_machine_is_probed(ufm):
    ended = ufm("plan", *SHAPE, "--backend", "cpu", "--link-gbps", "2")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "this machine" in unwrapped(ended.stdout) and "(emulated)" in unwrapped(ended.stdout)


# ---- files

def test_a_folder_of_everything(ufm, tmp_path):
    ended = ufm("plan", *SHAPE, *MACHINE, "--out", "plan", "--wide")
    assert ended.returncode == 0
    assert (tmp_path / "plan" / "plan.md").read_text() == ended.stdout
    written = [json.loads(line) for line in open(tmp_path / "plan" / "plan.jsonl", encoding="utf-8")]
    assert written == rows(ufm, *SHAPE, *MACHINE)
    if shutil.which("gnuplot"):
        assert ended.stderr == ""
        assert (tmp_path / "plan" / "plan.png").read_bytes()[:4] == b"\x89PNG"
        assert "decode, tokens/s" in (tmp_path / "plan" / "plan.svg").read_text()
    ended = ufm("plan", *SHAPE, *MACHINE, "--out", "none/plan")
    assert ended.returncode == 1 and "none/plan" in ended.stderr


@pytest.mark.skipif(shutil.which("gnuplot") is None, reason="gnuplot missing")
@pytest.mark.parametrize("name", [
    "a';system('touch pwned')#", "`touch pwned`", "'.system('touch pwned').'",
    '".system("touch pwned")."', "b\nsystem('touch pwned')\n#", "{ @x_1 } \\"])
def test_a_model_name_is_drawn_and_never_run(ufm, tmp_path, name):
    model = tmp_path / name
    model.mkdir()
    larger = {"hidden_size": 1024, "moe_intermediate_size": 512}
    (model / "config.json").write_text(json.dumps(CONFIG | larger))
    ended = ufm("plan", "--model", name, "--prompt", "8", "--headroom", "0", *MACHINE, "--out", "plan")
    assert (ended.returncode, ended.stderr) == (0, "")
    texts = xml.etree.ElementTree.parse(tmp_path / "plan" / "plan.svg").iter(
        "{http://www.w3.org/2000/svg}text")
    labels = ["".join(text.itertext()).strip() for text in texts]
    assert f"{name}, batch 1, prompts of 8 tokens: planned".replace("\n", "?") in labels
    assert not list(tmp_path.rglob("pwned"))
