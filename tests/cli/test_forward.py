# SPDX-License-Identifier: MIT
"""ufm forward: what it refuses and how, what it reports, and what it leaves on the disk."""
import ctypes
import json
import os
import re
import secrets
import signal
import subprocess
import time

import numpy as np
import pytest
from support import checkpoints, oracle

EXPERTS, D_MODEL, D_HIDDEN, TOP_K, NUMBER = 6, 24, 40, 2, 4
CONFIG = {"model_type": "qwen3_moe", "hidden_act": "silu", "num_experts_per_tok": TOP_K,
          "norm_topk_prob": True}


class Case:
    """A checkpoint of one layer, an input, and `ufm forward` on them."""

    def __init__(self, ufm):
        seed = secrets.randbelow(2**31)
        print("seed", seed)
        self.rng = np.random.default_rng(seed)
        self.ufm, self.folder = ufm, ufm.folder
        self.layer = checkpoints.Routed(self.rng, "gated", NUMBER, EXPERTS, D_MODEL, D_HIDDEN, "F32")
        self.write(CONFIG)
        self.x = oracle.clear_tokens(self.rng, 10, self.layer.router, TOP_K)
        np.save(self.folder / "x.npy", self.x)

    def write(self, config):
        self.layer.write(self.folder / "model", config)

    def __call__(self, *options, **replaced):
        """The run with its required options, some replaced; None leaves one out."""
        required = {"weights": "model", "layer": NUMBER, "input": "x.npy", "output": "y.npy"}
        named = [text for name, value in (required | replaced).items() if value is not None
                 for text in (f"--{name}", value)]
        return self.ufm("forward", *named, "--backend", "cpu", *options)

    def ok(self, *options, **replaced):
        """The report of a run that must succeed, and y."""
        ended = self(*options, "-o", "json", **replaced)
        assert (ended.returncode, ended.stderr) == (0, "")
        return json.loads(ended.stdout), np.load(self.folder / "y.npy")

    def refused(self, code, *expected, options=(), **replaced):
        """One line on stderr with every expected text, nothing printed, nothing left."""
        before = sorted(os.listdir(self.folder))
        ended = self(*options, **replaced)
        assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
        assert ended.stderr.startswith("ufm forward: error: ") and ended.stderr.count("\n") == 1
        for text in expected:
            assert text in ended.stderr
        assert sorted(os.listdir(self.folder)) == before


@pytest.fixture
def case(ufm):
    return Case(ufm)


# ---- what comes out

def test_report(case):
    report, y = case.ok()
    ids, gates = oracle.route(case.x, case.layer.router, TOP_K, "softmax", True)
    assert oracle.distance(y, oracle.layer(case.x, ids, gates, case.layer.experts, "silu")) < 1e-5
    assert sorted(os.listdir(case.folder)) == ["model", "x.npy", "y.npy"]
    used = len(np.unique(ids))
    assert report["status"] == "ok" and report["error"] is None and report["output"] == "y.npy"
    assert (report["layer"], report["experts"], report["tokens"]) == (NUMBER, EXPERTS, 10)
    assert (report["d_model"], report["d_hidden"]) == (D_MODEL, D_HIDDEN)
    assert (report["uses"], report["streamed_uses"], report["resident_uses"]) == (used, used, 0)
    assert report["h2d_weight_bytes"] == used * report["expert_bytes"]
    assert report["d2h_weight_bytes"] == 0 and report["d2h_activation_bytes"] >= y.nbytes
    assert report["bank_bytes"] == EXPERTS * report["expert_bytes"]
    assert (report["fp32_rows"], report["cpu_rows"]) == (10 * TOP_K, 0)
    assert report["tf32_rows"] == report["bf16_rows"] == 0
    assert all(report[name] > 0 for name in ("load_ms", "place_ms", "forward_ms"))
    config = report["config"]
    assert config["layer"] == {"value": NUMBER, "origin": "command line"}
    assert config["top-k"] == {"value": TOP_K, "origin": "config.json"}
    assert config["norm-topk"] == {"value": True, "origin": "config.json"}
    assert config["scoring"] == {"value": "softmax", "origin": "config.json"}
    assert config["activation"] == {"value": "silu", "origin": "config.json"}
    assert config["policy"] == {"value": "cycle", "origin": "default"}
    assert config["max-tokens"] == {"value": 10, "origin": "tokens of the input"}


def test_markdown_says_the_same(case):
    report, _ = case.ok()
    ended = case()
    assert (ended.returncode, ended.stderr) == (0, "")
    cells = dict(re.findall(r"^\| ([\w ]+?) +\| (.*?) +\|$", ended.stdout, re.MULTILINE))
    assert cells["status"] == "ok" and cells["mode"] == "ufm"
    assert cells["uses"] == f"{report['uses']}: 0 resident, {report['uses']} streamed"
    assert "top-k 2 (config.json)" in ended.stdout and "ids" not in ended.stdout


def test_a_name_that_is_no_utf8(case):
    os.rename(case.folder / "x.npy", os.fsencode(case.folder) + b"/\xff.npy")
    report, _ = case.ok(input=os.fsdecode(b"\xff.npy"))
    assert report["config"]["input"]["value"] == "?.npy"


def test_a_tower_beside(case):
    """A layer is a prefix and a number; the tower of most layers is taken."""
    other = checkpoints.Routed(case.rng, "gated", NUMBER, EXPERTS, D_MODEL, D_HIDDEN, "F32")
    more = checkpoints.Routed(case.rng, "gated", NUMBER + 1, EXPERTS, D_MODEL, D_HIDDEN, "F32")
    mtp = {name.replace("model.layers", "mtp.layers"): values for name, values in other.tensors.items()}
    case.layer.tensors |= more.tensors | mtp
    case.write(CONFIG)
    for options, layer, config in (([], case.layer, {"value": "model.layers", "origin": "most routed layers"}),
                                   (["--prefix", "mtp"], other, {"value": "mtp", "origin": "command line"})):
        report, y = case.ok(*options)
        ids, gates = oracle.route(case.x, layer.router, TOP_K, "softmax", True)
        assert oracle.distance(y, oracle.layer(case.x, ids, gates, layer.experts, "silu")) < 1e-5
        assert report["config"]["prefix"] == config
    os.unlink(case.folder / "y.npy")
    case.refused(4, f"holds no routed layer {NUMBER + 1} under mtp.layers, found ",
                 "there is one under model.layers", layer=NUMBER + 1, options=["--prefix", "mtp"])
    case.refused(4, 'holds no routed layers under "talker", expected one of model.layers, mtp.layers',
                 options=["--prefix", "talker"])


def test_modes_differ_in_placement_alone(case):
    reports, bits = {}, set()
    for mode in ("ufm", "baseline", "naive_offload"):
        reports[mode], y = case.ok("--mode", mode)
        bits.add(y.tobytes())
    assert len(bits) == 1
    uses = reports["ufm"]["uses"]
    assert {mode: (r["resident_uses"], r["streamed_uses"]) for mode, r in reports.items()} == {
        "ufm": (0, uses), "baseline": (uses, 0), "naive_offload": (0, uses)}
    assert reports["baseline"]["h2d_weight_bytes"] == 0
    moved = reports["naive_offload"]
    assert moved["d2h_weight_bytes"] == moved["h2d_weight_bytes"] == uses * moved["expert_bytes"]
    assert (moved["slots"], reports["baseline"]["slots"]) == (0, EXPERTS)


@pytest.mark.parametrize("options, origin, norm, scoring", [
    (["--no-norm-topk"], "--no-norm-topk", False, "softmax"),
    (["--norm-topk", "--scoring", "sigmoid"], "command line", True, "sigmoid"),
])
def test_options_win_over_the_config(case, options, origin, norm, scoring):
    report, y = case.ok(*options)
    ids, gates = oracle.route(case.x, case.layer.router, TOP_K, scoring, norm)
    assert oracle.distance(y, oracle.layer(case.x, ids, gates, case.layer.experts, "silu")) < 1e-5
    assert report["config"]["norm-topk"] == {"value": norm, "origin": origin}


@pytest.mark.parametrize("mode", ["ufm", "baseline", "naive_offload"])
def test_no_tokens(case, mode):
    np.save(case.folder / "none.npy", np.zeros((0, D_MODEL), np.float32))
    report, y = case.ok("--mode", mode, input="none.npy")
    assert y.shape == (0, D_MODEL) and report["tokens"] == report["uses"] == 0


def test_one_token(case):
    np.save(case.folder / "one.npy", case.x[:1])
    _, y = case.ok(input="one.npy")
    _, all_of_them = case.ok()
    assert y.tobytes() == all_of_them[:1].tobytes()


@pytest.mark.parametrize("options", [[], ["--scoring", "sigmoid"], ["--mode", "baseline"]])
def test_nan_and_inf_stay_in_their_token(case, options):
    _, clean = case.ok(*options)
    x = case.x.copy()
    x[3, 5], x[6, 0] = np.nan, np.inf
    np.save(case.folder / "bad.npy", x)
    _, y = case.ok(*options, input="bad.npy")
    bad = np.array([3, 6])
    assert np.isnan(y[3]).all() and not np.isfinite(y[6]).any()
    assert np.delete(y, bad, 0).tobytes() == np.delete(clean, bad, 0).tobytes()


def routing(case, ids, gates):
    np.save(case.folder / "i.npy", ids)
    np.save(case.folder / "g.npy", gates)
    return ["--ids", "i.npy", "--gates", "g.npy"]


@pytest.mark.parametrize("dtype", ["<i4", "<i8"])
def test_ids_outside_the_experts_contribute_nothing(case, dtype):
    ids = case.rng.integers(0, EXPERTS, (10, 3)).astype(dtype)
    gates = case.rng.standard_normal((10, 3)).astype(np.float32)
    ids[0], ids[1, 0], ids[2, 2], ids[3, 1] = -1, EXPERTS, np.iinfo(dtype).max, np.iinfo(dtype).min
    report, y = case.ok(*routing(case, ids, gates))
    assert (y[0] == 0).all()
    want = oracle.layer(case.x, ids, gates.astype(np.float64), case.layer.experts, "silu")
    assert oracle.distance(y, want) < 1e-5
    assert report["config"]["top-k"] == {"value": 3, "origin": "shape of --ids"}
    assert "scoring" not in report["config"] and report["routing"] == "ids"
    inside = ids[(ids >= 0) & (ids < EXPERTS)]
    assert report["uses"] == len(np.unique(inside))


def test_wide_ids_are_not_cut_to_an_expert(case):
    """2^32 is no expert, though its low half is 0."""
    ids = np.full((10, 1), 2**32, np.int64)
    _, y = case.ok(*routing(case, ids, np.ones((10, 1), np.float32)))
    assert (y == 0).all()


def test_routing_needs_no_router_and_no_rule(case):
    del case.layer.tensors[case.layer.router_name]
    case.write({"hidden_act": "silu"})
    case.ok(*routing(case, np.zeros((10, 1), np.int32), np.ones((10, 1), np.float32)))


def test_a_baseline_out_of_memory_has_a_report_and_no_output(case):
    (case.folder / "y.npy").write_text("earlier")
    ended = case("--mode", "baseline", "--vram-limit", "64KiB", "-o", "json")
    report = json.loads(ended.stdout)
    assert ended.returncode == 3 and report["status"] == "oom" and report["output"] is None
    assert report["uses"] is None and report["forward_ms"] is None
    assert ended.stderr.count("\n") == 1 and "y.npy is not written and as it was" in ended.stderr
    assert (case.folder / "y.npy").read_text() == "earlier"
    assert "oom" in case("--mode", "baseline", "--vram-limit", "64KiB").stdout


# ---- what goes wrong

@pytest.mark.parametrize("missing", ["weights", "layer", "input", "output"])
def test_required_options(case, missing):
    case.refused(2, f"--{missing}: found nothing", **{missing: None})


@pytest.mark.parametrize("options, expected", [
    (["--mode", "fast"], "baseline, naive_offload, ufm"),
    (["--scoring", "tanh"], "config, softmax, sigmoid"),
    (["--activation", "relu"], "config, gelu, silu"),
    (["--f16-as", "f64"], "f32, bf16"),
    (["--policy", "random"], "freq"),
    (["--policy", "min"], "freq"),
    (["--top-k", "0"], "--top-k"),
    (["--max-tokens", "0"], "--max-tokens"),
    (["--vram-target", "1GB"], "--vram-target"),
    (["--vram-target", "1MiB", "--headroom", "1MiB"], "--headroom"),
    (["--vram-target", "2MiB", "--vram-limit", "1MiB"], "--vram-limit"),
    (["--vram-target", "5000"], "vram-target must be at least"),
    (["--vram-target", "1073741825", "--vram-limit", "1GiB"],
     "--vram-target: found 1073741825 B, expected at most --vram-limit (1073741824 B)"),
    (["--vram-target", "1GiB", "--headroom", "1024.5MiB"],
     "--headroom: found 1024.50 MiB, expected less than --vram-target (1024.00 MiB)"),
    (["--norm-topk", "--no-norm-topk"], "expected one of them"),
    (["--ids", "x.npy"], "--gates"),
    (["--gates", "x.npy"], "--ids"),
    (["--top-k", "7"], "at most the layer's 6"),
    (["--layer", "-1"], "--layer"),
    (["--weight", "x"], "did you mean '--weights'"),
    (["operand"], "operand"),
    (["-o", "csv"], "md, json"),
])
def test_wrong_options(case, options, expected):
    case.refused(2, expected, options=options)


@pytest.mark.parametrize("rule", [["--top-k", "2"], ["--norm-topk"], ["--no-norm-topk"],
                                  ["--scoring", "softmax"]])
def test_a_rule_beside_given_routing_is_refused(case, rule):
    given = routing(case, np.zeros((10, 1), np.int32), np.ones((10, 1), np.float32))
    case.refused(2, rule[0], "--ids", options=given + rule)


def test_a_backend_that_is_not_there(case):
    case.refused(3, "--backend", "nonsuch", options=["--backend", "nonsuch"])


def test_the_layer_must_be_there(case):
    case.refused(4, "model: holds no routed layer 5, found 4", layer=5)
    case.refused(4, "model: holds no routed layer 0, found 4", layer=0)


@pytest.mark.parametrize("config, option", [
    ({"num_experts_per_tok": None}, "--top-k"),
    ({"norm_topk_prob": None, "model_type": None}, "--norm-topk or --no-norm-topk"),
    ({"model_type": None}, "--scoring"),
    ({"hidden_act": None}, "--activation"),
])
def test_a_rule_that_nothing_gives(case, config, option):
    """The line names the option that would, and with it the run goes on."""
    case.write({name: value for name, value in (CONFIG | config).items() if value is not None})
    case.refused(2, option)
    given = ["--top-k", "2", "--norm-topk", "--scoring", "softmax", "--activation", "silu"]
    case.ok(*given)


def test_no_config_at_all(case):
    (case.folder / "model" / "config.json").unlink()
    case.refused(2, "--activation")
    case.refused(2, "--top-k", options=["--activation", "silu"])
    case.ok("--top-k", "2", "--norm-topk", "--scoring", "softmax", "--activation", "silu")


@pytest.mark.parametrize("config, expected", [
    ({"hidden_act": "relu2"}, "relu2"),
    ({"hidden_act": "gelu_pytorch_tanh"}, "gelu_pytorch_tanh"),
    ({"scoring_func": "tanh", "model_type": "other"}, "tanh"),
    ({"num_experts_per_tok": "two"}, "num_experts_per_tok"),
    ({"num_experts_per_tok": 7}, "at most the layer's 6"),
    ({"n_group": 4, "topk_group": 2}, "group"),
])
def test_a_rule_that_is_unknown_is_refused(case, config, expected):
    case.write(CONFIG | config)
    case.refused(4, "config.json", expected)


def test_an_unknown_scoring_may_be_overruled_by_name(case):
    _, want = case.ok()
    case.write(CONFIG | {"scoring_func": "tanh", "model_type": "other"})
    case.refused(4, "scoring_func", "--scoring")
    _, y = case.ok("--scoring", "softmax")
    assert y.tobytes() == want.tobytes()


@pytest.mark.parametrize("config", [
    {"hidden_act": "relu2"}, {"hidden_act": None, "hidden_activation": "gelu_pytorch_tanh"},
    {"hidden_act": None, "text_config": {"mlp_hidden_act": "relu2"}}])
def test_an_unknown_activation_may_not_be_overruled(case, config):
    """Its namesake is another function: nobody's word makes it that."""
    case.write(CONFIG | config)
    for given in ("gelu", "silu"):
        case.refused(4, "expected silu or gelu", "_act", options=["--activation", given])


RULE = ["--top-k", "2", "--norm-topk", "--scoring", "sigmoid", "--activation", "silu"]


@pytest.mark.parametrize("config, words", [
    ({"model_type": "phimoe"}, "sparsemixer"),
    ({"model_type": "vl", "text_config": {"model_type": "phimoe"}}, "sparsemixer"),
    ({"text_config": {"num_experts": EXPERTS, "use_expert_bias": True}}, "use_expert_bias is true"),
    ({"n_group": 4, "text_config": {"num_experts": EXPERTS}}, "n_group is 4"),
    ({"thinker_config": {"text_config": {"num_experts": EXPERTS, "topk_group": 2}}}, "topk_group is 2"),
    ({"router_new_rule": 1}, "router_new_rule is 1"),
])
def test_a_router_that_does_more_is_refused_wherever_it_is_said(case, config, words):
    """Not with every option given, but with the ids of the model's own router."""
    case.write(CONFIG | config)
    case.refused(4, words, "--ids and --gates", options=RULE)
    case.ok("--activation", "silu", *routing(case, np.zeros((10, 1), np.int32), np.ones((10, 1), np.float32)))


@pytest.mark.parametrize("name", ["expert_bias", "gate.bias", "routing_bias", "router.per_expert_scale"])
def test_a_tensor_that_changes_the_router_is_refused(case, name):
    prefix = case.layer.router_name.removesuffix("gate.weight")
    case.layer.tensors[prefix + name] = np.zeros(EXPERTS, np.float32)
    case.write(CONFIG)
    case.refused(4, name, "a router with more than a weight", options=RULE)


def test_a_config_as_python_writes_it(case):
    case.write(CONFIG | {"time_step_limit": [0.0, float("inf")], "far": float("-inf"), "b": float("nan"), "c": 10**50})
    case.ok()


def test_what_lies_under_text_config_is_read(case):
    case.write({"model_type": "qwen3_vl_moe", "text_config": CONFIG | {"num_experts": EXPERTS}})
    report, _ = case.ok()
    assert report["config"]["top-k"] == {"value": TOP_K, "origin": "config.json"}
    assert report["config"]["activation"] == {"value": "silu", "origin": "config.json"}


def test_a_broken_config(case):
    (case.folder / "model" / "config.json").write_text('{"hidden_act": ')
    case.refused(4, "config.json")


def test_the_router_must_fit(case):
    name = case.layer.router_name
    case.layer.tensors[name] = case.layer.router[:-1]
    case.write(CONFIG)
    case.refused(4, name)
    del case.layer.tensors[name]
    case.write(CONFIG)
    case.refused(2, "--ids and --gates")


def test_wrong_weights(case):
    case.refused(4, "nowhere", weights="nowhere")
    (case.folder / "empty").mkdir()
    case.refused(4, "empty", weights="empty")
    case.refused(4, "x.npy", weights="x.npy")
    path = case.folder / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    case.refused(4, "model.safetensors")


BAD_INPUTS = {
    "f8": (lambda x: x.astype(np.float64), "found f8 [10, 24], expected f4 [T, D]"),
    "f2": (lambda x: x.astype(np.float16), "<f2"),
    "integers": (lambda x: x.astype(np.int32), "found i4"),
    "big-endian": (lambda x: x.astype(">f4"), "big-endian"),
    "fortran": (np.asfortranarray, "fortran_order"),
    "vector": (lambda x: x[0], "found f4 [24]"),
    "cube": (lambda x: x[None], "found f4 [1, 10, 24]"),
    "narrow": (lambda x: x[:, :-1].copy(), "found f4 [10, 23], expected f4 [T, 24]"),
    "no columns": (lambda x: x[:, :0].copy(), "found f4 [10, 0]"),
}


@pytest.mark.parametrize("kind", BAD_INPUTS)
def test_wrong_input(case, kind):
    change, expected = BAD_INPUTS[kind]
    np.save(case.folder / "bad.npy", change(case.x))
    case.refused(4, "--input", "bad.npy", expected, input="bad.npy")


@pytest.mark.parametrize("keep, expected", [(0, "magic"), (9, "truncated"), (-1, "payload too short"),
                                            (None, "cannot be opened")])
def test_an_input_cut_short(case, keep, expected):
    if keep is not None:
        (case.folder / "cut.npy").write_bytes((case.folder / "x.npy").read_bytes()[:keep])
    case.refused(4, "--input", "cut.npy", expected, input="cut.npy")


@pytest.mark.parametrize("ids, gates, expected", [
    (np.zeros((9, 2), np.int32), np.ones((9, 2), np.float32), "[10, k]"),
    (np.zeros((10, 0), np.int32), np.ones((10, 0), np.float32), "at least 1"),
    (np.zeros(10, np.int32), np.ones((10, 1), np.float32), "i4 or i8 [T, k]"),
    (np.zeros((10, 2), np.uint16), np.ones((10, 2), np.float32), "found u2 [10, 2]"),
    (np.zeros((10, 2), np.float32), np.ones((10, 2), np.float32), "i4 or i8"),
    (np.zeros((10, 7), np.int32), np.ones((10, 7), np.float32), "at most the layer's 6"),
    (np.zeros((10, 2), np.int32), np.ones((10, 1), np.float32), "f4 [10, 2] as --ids has"),
    (np.zeros((10, 2), np.int32), np.ones((10, 2)), "found f8 [10, 2]"),
])
def test_wrong_routing(case, ids, gates, expected):
    case.refused(4, expected, options=routing(case, ids, gates))


# ---- what is left

@pytest.mark.parametrize("output, expected", [
    ("nowhere/y.npy", "No such file"), ("model", "folder"), ("model/", "folder"),
    ("x.npy/y.npy", "Not a directory"), ("/dev/full", "No space"), ("/proc/y.npy", "/proc/y.npy"),
])
def test_an_output_that_cannot_be_written(case, output, expected):
    case.refused(1, "--output", expected, output=output)
    assert not os.path.isfile("/dev/full")


def test_a_device_is_written_not_replaced(case):
    case.ok()
    ended = case(output="/dev/null")
    assert ended.returncode == 0 and not os.path.isfile("/dev/null")


def test_an_output_is_replaced_whole_and_links_are_followed(case):
    (case.folder / "real.npy").write_text("earlier")
    (case.folder / "y.npy").symlink_to("real.npy")
    case.refused(4, "nowhere", weights="nowhere")
    assert (case.folder / "real.npy").read_text() == "earlier"
    _, y = case.ok()
    assert (case.folder / "y.npy").is_symlink()
    assert np.load(case.folder / "real.npy").tobytes() == y.tobytes()


@pytest.mark.parametrize("option", ["--output", "--timeline", "--record-trace"])
@pytest.mark.parametrize("read", ["x.npy", "i.npy", "g.npy", "model/model.safetensors", "model/config.json"])
@pytest.mark.parametrize("way", ["name", "link", "hard link"])
def test_no_input_is_written_over(case, option, read, way):
    options = routing(case, np.zeros((10, 2), np.int32), np.ones((10, 2), np.float32))
    path, before = read, (case.folder / read).read_bytes()
    if way != "name":
        path = "other.npy"
        if way == "link":
            (case.folder / path).symlink_to(read)
        else:
            os.link(case.folder / read, case.folder / path)
    ended = case(option, path, *options, **({"output": None} if option == "--output" else {}))
    if option == "--record-trace" and not path.endswith(".npy"):
        assert ended.returncode == 2  # by its name
    else:
        assert (ended.returncode, ended.stdout) == (2, "")
        assert f"{option}: found {path}, which is the file of --" in ended.stderr
    assert (case.folder / read).read_bytes() == before


def test_no_output_is_written_over_another(case):
    case.refused(2, "--timeline: found y.npy, which is the file of --output", options=("--timeline", "y.npy"))


def test_an_earlier_output_is_as_it_was(case):
    (case.folder / "y.npy").write_text("earlier")
    case.refused(4, "model/nowhere", weights="model/nowhere")
    assert (case.folder / "y.npy").read_text() == "earlier"


def obey_permissions():
    """Before exec: root, too, may then do only what the mode of a folder allows."""
    drop_from_bounding_set, dac_override = 24, 1
    ctypes.CDLL(None).prctl(drop_from_bounding_set, dac_override, 0, 0, 0)


def test_an_output_in_a_folder_without_permission(case):
    (case.folder / "shut").mkdir(mode=0o555)
    ended = case.ufm("forward", "--weights", "model", "--layer", NUMBER, "--input", "x.npy",
                     "--output", "shut/y.npy", "--backend", "cpu", preexec_fn=obey_permissions)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "--output: shut/y.npy: cannot be created" in ended.stderr and "Permission denied" in ended.stderr
    assert not os.listdir(case.folder / "shut")


def test_a_full_disk_leaves_nothing(case):
    """A limit on the size of files stands for the disk."""
    x = case.rng.standard_normal((4000, D_MODEL)).astype(np.float32)
    np.save(case.folder / "large.npy", x)
    command = ["bash", "-c", 'ulimit -f 64; exec "$@"', "limited", *case.ufm.command(
        "forward", "--weights", "model", "--layer", NUMBER, "--input", "large.npy", "--output",
        "y.npy", "--backend", "cpu")]
    before = sorted(os.listdir(case.folder))
    ended = subprocess.run(command, cwd=case.folder, text=True, capture_output=True)
    assert ended.returncode == 1 and ended.stderr.count("\n") == 1
    assert "--output" in ended.stderr and ended.stdout == ""
    assert sorted(os.listdir(case.folder)) == before


def test_a_report_that_cannot_be_printed(case, ufm_path):
    with open("/dev/full", "w") as full:
        ended = subprocess.run([ufm_path, "forward", "--weights", "model", "--layer", str(NUMBER),
                                "--input", "x.npy", "--output", "y.npy"], cwd=case.folder,
                               stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1 and "standard output" in ended.stderr


def test_a_signal_leaves_all_or_nothing(case):
    """Whenever it comes: a whole output and 0, or none and 130 (or death before the command began)."""
    command = case.ufm.command("forward", "--weights", "model", "--layer", NUMBER, "--input",
                               "large.npy", "--output", "y.npy", "--backend", "cpu")
    np.save(case.folder / "large.npy", np.tile(case.x, (2000, 1)))
    _, want = case.ok(input="large.npy")
    for _ in range(12):
        (case.folder / "y.npy").unlink(missing_ok=True)
        child = subprocess.Popen(command, cwd=case.folder, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True)
        time.sleep(case.rng.uniform(0, 0.06))
        child.send_signal(case.rng.choice([signal.SIGINT, signal.SIGTERM]))
        said = child.communicate()[1]
        left = set(os.listdir(case.folder)) - {"model", "x.npy", "large.npy"}
        if child.returncode == 0:
            assert left == {"y.npy"}
            assert np.load(case.folder / "y.npy").tobytes() == want.tobytes()
        else:
            assert not left and child.returncode in (130, -signal.SIGINT, -signal.SIGTERM)
            assert child.returncode != 130 or "interrupted; y.npy is not written" in said


def test_timeline(case):
    report, _ = case.ok("--timeline", "t.json")
    trace = json.loads((case.folder / "t.json").read_text())
    assert trace["otherData"]["dropped"] == 0
    spans = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert report["uses"] == sum(e["args"]["experts"] for e in spans if e["name"] == "experts") > 0
    copied = sum(e["args"]["bytes"] for e in spans if e["name"] == "copy")
    assert copied == report["h2d_weight_bytes"] > 0
    assert all(e["dur"] >= 0 for e in spans)


def test_recorded_trace(case):
    case.ok("--record-trace", "t.npy")
    ids, _ = oracle.route(case.x, case.layer.router, TOP_K, "softmax", True)
    recorded = np.load(case.folder / "t.npy")
    assert recorded.dtype == np.uint8
    assert np.array_equal(recorded, ids[:, None, :])
    case.ok("--record-trace", "t.jsonl", "--mode", "naive_offload", "--max-tokens", 3)
    lines = [json.loads(line) for line in (case.folder / "t.jsonl").read_text().splitlines()]
    assert lines == [{"layer": 0, "token": t, "experts": ids[t].tolist()} for t in range(10)]


def test_recorded_trace_of_given_ids(case):
    """What is no expert is left out; then a token's experts are too few for a .npy."""
    ids = np.array([[5, 0], [1, -1], [2, 2], [EXPERTS, 9], [4, 3]] * 2, np.int32)
    np.save(case.folder / "i.npy", ids)
    np.save(case.folder / "g.npy", np.ones(ids.shape, np.float32))
    given = {"ids": "i.npy", "gates": "g.npy"}
    case.ok("--record-trace", "t.jsonl", **given)
    lines = [json.loads(line) for line in (case.folder / "t.jsonl").read_text().splitlines()]
    assert [line["experts"] for line in lines] == [[5, 0], [1], [2], [], [4, 3]] * 2
    os.remove(case.folder / "y.npy")
    case.refused(1, "--record-trace: t.npy: token 1 of layer 0 has 1 experts, expected 2", ".jsonl",
                 options=("--record-trace", "t.npy"), **given)


def test_recorded_trace_of_no_token(case):
    np.save(case.folder / "x.npy", case.x[:0])
    ended = case("--record-trace", "t.npy")
    assert ended.returncode == 0
    assert "--record-trace: t.npy is not written: no token was routed" in ended.stderr
    assert not (case.folder / "t.npy").exists()


@pytest.mark.parametrize("path,code", [("missing/t.npy", 1), ("t.txt", 2)])
def test_a_trace_that_cannot_be_written(case, path, code):
    case.refused(code, "--record-trace", path, options=("--record-trace", path))


@pytest.mark.parametrize("path", ["missing/t.json", "."])
def test_a_timeline_that_cannot_be_written(case, path):
    case.refused(1, "--timeline", path, options=("--timeline", path))
