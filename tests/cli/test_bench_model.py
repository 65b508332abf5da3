# SPDX-License-Identifier: MIT
"""ufm bench --model: a checkpoint under test, with its own routers or a recorded routing; and --dtype."""
import json

import numpy as np
import pytest
from conftest import unwrapped
from support import checkpoints

EXPERTS, D_MODEL, D_HIDDEN, LAYERS = 6, 32, 48, 3
CONFIG = {"model_type": "qwen3_moe", "hidden_act": "silu", "num_experts_per_tok": 2, "norm_topk_prob": True,
          "num_hidden_layers": LAYERS, "num_experts": EXPERTS, "hidden_size": D_MODEL, "moe_intermediate_size": D_HIDDEN}
# Blocks of 20 KiB: slots for a third of them.
RUN = ["--backend", "cpu", "--headroom", "0", "--seq", "3", "--batch", "2", "--steps", "4", "--vram-target", "192KiB",
       "--no-out", "--probe", "off", "-o", "json"]


def make(folder, dtype="F32", routers=True, config=CONFIG, scale=None):
    """A checkpoint of three layers; gives its tensors."""
    random = np.random.default_rng(7)
    tensors = {}
    for number in range(LAYERS):
        layer = checkpoints.Routed(random, "gated", number, EXPERTS, D_MODEL, D_HIDDEN, dtype)
        if not routers:
            del layer.tensors[layer.router_name]
        tensors |= layer.tensors
    if scale:
        tensors[scale] = -tensors[scale]
    folder.mkdir(exist_ok=True)
    checkpoints.write(folder / "model.safetensors", tensors, dtype)
    checkpoints.write_config(folder, **config)
    return tensors


def rows(ufm, *options):
    ended = ufm("bench", "--model", "model", *RUN, *options)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_a_checkpoint_runs_in_every_mode(ufm, dtype):
    make(ufm.folder / "model", dtype)
    found = rows(ufm)
    assert [row["mode"] for row in found] == ["ufm", "baseline", "naive_offload"]
    assert len({row["output_hash"] for row in found}) == 1
    for row in found:
        assert (row["model"], row["preset"], row["dtype"], row["kind"]) == ("model", None, dtype.lower(), "gated")
        assert (row["layers"], row["num_experts"], row["top_k"]) == (LAYERS, EXPERTS, 2)
        assert (row["d_model"], row["d_hidden"], row["norm_topk"]) == (D_MODEL, D_HIDDEN, True)
        size = 4 if dtype == "F32" else 2
        assert row["bank_bytes"] == LAYERS * EXPERTS * 3 * D_MODEL * D_HIDDEN * size
    assert found[0]["streamed_uses"] > 0


def test_weights_and_routers_are_those_of_the_file(ufm):
    hashes = set()
    tensors = make(ufm.folder / "model")
    names = [None, next(n for n in tensors if "gate.weight" in n), next(n for n in tensors if "down" in n)]
    for name in names:
        make(ufm.folder / "model", scale=name)
        hashes.add(rows(ufm, "--modes", "ufm")[0]["output_hash"])
    assert len(hashes) == len(names)


def test_a_recorded_routing_needs_no_router(ufm):
    make(ufm.folder / "model", routers=False)
    np.save(ufm.folder / "t.npy", np.arange(60, dtype=np.uint8).reshape(20, LAYERS, 1) % EXPERTS)
    (row,) = rows(ufm, "--modes", "ufm", "--workload", "trace:t.npy")
    assert (row["top_k"], row["workload"], row["status"]) == (1, "trace:t.npy", "ok")


@pytest.mark.parametrize(("options", "code", "told"), [
    (["--experts", "6"], 2, "--experts: found beside --model"),
    (["--preset", "olmoe-1b-7b"], 2, "--preset: found beside --model"),
    (["--dtype", "bf16"], 2, "--dtype: found beside --model"),
    (["--top-k", "7"], 2, "--top-k: found 7"),
    (["--model", "nowhere"], 4, "nowhere: "),
    (["--prefix", "mtp"], 4, "mtp"),
])
def test_what_is_refused(ufm, options, code, told):
    make(ufm.folder / "model")
    ended = ufm("bench", "--model", "model", *RUN, *options)
    assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
    assert told in ended.stderr and ended.stderr.count("\n") == 1


@pytest.mark.parametrize(("change", "told"), [
    ({"num_experts_per_tok": None}, "--top-k: found nothing"),
    ({"model_type": "deepseek_v3", "topk_group": 2, "n_group": 4}, "expected --workload trace:FILE or sticky:"),
])
def test_a_router_that_does_more_is_refused(ufm, change, told):
    make(ufm.folder / "model", config=CONFIG | change)
    ended = ufm("bench", "--model", "model", *RUN)
    assert ended.returncode in (2, 4) and told in ended.stderr, ended.stderr


def test_a_missing_router_is_named(ufm):
    make(ufm.folder / "model", routers=False)
    (row,) = [json.loads(ufm("bench", "--model", "model", *RUN, "--modes", "ufm").stdout)[0]]
    assert row["status"] == "error" and "layer 0 has no router" in row["error"]


# ---- --dtype

FORMATS = {"f16": 16, "q8_0": 8.5, "q4_0": 4.5, "q5_0": 5.5, "q4_k": 4.5, "q5_k": 5.5, "q6_k": 6.5625, "iq4_nl": 4.5,
           "iq4_xs": 4.25, "mxfp4": 4.25, "fp8": 8 + 32 / 128**2, "e2m1": 4.25, "u4": 4.125}


@pytest.mark.parametrize("dtype", list(FORMATS))
def test_weights_in_a_format(ufm, dtype):
    shape = ["--layers", "2", "--experts", "8", "--d-model", "256", "--d-hidden", "512", "--kind", "gated"]
    ended = ufm("bench", *shape, "--dtype", dtype, *RUN, "--vram-target", "3MiB", "--seq", "2")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert len({row["output_hash"] for row in found}) == 1
    for row in found:
        assert (row["status"], row["dtype"]) == ("ok", dtype)
        # scales may be padded to where the next part begins
        assert row["expert_bytes"] == pytest.approx(3 * 256 * 512 * FORMATS[dtype] / 8, abs=128)


def test_a_plan_of_what_is_not_downloaded_yet(ufm):
    def block_bytes(*options):
        ended = ufm("plan", "--preset", "qwen3-30b-a3b", "--card", "rtx-4090", "--dram-gbps", "50", "--ram", "64GiB",
                    "-o", "json", "--vram-target", "8GiB", *options)
        assert ended.returncode == 0, ended.stderr
        (point,) = json.loads(ended.stdout)
        room = point["vram_target_bytes"] - point["headroom_bytes"] - point["workspace_bytes"]
        return room / point["slots"]

    told = unwrapped(ufm("plan", "--preset", "olmoe-1b-7b", "--dtype", "q8_0", "--card", "rtx-4090").stdout)
    assert "Its experts count as q8_0. The cuda plugin does not read them yet" in told
    assert "plugin" not in unwrapped(ufm("plan", "--preset", "olmoe-1b-7b", "--card", "rtx-4090").stdout)
    assert block_bytes("--dtype", "q4_k") / block_bytes() == pytest.approx(4.5 / 16, rel=0.01)
    refused = ufm("plan", "--layers", "2", "--experts", "8", "--top-k", "2", "--d-model", "100", "--d-hidden", "64",
                  "--dtype", "q4_k", "--card", "rtx-4090")
    assert refused.returncode == 2 and "--dtype q4_k: " in refused.stderr and "multiple of the 256" in refused.stderr
