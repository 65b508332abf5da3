# SPDX-License-Identifier: MIT
"""ufm bench: rows, regimes, workloads, formats, folder."""
import csv
import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time

import numpy
import pytest

from conftest import SMALL, unwrapped

FIELDS = ("mode num_experts layers status error bank_bytes expert_bytes vram_target_bytes "
          "peak_vram_bytes slab_high_water_bytes context_bytes peak_ram_bytes tokens_per_s step_ms "
          "slots experts_touched uses resident_uses streamed_uses cpu_uses prefetch_loads "
          "h2d_weight_bytes h2d_activation_bytes d2h_weight_bytes evictions stall_ms output_hash "
          "deterministic workload policy dtype backend device seed").split()
TELEMETRY = "t gpu_alloc_gb gpu_reserved_gb proc_ram_gb sys_ram_gb nvme_offload_gb".split()


def check_row(row):
    """What holds for every ok row."""
    assert row["status"] == "ok" and row["error"] is None
    assert row["uses"] == row["resident_uses"] + row["streamed_uses"] + row["cpu_uses"] > 0
    loads = row["streamed_uses"] + row["prefetch_loads"] + row["admitted_loads"]
    assert 0 <= row["late_uses"] <= row["streamed_uses"] + row["cpu_uses"]
    assert row["h2d_weight_bytes"] == loads * row["expert_bytes"]
    assert len(row["step_ms"]) == row["steps"]
    assert all(ms > 0 for ms in row["step_ms"])
    tokens = row["batch"] * row["seq"]
    rows = {math: row[f"{math}_rows"] for math in ("fp32", "tf32", "bf16")}
    pairs = row["steps"] * row["layers"] * tokens * row["top_k"]
    assert rows.pop(row["math"]) + row["cpu_rows"] == pairs and not any(rows.values())
    assert row["tokens_per_s"] == pytest.approx(
        tokens * row["steps_measured"] * 1000 / sum(row["step_ms"]))
    assert row["tokens_per_s_median"] == pytest.approx(tokens * 1000 / row["step_ms_median"])
    assert row["step_ms_median"] == pytest.approx(numpy.median(row["step_ms"]))
    assert row["steps_measured"] == row["steps"]
    assert 0 < row["peak_vram_bytes"] and row["peak_ram_bytes"] > 0
    if row["fill_s"] is not None:  # else an earlier run filled it
        assert row["fill_gbps"] == pytest.approx(row["bank_bytes"] / row["fill_s"] / 1e9)
    assert row["slab_high_water_bytes"] <= row["peak_vram_bytes"]
    if row["mode"] == "naive_offload":
        assert row["streamed_uses"] == row["uses"]
        assert row["d2h_weight_bytes"] == row["uses"] * row["expert_bytes"]
    else:
        assert row["d2h_weight_bytes"] == 0
    if row["mode"] == "ufm":
        assert row["peak_vram_bytes"] <= row["vram_target_bytes"]
        assert row["reserved_vram_bytes"] <= row["vram_target_bytes"] - row["headroom_bytes"]
    if row["mode"] == "baseline":
        assert row["resident_uses"] == row["uses"] and row["prefetch_loads"] == 0


def test_three_regimes(ufm):
    rows = ufm.rows("--experts", "16,64", "--link-gbps", "4", "--cpu-assist", "off")
    by = {(row["mode"], row["num_experts"]): row for row in rows}
    assert len(rows) == len(by) == 6
    for row in rows:
        assert list(row)[:len(FIELDS)] == FIELDS
        assert row["link_gbps_emulated"] == 4
        if row["status"] == "ok":
            check_row(row)
    top = by["baseline", 64]
    assert top["status"] == "oom" and top["tokens_per_s"] is None
    assert "free" in top["error"]
    assert by["ufm", 64]["streamed_uses"] > 0
    assert by["ufm", 64]["evictions"] > 0
    for experts in (16, 64):
        hashes = {by[mode, experts]["output_hash"] for mode in ("ufm", "naive_offload", "baseline")
                  if by[mode, experts]["status"] == "ok"}
        assert len(hashes) == 1
    assert by["ufm", 16]["output_hash"] != by["ufm", 64]["output_hash"]


def test_a_sweep_is_repeatable_and_the_seed_matters(ufm):
    rows = [ufm.rows("--experts", "8", "--modes", "ufm", "--seed", seed)[0] for seed in (5, 5, 6)]
    assert rows[0]["output_hash"] == rows[1]["output_hash"] != rows[2]["output_hash"]
    for name in ("uses", "resident_uses", "streamed_uses", "evictions"):
        assert rows[0][name] == rows[1][name]


@pytest.mark.parametrize("more", [
    ["--layers", "3", "--kind", "gated", "--experts", "5", "--top-k", "3", "--norm-topk"],
    ["--dtype", "bf16", "--policy", "lru", "--ring", "3", "--experts", "13"],
    ["--kind", "mlp", "--policy", "fifo", "--experts", "7", "--max-tokens", "5"],
    ["--workload", "zipf:1.1", "--experts", "9", "--top-k", "1", "--threads", "1"],
    ["--experts", "1", "--top-k", "1", "--batch", "1", "--seq", "1", "--warmup", "0"],
])
def test_baseline_and_ufm_agree(ufm, more):
    small = ["--d-model", "128", "--d-hidden", "96"]
    rows = ufm.rows(*small, "--modes", "baseline,ufm", *more)
    for row in rows:
        check_row(row)
    assert rows[0]["output_hash"] == rows[1]["output_hash"]


def test_formats_say_the_same(ufm):
    tiny = ["--experts", "4,8", "--modes", "ufm,naive_offload"]
    ended = {form: ufm.bench("--no-out", "-o", form, *tiny) for form in
             ("json", "jsonl", "csv", "md")}
    assert all(e.returncode == 0 and e.stderr == "" for e in ended.values())
    rows = json.loads(ended["json"].stdout)
    lines = [json.loads(line) for line in ended["jsonl"].stdout.splitlines()]
    table = list(csv.DictReader(io.StringIO(ended["csv"].stdout)))
    for other in (lines, table):
        assert [list(row) for row in other] == [list(row) for row in rows]
        assert [row["output_hash"] for row in other] == [row["output_hash"] for row in rows]
    assert all(len(row["step_ms"].split()) == 2 for row in table)
    text = ended["md"].stdout
    assert sum(line.startswith("| ") for line in text.splitlines()) == 5
    assert "Configuration: " in text and "d-model 256 (command line)" in unwrapped(text)
    assert not any(os.scandir(ufm.folder))


def test_markdown_names_an_emulated_link(ufm):
    run = ["--no-out", "--experts", "4", "--modes", "ufm"]
    assert "mulated" in ufm.bench(*run, "--link-gbps", "10").stdout
    assert "mulated" not in ufm.bench(*run, "--link-gbps", "off").stdout.split("Configuration")[0]


def test_folder(ufm):
    old = ufm.folder / "deep" / "down"
    old.mkdir(parents=True)
    (old / "runs.jsonl").write_text("stale\n")
    ended = ufm.bench("--experts", "4,8", "--modes", "baseline,ufm", "--out", "deep/down",
                      "--no-figures", "-o", "jsonl")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (old / "runs.jsonl").read_text() == ended.stdout
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    summary = json.loads((old / "summary.json").read_text())
    assert summary["rows"] == rows and summary["interrupted"] is False
    assert summary["config"]["seed"] == {"value": 1, "origin": "default"}
    assert summary["config"]["d-model"] == {"value": 256, "origin": "command line"}
    assert summary["config"]["max-tokens"] == {"value": 32, "origin": "batch x seq"}
    assert summary["environment"]["versions"]["ufm"]
    assert sorted(os.listdir(old)) == sorted(
        ["runs.jsonl", "summary.json", "table.md"] +
        [f"telemetry_{mode}_{experts}.csv" for mode in ("baseline", "ufm") for experts in (4, 8)])
    with open(old / "telemetry_ufm_8.csv") as file:
        samples = list(csv.DictReader(file))
    assert list(samples[0])[:6] == TELEMETRY and "uses" in samples[0]
    assert [float(s["t"]) for s in samples] == sorted(float(s["t"]) for s in samples)
    peak = max(float(s["gpu_alloc_gb"]) for s in samples) * 2 ** 30
    assert peak <= rows[3]["peak_vram_bytes"] + 1024


def test_a_folder_by_the_time(ufm):
    """Each bench has its own, also of two that begin together; the link is the last one's."""
    run = ["--experts", "4", "--modes", "ufm", "--no-figures", "--wide"]
    both = [subprocess.Popen(ufm.command("bench", *SMALL, *run), cwd=ufm.folder, stdout=subprocess.PIPE,
                             text=True) for _ in range(2)]
    tables = [child.communicate(timeout=60)[0] for child in both]
    assert [child.returncode for child in both] == [0, 0]
    results = ufm.folder / "results"
    folders = sorted(set(os.listdir(results)) - {"latest"})
    assert len(folders) == 2 and os.readlink(results / "latest") in folders
    for name in folders:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(-2)?", name)
        summary = json.loads((results / name / "summary.json").read_text())
        assert summary["config"]["out"] == {"value": f"results/{name}", "origin": "by the time"}
        printed, = [text for text in tables if f"results/{name} " in text]
        table = (results / name / "table.md").read_text()
        assert printed == table + f"\nRows, table and figures: results/{name}, and as results/latest.\n"


def test_a_folder_in_place_of_the_link(ufm):
    (ufm.folder / "results" / "latest").mkdir(parents=True)
    ended = ufm.bench("--experts", "4", "--modes", "ufm")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "results/latest: is no link" in ended.stderr and ended.stderr.count("\n") == 1
    assert os.listdir(ufm.folder / "results") == ["latest"]


def test_what_cannot_begin_leaves_no_folder(ufm):
    assert ufm.bench("--experts", "4", "--modes", "ufm").returncode == 0
    before = sorted(os.listdir(ufm.folder / "results"))
    ended = ufm.bench("--experts", "4", "--workload", "trace:none.npy")
    assert ended.returncode == 4
    assert sorted(os.listdir(ufm.folder / "results")) == before


# ---- warm-up and spread

WARM = ["--experts", "64", "--phase", "decode", "--batch", "2", "--steps", "7", "--link-gbps", "off"]


def run_warm(ufm, *more):
    small = [*SMALL[:4], *SMALL[SMALL.index("--vram-limit"):]]
    return ufm("bench", *small, *WARM, "--no-out", *more)


def test_ufm_warms_up_until_its_slots_are_filled(ufm):
    """The other modes measure the same tokens, with one step before them."""
    ended = run_warm(ufm, "-o", "json", "--modes", "naive_offload,baseline,ufm", "--vram-limit", "off")
    rows = json.loads(ended.stdout)
    assert [row["mode"] for row in rows] == ["ufm", "baseline", "naive_offload"]
    row, baseline, naive = rows
    assert row["slots_filled"] is True and row["slots_held"] >= row["slots"] - row["ring_slots"]
    assert 5 < row["warmup"] == row["first_step"]
    assert naive["slots_filled"] is naive["slots_held"] is None
    assert (baseline["slots_filled"], baseline["slots_held"]) == (True, 64)
    for other in naive, baseline:
        assert (other["warmup"], other["first_step"]) == (1, row["first_step"])
        assert other["output_hash"] == row["output_hash"]
    same = json.loads(run_warm(ufm, "-o", "json", "--modes", "ufm", "--warmup", row["warmup"]).stdout)[0]
    for name in "output_hash uses resident_uses warmup first_step slots_held slots_filled".split():
        assert same[name] == row[name], name


def test_a_cold_row_says_so(ufm):
    ended = run_warm(ufm, "-o", "json", "--modes", "ufm", "--warmup", "1")
    row = json.loads(ended.stdout)[0]
    assert (row["warmup"], row["first_step"], row["slots_filled"]) == (1, 1, False)
    assert 0 < row["slots_held"] < row["slots"]
    text = unwrapped(run_warm(ufm, "--wide", "--modes", "ufm", "--warmup", "1").stdout)
    assert "| ok, cold |" in text
    assert (f"- ufm decode, 64 experts: cold: {row['slots_held']} of {row['slots']} slots held an expert when "
            "measuring began, after 1 steps of warm-up") in text
    assert "cold" not in run_warm(ufm, "--modes", "ufm").stdout.replace("--cold", "")


def test_a_demand_that_never_fills_the_slots(ufm):
    """Two experts for ever: the bound on steps ends it, and the row says that it is cold."""
    numpy.save(ufm.folder / "t.npy", numpy.zeros((50, 1, 1), dtype=numpy.uint8))
    row = json.loads(run_warm(ufm, "-o", "json", "--modes", "ufm", "--workload", "trace:t.npy",
                              "--vram-target", "20MiB", "--probe", "off").stdout)[0]
    assert (row["status"], row["warmup"], row["slots_held"], row["slots_filled"]) == ("ok", 1000, 1, False)


def test_steps_have_a_median_and_quartiles(ufm):
    row = ufm.rows("--experts", "8", "--modes", "ufm", "--steps", "9")[0]
    quartiles = [row["step_ms_q1"], row["step_ms_median"], row["step_ms_q3"]]
    assert quartiles == pytest.approx(numpy.quantile(row["step_ms"], [0.25, 0.5, 0.75]))
    text = ufm.bench("--no-out", "--experts", "8", "--modes", "ufm", "--steps", "9", "--wide").stdout
    assert re.search(r"\| +[\d.]+ \([\d.]+-[\d.]+\) \|.*\| +9 \|\n", text)


def test_quick_and_origins(ufm):
    ended = ufm("bench", "--quick", *SMALL, "--experts", "4", "--modes", "ufm", "--no-figures")
    assert ended.returncode == 0, ended.stderr
    config = json.loads((ufm.folder / "results" / "latest" / "summary.json").read_text())["config"]
    assert config["d-model"]["value"] == 256
    assert config["link-gbps"] == {"value": 2.0, "origin": "quick"}


# ---- floors

PROBED = ("probe_link_gbps probe_hbm_gbps probe_dram_gbps probe_sum_gbps probe_sum_link_gbps "
          "probe_sum_cpu_gbps").split()
PEAK = "probe_gflops peak_source peak_shape probe_kernel_gflops".split()
FLOOR = "floor_ms fraction_of_floor bound_by floor_kind floor_misses".split()


def check_peak(row):
    """Of the loops in registers, or of our own products where those were disturbed more."""
    assert row["probe_gflops"] > 0 and row["peak_shape"] is None
    if row["peak_source"] != "own products":
        assert row["peak_source"].startswith("loop of products in registers, ")
        assert "thread" in row["peak_source"]


def test_rows_say_which_part_of_the_floor_they_reached(ufm):
    rows = ufm.rows("--experts", "16,64", "--link-gbps", "0.5", "--workload", "uniform",
                    "--vram-limit", "off", "--cpu-assist", "off")
    for row in rows:
        check_row(row)
        assert all(row[name] > 0 for name in PROBED)
        assert row["probe_sum_gbps"] == pytest.approx(
            row["probe_sum_link_gbps"] + row["probe_sum_cpu_gbps"])
        assert row["probe_threads"] >= 1 and row["probe_kernel_gflops"] is None  # 64 rows a step
        check_peak(row)
        # A copy never takes less than the emulated link says.
        assert row["probe_link_gbps"] <= 0.505
        assert row["fraction_of_floor"] == pytest.approx(
            row["floor_ms"] / numpy.mean(row["step_ms"]))
        assert row["floor_ms"] == max(row["floor_resident_ms"], row["floor_miss_ms"])
        layer_bytes = row["experts_touched"] * row["expert_bytes"]
        compute_ms = 2 * 32 * 2 * 2 * 256 * 1024 / row["probe_gflops"] / 1e6
        assert row["floor_resident_ms"] == pytest.approx(
            max(layer_bytes / row["probe_hbm_gbps"] / 1e6, compute_ms))
        assert row["measured_again"] is False  # never on this backend
        assert row["floor_miss_ms"] == pytest.approx(
            row["floor_misses"] * row["expert_bytes"] / row["probe_link_gbps"] / 1e6)
        assert row["link_gbps_used"] == pytest.approx(
            row["h2d_weight_bytes"] / sum(row["step_ms"]) / 1e6)
    by = {(row["mode"], row["num_experts"]): row for row in rows}
    for row in by["baseline", 16], by["baseline", 64], by["ufm", 16]:
        assert row["bound_by"] in ("hbm", "compute")
        assert (row["floor_misses"], row["overlap"]) == (0, None)
    ufm64, naive = by["ufm", 64], by["naive_offload", 64]
    assert ufm64["bound_by"] == naive["bound_by"] == "link"
    assert ufm64["floor_kind"] == naive["floor_kind"] == "sweep"
    assert ufm64["floor_misses"] == pytest.approx(ufm64["experts_touched"] - ufm64["slots"])
    assert naive["floor_misses"] == naive["experts_touched"]
    assert 0 <= ufm64["overlap"] <= 1 and naive["overlap"] == pytest.approx(0, abs=1e-9)


def test_many_layers_are_measured_against_their_own_misses(ufm):
    row = ufm.rows("--experts", "16", "--layers", "4", "--modes", "ufm", "--link-gbps", "0.5",
                   "--cpu-assist", "off")[0]
    check_row(row)
    assert row["floor_kind"] == "measured"
    mean_ms = sum(row["step_ms"]) / len(row["step_ms"])
    assert row["fraction_of_floor"] == pytest.approx(row["floor_ms"] / mean_ms)
    assert row["floor_misses"] == pytest.approx(
        row["streamed_uses"] / row["layers"] / row["steps"])
    assert row["floor_miss_ms"] == pytest.approx(
        row["h2d_weight_bytes"] / row["steps"] / row["probe_link_gbps"] / 1e6)


def test_arithmetic_is_probed_where_calls_are_long(ufm):
    row = ufm.rows("--experts", "4", "--modes", "ufm", "--batch", "8", "--seq", "16")[0]
    assert row["probe_gflops"] >= row["probe_kernel_gflops"] > 0
    assert row["bound_by"] in ("hbm", "compute")
    check_peak(row)
    operations = 2 * 128 * 2 * 2 * 256 * 1024
    assert row["floor_resident_ms"] >= operations / row["probe_gflops"] / 1e6 * 0.999


def test_probing_changes_nothing_else(ufm):
    run = ["--experts", "40", "--layers", "2", "--modes", "baseline,ufm,naive_offload",
           "--vram-limit", "off"]
    probed, plain = ufm.rows(*run, "--probe", "on"), ufm.rows(*run, "--probe", "off")
    for on, off in zip(probed, plain):
        assert list(on) == list(off)
        for name in ("output_hash uses resident_uses streamed_uses prefetch_loads evictions "
                     "bypasses h2d_weight_bytes h2d_activation_bytes d2h_weight_bytes "
                     "d2h_activation_bytes slots peak_vram_bytes slab_high_water_bytes "
                     "reserved_vram_bytes").split():
            assert on[name] == off[name], name
        assert all(off[name] is None for name in [*PROBED, *FLOOR, *PEAK, "probe_threads"])
        assert off["link_gbps_used"] == pytest.approx(
            off["h2d_weight_bytes"] / sum(off["step_ms"]) / 1e6)


def test_limit_is_the_floor_or_what_must_be_read(ufm):
    """Of rows whose routing is known; others have none."""
    run = ["--experts", "24", "--layers", "3", "--modes", "baseline,naive_offload,ufm",
           "--backend", "cpu", "--d-model", "128", "--d-hidden", "512", "--vram-target", "20MiB",
           "--headroom", "0", "--link-gbps", "2", "--top-k", "2", "--phase", "decode", "--batch",
           "2", "--warmup", "4", "--steps", "12", "--workload", "sticky:0.5,0.5,0.1", "--no-out",
           "--cpu-assist", "off"]
    ended = ufm("bench", *run, "-o", "json")
    assert ended.returncode == 0, ended.stderr
    by = {row["mode"]: row for row in json.loads(ended.stdout)}
    baseline, naive, row = by["baseline"], by["naive_offload"], by["ufm"]
    assert naive["limit_reads"] is naive["limit_ms"] is naive["fraction_of_limit"] is None
    assert baseline["limit_reads"] == 0
    assert baseline["limit_ms"] == baseline["floor_resident_ms"]
    misses = row["uses"] - row["resident_uses"]
    assert 0 < row["limit_reads"] * row["steps"] <= misses + 1e-6
    assert row["limit_gbps"] == pytest.approx(max(row["probe_link_gbps"], row["probe_sum_gbps"]))
    reads_ms = row["limit_reads"] * row["expert_bytes"] / row["limit_gbps"] / 1e6
    assert row["limit_ms"] == pytest.approx(max(row["floor_resident_ms"], reads_ms))
    mean_ms = sum(row["step_ms"]) / len(row["step_ms"])
    assert row["fraction_of_limit"] == pytest.approx(row["limit_ms"] / mean_ms)
    routed, = ufm.rows("--experts", "16", "--modes", "ufm", "--workload", "uniform")
    assert routed["limit_reads"] is routed["limit_ms"] is routed["fraction_of_limit"] is None
    assert routed["floor_ms"] > 0


def test_the_table_shows_the_limit(ufm):
    ended = ufm.bench("--no-out", "--experts", "8", "--modes", "ufm", "--wide", "--workload",
                      "sticky:0.5,0.5,0.1")
    header, _, line = [text for text in ended.stdout.splitlines() if text.startswith("|")][:3]
    cells = dict(zip((c.strip() for c in header.split("|")), (c.strip() for c in line.split("|"))))
    assert float(cells["of limit"]) > 0


def test_the_table_shows_the_floor(ufm):
    run = ["--no-out", "--experts", "8", "--modes", "ufm", "--wide"]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]]
             for line in ufm.bench(*run).stdout.splitlines() if line.startswith("|")]
    row = dict(zip(lines[0], lines[2]))
    assert float(row["of floor"]) > 0 and row["bound by"] in ("hbm", "compute", "link")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in
             ufm.bench(*run, "--probe", "off").stdout.splitlines() if line.startswith("|")]
    row = dict(zip(lines[0], lines[2]))
    assert row["of floor"] == row["bound by"] == "" and int(row["slots"]) == 8


# ---- workloads

def test_uniform_says_what_was_expected(ufm):
    row = ufm.rows("--experts", "64", "--modes", "ufm", "--workload", "uniform")[0]
    expected = 64 * (1 - (1 - 2 / 64) ** 32)
    assert row["experts_touched_expected"] == pytest.approx(expected)
    assert row["experts_touched"] == pytest.approx(expected, rel=0.25)
    ended = ufm.bench("--no-out", "--experts", "64", "--modes", "ufm", "--wide")
    assert f"({expected:.1f} expected)" in ended.stdout


def test_text_follows_the_text(ufm):
    (ufm.folder / "same.txt").write_text("word " * 5000)
    (ufm.folder / "varied.txt").write_text(" ".join(f"w{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}"
                                                    for i in range(676)))
    touched = {}
    for name in ("same", "varied"):
        rows = ufm.rows("--experts", "64", "--modes", "ufm", "--workload", f"text:{name}.txt",
                        "--vram-limit", "off")
        check_row(rows[0])
        assert rows[0]["experts_touched_expected"] is None
        touched[name] = rows[0]["experts_touched"]
    assert touched["same"] < touched["varied"]


def test_a_short_text_begins_again(ufm):
    (ufm.folder / "short.txt").write_text("Only five words, in all.")
    row = ufm.rows("--experts", "8", "--modes", "ufm", "--workload", "text:short.txt")[0]
    check_row(row)
    assert row["workload_wrapped"] is True


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32"])
def test_trace_is_replayed(ufm, dtype):
    """One token a step, whose experts are known: the uses are those of the file."""
    ids = numpy.array([[[0, 1], [2, 3]], [[0, 1], [4, 5]], [[6, 7], [2, 3]]], dtype=dtype)
    numpy.save(ufm.folder / "t.npy", ids)
    row = ufm.rows("--experts", "8", "--modes", "ufm", "--workload", "trace:t.npy", "--layers", "2",
                   "--batch", "1", "--seq", "1", "--warmup", "0", "--steps", "3")[0]
    check_row(row)
    assert row["top_k"] == 2
    assert (row["uses"], row["streamed_uses"], row["resident_uses"]) == (12, 8, 4)
    assert row["experts_touched"] == 2


# Of 32 columns a step of 40 tokens shares some, and 3 tokens a step wear them out in 10 steps.
STEERED = ["--layers", "3", "--d-model", "32", "--d-hidden", "16", "--experts", "20", "--backend",
           "cpu", "--vram-target", "200KiB", "--headroom", "0", "--cpu-assist", "off", "--probe",
           "off", "--modes", "ufm,baseline,naive_offload", "--workload", "trace:t.npy"]


def save_sets(ufm, tokens, layers, ranks, experts):
    random = numpy.random.default_rng(1)
    ids = [[random.choice(experts, ranks, False) for _ in range(layers)] for _ in range(tokens)]
    numpy.save(ufm.folder / "t.npy", numpy.array(ids, dtype=numpy.uint8))
    return numpy.load(ufm.folder / "t.npy")


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("more", [[], ["--layers", "1"], ["--scoring", "sigmoid", "--norm-topk"],
                                  ["--warmup", "0", "--dtype", "bf16", "--kind", "gated"]])
def test_ids_of_the_device_are_those_handed_ahead(ufm, batch, more):
    """The same uses, and the same bits in every mode."""
    save_sets(ufm, 90, 3, 5, 20)
    run = [*STEERED, "--phase", "decode", "--batch", batch, "--steps", "40", "--warmup", "5", *more,
           "--no-out", "-o", "json"]
    device, ahead = (json.loads(ufm("bench", *run, *ids).stdout)
                     for ids in ([], ["--ids", "ahead"]))
    for rows, ids in ((device, "device"), (ahead, "ahead")):
        for row in rows:
            check_row(row)
            assert row["ids"] == ids and row["top_k"] == 5
        assert len({row["output_hash"] for row in rows}) == 1
    for found, wanted in zip(device, ahead):
        assert found["uses"] == wanted["uses"]
        assert found["workload_wrapped"] == wanted["workload_wrapped"]
    assert device[2]["route_wait_ms"] > 0 == ahead[2]["route_wait_ms"]  # naive_offload, never resident
    assert device[1]["resident_calls"] == 40 * device[1]["layers"] and not ahead[1]["resident_calls"]


def test_tokens_beyond_the_width_share_their_choice(ufm):
    """Token i of a step is routed as the one at i modulo d_model."""
    ids = save_sets(ufm, 200, 3, 5, 20)
    row, = ufm.rows(*STEERED, "--phase", "prefill", "--batch", "2", "--seq", "20", "--steps", "2",
                    "--warmup", "2", "--modes", "ufm", "--record-trace", "got.npy")
    check_row(row)
    wanted = [ids[step * 40 + i % 32] for step in range(4) for i in range(40)]
    assert numpy.array_equal(numpy.load(ufm.folder / "got.npy"), wanted)


def test_other_workloads_route_on_the_device(ufm):
    for workload in ("uniform", "zipf:1.1"):
        row, = ufm.rows("--experts", "8", "--modes", "ufm", "--workload", workload)
        assert row["ids"] == "device"


def test_trace_gives_top_k(ufm):
    numpy.save(ufm.folder / "t.npy", numpy.arange(96, dtype=numpy.uint8).reshape(8, 4, 3) % 8)
    row = ufm.rows("--experts", "8", "--modes", "baseline", "--workload", "trace:t.npy")[0]
    check_row(row)
    assert row["top_k"] == 3 and row["workload_wrapped"] is True


# ---- presets and phases

# 16 experts of 6 KB, whatever the preset says.
CUT = ["--layers", "2", "--d-model", "64", "--d-hidden", "16", "--experts", "16", "--backend", "cpu",
       "--vram-target", "400KiB", "--headroom", "0", "--steps", "2", "--batch", "2"]


def run_cut(ufm, *arguments):
    ended = ufm("bench", *CUT, "--no-figures", "-o", "json", *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    summary = json.loads((ufm.folder / "results" / "latest" / "summary.json").read_text())
    return json.loads(ended.stdout), summary["config"]


def test_a_preset_gives_what_is_not_given_by_hand(ufm):
    glm = ["--preset", "glm-4.5-air", "--seq", "16", "--top-k", "5"]
    rows, config = run_cut(ufm, *glm, "--modes", "baseline,ufm")
    for row in rows:
        check_row(row)
        assert (row["preset"], row["phase"], row["scoring"]) == ("glm-4.5-air", "steps", "sigmoid")
        assert (row["layers"], row["num_experts"], row["d_model"], row["top_k"]) == (2, 16, 64, 5)
        assert (row["kind"], row["dtype"], row["norm_topk"]) == ("gated", "bf16", True)
    assert rows[0]["output_hash"] == rows[1]["output_hash"]
    assert config["preset"] == {"value": "glm-4.5-air", "origin": "command line"}
    assert config["scoring"] == {"value": "sigmoid", "origin": "from the preset"}
    assert config["top-k"] == {"value": 5, "origin": "command line"}
    by_hand = run_cut(ufm, "--kind", "gated", "--dtype", "bf16", "--top-k", "5", "--norm-topk",
                      "--scoring", "sigmoid", "--modes", "ufm", "--seq", "16")[0][0]
    assert by_hand["output_hash"] == rows[0]["output_hash"] and by_hand["preset"] is None
    softmax = run_cut(ufm, *glm, "--modes", "ufm", "--scoring", "softmax")[0][0]
    assert softmax["output_hash"] != rows[0]["output_hash"]


def test_phases_are_rows_of_their_own(ufm):
    rows, config = run_cut(ufm, "--preset", "olmoe-1b-7b", "--phase", "decode,prefill", "--batch",
                           "3", "--seq", "20")
    assert [(row["mode"], row["phase"]) for row in rows] == [
        (mode, phase) for mode in ("ufm", "baseline", "naive_offload")
        for phase in ("decode", "prefill")]
    for row in rows:
        check_row(row)
        decode = row["phase"] == "decode"
        assert (row["batch"], row["seq"]) == (3, 1 if decode else 20)
        assert row["max_tokens"] == (3 if decode else 60)
    assert rows[0]["workspace_bytes"] < rows[1]["workspace_bytes"]
    assert rows[0]["slots"] > rows[1]["slots"]
    # One host tier for the modes that page-lock it, another for the one that does not.
    opened = [row["fill_s"] is not None for row in rows]
    assert opened == [True, False, False, False, True, False]
    for phase in (0, 1):
        assert len({row["output_hash"] for row in rows[phase::2]}) == 1
    assert config["max-tokens"]["value"] == "auto" and config["seq"]["value"] == 20
    names = os.listdir(ufm.folder / "results" / "latest")
    assert {"telemetry_ufm_decode_16.csv", "telemetry_naive_offload_prefill_16.csv"} <= set(names)
    table = ufm("bench", *CUT, "--phase", "decode", "--modes", "ufm", "--no-out").stdout
    assert "| ufm decode " in table and "seq 1 (decode)" in unwrapped(table)


def test_a_sweep_keeps_a_host_tier_as_long_as_it_serves(ufm):
    ended = ufm.bench("--no-out", "-o", "json", "--experts", "4,8", "--modes",
                      "ufm,naive_offload,baseline")
    rows = json.loads(ended.stdout)
    assert [(row["mode"], row["num_experts"], row["fill_s"] is not None) for row in rows] == [
        ("ufm", 4, True), ("baseline", 4, False), ("naive_offload", 4, True),
        ("ufm", 8, True), ("baseline", 8, False), ("naive_offload", 8, True)]
    alone = ufm.rows("--experts", "8", "--modes", "baseline")[0]
    assert alone["output_hash"] == rows[4]["output_hash"]


def test_decode_on_a_trace_interleaves_its_sequences(ufm):
    """Two sequences of two tokens; each step is a token of both."""
    ids = numpy.array([[[0, 1]], [[2, 3]], [[0, 4]], [[2, 5]]], dtype=numpy.uint8)
    numpy.save(ufm.folder / "t.npy", ids)
    row = ufm("bench", *CUT, "--layers", "1", "--workload", "trace:t.npy", "--phase", "decode",
              "--batch", "2", "--warmup", "0", "--modes", "ufm", "--no-out", "-o", "json")
    row = json.loads(row.stdout)[0]
    check_row(row)
    assert (row["uses"], row["top_k"], row["workload_wrapped"]) == (6, 2, False)


def test_a_figure_has_a_line_for_each_phase(ufm):
    run_cut(ufm, "--phase", "decode,steps", "--modes", "ufm", "--seq", "8")
    ended = ufm("plot", env={"PATH": str(ufm.folder)})
    assert "gnuplot" in ended.stderr
    script = (ufm.folder / "results" / "latest" / "throughput.gp").read_text()
    assert 'title "ufm_decode"' in script and 'title "ufm"' in script


# ---- what goes wrong

@pytest.mark.parametrize("arguments, named, code", [
    (["--experts", "0"], "--experts", 2),
    (["--experts", "4,4"], "--experts", 2),
    (["--experts", "x"], "--experts", 2),
    (["--layers", "0"], "--layers", 2),
    (["--d-model", "0"], "--d-model", 2),
    (["--d-model", "1048577"], "--d-model", 2),
    (["--steps", "0"], "--steps", 2),
    (["--batch", "-1"], "--batch", 2),
    (["--batch", "65536", "--seq", "65536"], "--batch x --seq", 2),
    (["--top-k", "5", "--experts", "4,8"], "--top-k", 2),
    (["--experts", "1"], "--top-k", 2),
    (["--vram-target", "4GB"], "--vram-target", 2),
    (["--vram-target", "-4GiB"], "--vram-target", 2),
    (["--headroom", "64MiB"], "--headroom", 2),
    (["--dtype", "f8"], "--dtype", 2),
    (["--preset", "gpt-oss-120b"], "--preset", 2),
    (["--preset", "deepseek-v3", "--experts", "7"], "--top-k", 2),
    (["--phase", "train"], "--phase", 2),
    (["--phase", "decode,decode"], "--phase", 2),
    (["--phase", "decode"], "--seq: found 16 with --phase decode", 2),
    (["--scoring", "tanh"], "--scoring", 2),
    (["--ids", "host"], "--ids", 2),
    (["--ids", "ahead"], "--ids: found ahead with --workload uniform", 2),
    (["--ids", "ahead", "--workload", "zipf:1"], "--ids: found ahead with --workload zipf:1", 2),
    (["--modes", "ufm,cpu"], "--modes", 2),
    (["--policy", "min"], "--policy", 2),
    (["--policy", "belady"], "freq", 2),
    (["--link-gbps", "0"], "--link-gbps", 2),
    (["--probe", "maybe"], "--probe", 2),
    (["--workload", "text:"], "--workload", 2),
    (["--workload", "zipf:x"], "zipf", 2),
    (["--workload", "nothing"], "uniform", 2),
    (["--workload", "sticky:olmoe"], "gpt-oss-20b, olmoe-1b-7b, qwen3-30b-a3b or 512-top-10", 2),
    (["--workload", "sticky:0.5,1"], "sticky:OVERLAP,SKEW,DRIFT", 2),
    (["--workload", "sticky:0.1,1,0", "--experts", "8", "--top-k", "4"],
     "--workload: sticky overlap: found 0.1, expected 0.5", 2),
    (["-o", "xml"], "-o: found", 2),
    (["--backend", "no-such-backend"], "no-such-backend", 3),
    (["--workload", "text:missing.txt"], "missing.txt", 4),
    (["--workload", "text:."], "regular file", 4),
    (["--workload", "trace:missing.npy"], "missing.npy", 4),
    (["--out", "/dev/null/results", "--experts", "4"], "/dev/null", 1),
])
def test_wrong_input_is_one_line(ufm, arguments, named, code):
    ended = ufm.bench(*arguments)
    assert ended.returncode == code, ended.stderr
    assert ended.stderr.count("\n") == 1 and named in ended.stderr
    assert ended.stdout == ""
    assert not os.path.exists(ufm.folder / "results")


def save(path, array):
    numpy.save(path, array)


def ranks_of(*shape):
    """A good trace of that shape: each event has the experts 0, 1, …"""
    return numpy.broadcast_to(numpy.arange(shape[2], dtype=numpy.uint8), shape)


@pytest.mark.parametrize("make, named", [
    (lambda p: p.write_bytes(b"no npy at all"), "bad.npy"),
    (lambda p: p.write_bytes(b""), "bad.npy"),
    (lambda p: save(p, numpy.zeros((4, 2), numpy.uint8)), "3"),
    (lambda p: save(p, numpy.zeros((4, 1, 2), numpy.float32)), "uint8"),
    (lambda p: save(p, ranks_of(4, 1, 2)), "layers"),
    (lambda p: save(p, ranks_of(4, 2, 3)), "--top-k"),
    (lambda p: save(p, numpy.zeros((4, 2, 2), numpy.uint8)), "expert id 0 twice"),
    (lambda p: save(p, ranks_of(4, 2, 2) + 7), "expert id 8 at token 0, layer 0, expected 0 to 7"),
    (lambda p: save(p, numpy.full((4, 2, 2), -1, numpy.int32)), "expert id -1"),
    (lambda p: save(p, numpy.zeros((0, 2, 2), numpy.uint8)), "bad.npy"),
    (lambda p: (save(p, numpy.zeros((4, 2, 2), numpy.uint8)), os.truncate(p, 130)), "bad.npy"),
])
def test_bad_traces(ufm, make, named):
    make(ufm.folder / "bad.npy")
    ended = ufm.bench("--workload", "trace:bad.npy", "--experts", "8", "--layers", "2", "--top-k",
                      "2")
    assert ended.returncode == 4
    assert ended.stderr.count("\n") == 1 and "bad.npy" in ended.stderr and named in ended.stderr


def objects(events):
    return "".join(json.dumps({"layer": i % 2, "token": i // 2, "experts": experts}) + "\n"
                   for i, experts in enumerate(events))


@pytest.mark.parametrize("events, named", [
    ([[0, 1], [1, 2], [2, 3], [3]], "found 1 experts at token 1, layer 1, expected 2 (--top-k)"),
    ([[0, 1], [1, 8]], "expert id 8 at token 0, layer 1"),
    ([[0, 1], [1, 1]], "line 2: found expert id 1 twice"),
    ([[0, 1], [1, 2], [2, 3]], "no layer 1"),
    ([[0], [1]], "--top-k"),
])
def test_bad_traces_of_objects(ufm, events, named):
    (ufm.folder / "bad.jsonl").write_text(objects(events))
    ended = ufm.bench("--workload", "trace:bad.jsonl", "--experts", "8", "--layers", "2", "--top-k",
                      "2")
    assert ended.returncode == 4
    assert ended.stderr.count("\n") == 1 and "bad.jsonl" in ended.stderr and named in ended.stderr


@pytest.mark.parametrize("events, named", [
    ([[0, 1], [1, 2], [2, 3], [3]], "found 1 experts at token 1, layer 9,"),
    ([[0, 1], [1, 8]], "expert id 8 at token 0, layer 9,"),
])
def test_a_layer_of_a_bad_trace_is_named_as_the_trace_does(ufm, events, named):
    text = objects(events).replace('"layer": 1', '"layer": 9').replace('"layer": 0', '"layer": 4')
    (ufm.folder / "bad.jsonl").write_text(text)
    ended = ufm.bench("--workload", "trace:bad.jsonl", "--experts", "8", "--layers", "2", "--top-k", "2")
    assert ended.returncode == 4 and named in ended.stderr


def test_a_trace_of_objects_routes_as_an_array_does(ufm):
    ids = numpy.array([[[0, 1], [2, 3]], [[4, 1], [5, 6]], [[7, 0], [1, 2]]], numpy.uint8)
    numpy.save(ufm.folder / "t.npy", ids)
    (ufm.folder / "t.jsonl").write_text(objects(ids.reshape(-1, 2).tolist()))
    hashes = {ufm.rows("--experts", "8", "--modes", "ufm", "--layers", "2", "--workload",
                       f"trace:t.{suffix}")[0]["output_hash"] for suffix in ("npy", "jsonl")}
    assert len(hashes) == 1


def test_a_sticky_router_comes_back_to_its_experts(ufm):
    """Half of the experts are resident: even routing would hit half of the time."""
    row = ufm.rows("--experts", "32", "--modes", "ufm", "--layers", "2", "--d-model", "64",
                   "--d-hidden", "16", "--vram-target", "400KiB", "--headroom", "0", "--backend",
                   "cpu", "--cpu-assist", "off", "--workload", "sticky:gpt-oss-20b", "--batch", "1",
                   "--seq", "1", "--warmup", "50", "--steps", "200")[0]
    check_row(row)
    assert row["top_k"] == 4 and row["uses"] == 2 * 4 * 200
    share = row["slots"] / 64
    assert 0 < share < 0.6 and row["resident_uses"] / row["uses"] > share + 0.1


@pytest.mark.parametrize("content", [b"", b" \n\t \n"])
def test_a_text_without_words(ufm, content):
    (ufm.folder / "none.txt").write_bytes(content)
    ended = ufm.bench("--workload", "text:none.txt")
    assert ended.returncode == 4
    assert ended.stderr.count("\n") == 1 and "none.txt" in ended.stderr


def test_a_target_too_small_says_what_would_do(ufm):
    ended = ufm.bench("--experts", "16", "--modes", "ufm", "--vram-target", "1MiB", "--no-out",
                      "-o", "json")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1 and "--vram-target" in ended.stderr
    row = json.loads(ended.stdout)[0]
    assert row["status"] == "error" and "at least" in row["error"]
    enough = int(row["error"].split("(")[-1].split(" bytes")[0])
    assert ufm.rows("--experts", "16", "--modes", "ufm", "--vram-target", enough)


def test_a_sweep_goes_on_after_a_failure(ufm):
    ended = ufm.bench("--experts", "16", "--modes", "ufm,naive_offload", "--vram-target", "1MiB",
                      "--no-out", "-o", "json")
    assert ended.returncode == 2
    assert [row["status"] for row in json.loads(ended.stdout)] == ["error", "ok"]


@pytest.mark.parametrize("modes", ["ufm,naive_offload", "naive_offload"])
def test_a_bank_larger_than_host_memory(ufm, modes):
    """Refused before anything is made, with what would run."""
    run = ["--experts", "4,65536", "--layers", "2", "--d-model", "1024", "--d-hidden", "8192", "--modes", modes]
    begin = time.monotonic()
    ended = ufm.bench(*run, "-o", "json")
    print(f"refused after {time.monotonic() - begin:.2f} s")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.count("\n") == 1 and not os.listdir(ufm.folder)
    words = re.fullmatch(r"ufm bench: error: a bank of \d+\.\d\d GiB does not fit: ([\d.]+) GiB of host memory can be "
                         r"had here(, of which ([\d.]+) GiB may be page-locked)?; --experts (\d+) would run\n",
                         ended.stderr)
    have, _, locked, experts = words.groups()
    assert (locked is None) == (modes == "naive_offload")
    assert int(experts) * 2 * 64 / 1024 == pytest.approx(float(locked or have), abs=0.3)


def test_a_full_results_folder(ufm):
    """A link to /dev/full: every write fails as on a disk without space."""
    (ufm.folder / "results").mkdir()
    name = "runs.jsonl"
    (ufm.folder / "results" / name).symlink_to("/dev/full")
    ended = ufm.bench("--experts", "4,8", "--modes", "ufm", "--no-figures", "--out", "results")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1 and name in ended.stderr
    assert "No space left" in ended.stderr


def test_standard_output_full(ufm, ufm_path):
    with open("/dev/full", "w") as full:
        ended = subprocess.run([ufm_path, "bench", *SMALL, "--experts", "4", "--modes", "ufm",
                                "--no-out"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1 and "standard output" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_what_was_measured(ufm, ufm_path, number):
    results = ufm.folder / "r"
    child = subprocess.Popen([ufm_path, "bench", *SMALL, "--experts", "4,8", "--modes", "ufm",
                              "--steps", "100000", "--no-figures", "-o", "json", "--out", "r"], cwd=ufm.folder,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    telemetry = results / "telemetry_ufm_4.csv"
    while time.monotonic() < until:
        # Steps are being measured once the calls counter has passed the warm-up.
        lines = telemetry.read_text().splitlines() if telemetry.exists() else []
        if len(lines) > 2 and lines[-1].count(",") == lines[0].count(","):
            calls = lines[0].split(",").index("calls")
            if int(float(lines[-1].split(",")[calls])) > 5:
                break
        time.sleep(0.05)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert err.count("\n") == 1 and "interrupted" in err
    rows = json.loads(out)
    assert len(rows) == 1 and rows[0]["status"] == "error"
    assert 1 <= len(rows[0]["step_ms"]) < 100000
    assert f"interrupted after {len(rows[0]['step_ms'])} of" in rows[0]["error"]
    assert [json.loads(line) for line in (results / "runs.jsonl").open()] == rows
    assert json.loads((results / "summary.json").read_text())["interrupted"] is True


# ---- outputs that go wrong

TINY_RUN = ["--backend", "cpu", "--d-model", "32", "--d-hidden", "64", "--experts", "8", "--batch", "1", "--seq", "8", "--steps",
         "2", "--vram-target", "600KiB", "--headroom", "0", "--no-figures"]


def shell(script):
    import os
    import subprocess
    binary = os.path.join(os.environ.get("UFM_BUILD_DIR", "build"), "ufm")
    return subprocess.run(["bash", "-c", script, binary], capture_output=True, text=True, timeout=120)


def test_closed_stdout_is_not_a_results_file(tmp_path):
    out = tmp_path / "r"
    result = shell(f'"$0" bench {" ".join(TINY_RUN)} --modes ufm -o jsonl --out {out} >&-')
    assert result.returncode == 1
    assert len((out / "runs.jsonl").read_text().splitlines()) == 1


def test_earlier_rows_are_replaced_by_new_ones(tmp_path):
    """And what stood beside them, though the same run writes files of the same names."""
    out = f"--out {tmp_path} --no-figures"
    assert shell(f'"$0" bench {" ".join(TINY_RUN)} --modes ufm,baseline {out}').returncode == 0
    before = (tmp_path / "telemetry_ufm_8.csv").read_text()
    (tmp_path / "telemetry_ufm_9.csv.tmp").write_text("of a run that was killed")
    assert shell(f'"$0" bench {" ".join(TINY_RUN)} --modes ufm --seed 2 {out}').returncode == 0
    row, = map(json.loads, (tmp_path / "runs.jsonl").read_text().splitlines())
    assert (row["mode"], row["seed"]) == ("ufm", 2)
    assert sorted(os.listdir(tmp_path)) == ["runs.jsonl", "summary.json", "table.md", "telemetry_ufm_8.csv"]
    assert (tmp_path / "telemetry_ufm_8.csv").read_text() != before


def test_two_benches_in_one_folder(tmp_path):
    """The second is refused, whether the first replaces earlier rows or not."""
    for _ in range(2):
        script = (f'"$0" bench {" ".join(TINY_RUN)} --steps 100000 --modes ufm --out {tmp_path} & sleep 0.5; '
                  f'"$0" bench {" ".join(TINY_RUN)} --modes ufm --out {tmp_path}; code=$?; kill -INT $!; wait; exit $code')
        result = shell(f"set -m; {script}")
        assert result.returncode == 1
        assert f"another bench is writing to {tmp_path}" in result.stderr
        assert (tmp_path / "runs.jsonl").read_text().count("\n") == 1


def test_earlier_results_are_replaced(tmp_path):
    for name in ("telemetry_ufm_7.csv", "throughput.png", "summary.json", "mine.txt"):
        (tmp_path / name).write_text("old")
    assert shell(f'"$0" bench {" ".join(TINY_RUN)} --modes ufm --out {tmp_path}').returncode == 0
    assert not (tmp_path / "telemetry_ufm_7.csv").exists()
    assert not (tmp_path / "throughput.png").exists()
    assert (tmp_path / "mine.txt").read_text() == "old"


def test_a_cut_row_is_dropped(tmp_path):
    out = tmp_path / "r"
    result = shell(f'ulimit -f 2; "$0" bench {" ".join(TINY_RUN)} --out {out} -o csv')
    assert result.returncode == 1
    assert "too large" in result.stderr
    assert (out / "runs.jsonl").read_text().count("\n") == len(
        (out / "runs.jsonl").read_text().splitlines())


def test_two_signals_at_once_keep_what_was_measured(tmp_path):
    out = tmp_path / "r"
    script = (f'"$0" bench {" ".join(TINY_RUN)} --steps 100000 --modes ufm --out {out} & '
              "sleep 0.5; kill -INT $!; kill -TERM $!; wait $!")
    result = shell(f"set -m; {script}")
    assert result.returncode == 130
    assert (out / "summary.json").exists()


def test_target_above_the_card(tmp_path):
    result = shell(f'"$0" bench {" ".join(TINY_RUN)} --vram-limit 500KiB --no-out')
    assert result.returncode == 2
    assert "--vram-limit" in result.stderr


def test_a_terminal_shows_how_far_the_bank_is(ufm):
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    command = ufm.command("bench", *SMALL, "--no-out", "--modes", "ufm", "--experts", "16", "-o", "json")
    with subprocess.Popen(command, cwd=ufm.folder, stdin=subprocess.DEVNULL, stderr=terminal,
                          stdout=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(terminal)
        shown = b""
        try:
            while part := os.read(main, 4096):
                shown += part
        except OSError:
            pass  # the other end is closed
        assert process.wait(timeout=60) == 0
    os.close(main)
    lines = [line for line in shown.decode().split("\r\x1b[K") if "filling the bank" in line]
    assert "[--------------------] 0.0 of 0.0 GiB" in lines[0]
    assert lines[0].startswith("[1/1] ufm, 16 experts: ")
    assert "[####################] 0.0 of 0.0 GiB, " in lines[-1] and "0 s left" in lines[-1]


def test_arithmetic_that_the_backend_lacks_is_refused(ufm, tmp_path):
    done = ufm("bench", "--backend", "cpu", "--math", "tf32", "--experts", "2", "--d-model", "8",
               "--d-hidden", "8", "--steps", "1", "--no-out", "-o", "jsonl")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 3
    assert {row["status"] for row in rows} == {"error"}
    assert all("--math: tf32, expected fp32: the cpu backend" in row["error"] for row in rows)
    assert {row["math"] for row in rows} == {"tf32"}
    assert {row["tf32_rows"] for row in rows} == {None}
