# SPDX-License-Identifier: MIT
"""tests/gpu/speed.sh and speed_report.py, with programs that only write rows in the place of ours."""
import importlib.util
import json
import os
import subprocess
import sys
import tarfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPEED = os.path.join(ROOT, "tests", "gpu", "speed.sh")
REPORT = os.path.join(ROOT, "tests", "gpu", "speed_report.py")

spec = importlib.util.spec_from_file_location("speed_report", REPORT)
report = importlib.util.module_from_spec(spec)
sys.modules["speed_report"] = report
spec.loader.exec_module(report)

# Threads of PyTorch that spin beside other tests take minutes.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}

# A `ufm` that says what it was asked and writes a row for each mode, number of experts and phase.
FAKE_UFM = """#!/usr/bin/env bash
case "$1 $*" in
--version*) echo "0.0 (${FAKE_VERSION:-a})" ;;
doctor*) echo '{}' ;;
plot* | *--no-out*) ;;
replay*) echo '{"policy":"freq","capacity":9,"uses":30,"hits":15,"hit_rate":0.5}' ;;
*)
	echo "$*" >>"$(dirname "$0")/asked.txt"
	[[ " $* " != *" ${FAKE_FAILS:-nothing} "* ]] || exit 1
	exec python3 -SE "$(dirname "$0")/write_rows.py" "$@"
	;;
esac
"""
WRITE_ROWS = """
import json, os, sys
args = sys.argv[1:]
given = dict(zip(args, args[1:] + [""]))
os.makedirs(given["--out"], exist_ok=True)
assist = given.get("--cpu-assist", "off")
if given.get("--timeline"):
    open(given["--timeline"], "w").write("[]")
with open(os.path.join(given["--out"], "runs.jsonl"), "w") as rows:
    for experts in map(int, given.get("--experts", "128").split(",")):
        for phase in given.get("--phase", "steps").split(","):
            for mode in given["--modes"].split(","):
                rows.write(json.dumps({
                        "mode": mode, "num_experts": experts, "status": "ok", "error": None, "layers": 2,
                        "phase": phase, "seq": int(given.get("--seq", 1)), "batch": 1, "slots": 9, "ring_slots": 2,
                        "tokens_per_s": 1000.0, "step_ms": [1.0 + experts] * 3, "step_ms_median": 1.0 + experts,
                        "fraction_of_floor": 0.99, "bound_by": "link", "h2d_weight_bytes": 3000 * experts,
                        "uses": 3 * 2 * 5, "resident_uses": 15, "cpu_uses": 0 if assist == "off" else 3,
                        "experts_touched": 5.0, "prefetch_loads": 0, "output_hash": "aa", "policy": "freq",
                        "warmup": 1, "probe_hbm_gbps": 4000.0, "probe_link_gbps": 54.0,
                        "probe_dram_gbps": 100.0}, separators=(",", ":")) + "\\n")
"""
FAKE_KERNELS = """#!/usr/bin/env bash
while [ $# -gt 0 ]; do [ "$1" = --dtype ] && dtype=$2; shift; done
for tokens in 1 9 32; do
	echo "{\\"dtype\\":\\"$dtype\\",\\"tokens\\":$tokens,\\"ms\\":1.0,\\"weights_gbps\\":3600.0,\\"tflops\\":30.0,\\"steps\\":20}"
done
"""
NO_PEERS = ["machine", "reference", "reference_cpu", "bf16", "bf16_cpu", "skinny", "qwen3", "qwen3_cpu", "prefill",
            "prefill_cpu", "gptoss", "gptoss_cpu", "resident", "growth", "timeline"]


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def speed(tmp_path):
    build = tmp_path / "build"
    program(build / "ufm", FAKE_UFM)
    program(build / "write_rows.py", WRITE_ROWS)
    program(build / "bench" / "experts", FAKE_KERNELS)
    (tmp_path / "trace.npy").write_bytes(b"")
    (tmp_path / "out").mkdir()

    def run(*arguments, **env):
        command = [SPEED, "--build", build, "--results", tmp_path / "results", "--backend", "cpu",
                   "--python", sys.executable, "--trace", tmp_path / "trace.npy", *arguments]
        return subprocess.run([str(part) for part in command], text=True, capture_output=True, timeout=200,
                              env={**os.environ, "OUT": str(tmp_path / "out"), **ONE_THREAD, **env})
    run.results, run.out, run.asked = tmp_path / "results", tmp_path / "out", build / "asked.txt"
    return run


def test_every_stage_leaves_rows_and_the_archive_holds_them(speed):
    ended = speed(*NO_PEERS)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for stage in NO_PEERS:
        assert (speed.results / stage / "passed").exists(), stage
        assert f"== {stage}: passed" in ended.stdout
        if stage not in ("machine", "skinny"):
            assert (speed.results / stage / "rows" / "command.txt").read_text().startswith("tools/record rows")
    with tarfile.open(speed.out / "speed-results.tar.gz") as archive:
        held = archive.getnames()
    assert "results/report.md" in held and "results/gptoss/rows/replay.jsonl" in held
    assert "results/timeline/timeline.json.gz" in held
    asked = speed.asked.read_text()
    for words in ("--experts 96,144,192", "--preset qwen3-30b-a3b --vram-target 16GiB", "--cpu-assist auto",
                  "--phase decode,prefill --seq 512", "--seq 8192", "--preset gpt-oss-20b --vram-target 12GiB"):
        assert words in asked, words


def test_it_goes_on_where_it_was_interrupted(speed):
    assert speed("machine", "growth").returncode == 0
    again = speed("machine", "growth", "timeline", "--seconds", "60")
    assert again.returncode == 0
    assert again.stdout.count("passed before") == 2 and "== timeline: passed (" in again.stdout
    # Too little time is left for this one.
    late = speed("reference", "--seconds", "20")
    assert late.returncode == 75 and "left out, it may take" in late.stdout
    # What another build measured is measured again.
    other = speed("growth", FAKE_VERSION="b")
    assert other.returncode == 0 and "passed before" not in other.stdout


def test_a_failed_stage_does_not_stop_the_others(speed):
    ended = speed("bf16", "growth", FAKE_FAILS="bf16")
    assert ended.returncode == 1
    assert "== bf16: FAILED" in ended.stdout and "== growth: passed" in ended.stdout
    assert not (speed.results / "bf16" / "passed").exists()
    lost = speed("gptoss", "--trace", "/nowhere.npy")
    assert lost.returncode == 1 and "expected the recorded routing" in lost.stdout


@pytest.mark.parametrize("arguments, code, words", [
    (["fast"], 2, "stage 'fast', expected one of machine reference"),
    (["--size", "huge"], 2, "--size full|tiny"),
    (["--seconds"], 2, "--seconds N"),
    (["--build", "/nowhere"], 3, "no build"),
])
def test_wrong_arguments(speed, arguments, code, words):
    ended = speed(*arguments)
    assert ended.returncode == code and words in ended.stderr


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="not installed: torch")
def test_peers_run_beside_the_rows(speed):
    ended = speed("--size", "tiny", "peers")
    assert ended.returncode == 0, ended.stdout
    rows = report.Results(speed.results).rows("peers")
    assert {row["mode"] for row in rows} >= {"torch_resident", "torch_naive", "torch_lru", "torch_restream"}


# ---- the report, on rows made here

def row(**more):
    return {"mode": "ufm", "num_experts": 192, "status": "ok", "error": None, "layers": 1, "step_ms": [10.0] * 10,
            "step_ms_median": 10.0, "tokens_per_s": 51200.0, "fraction_of_floor": 0.98, "bound_by": "link",
            "h2d_weight_bytes": 0, "cpu_uses": 1, "prefetch_loads": 0, "output_hash": "aa", **more}


def write(folder, stage, *rows, file="runs.jsonl"):
    (folder / stage / "rows").mkdir(parents=True, exist_ok=True)
    (folder / stage / "rows" / file).write_text("".join(json.dumps(r) + "\n" for r in rows))


def verdicts(folder):
    return {line.case: line.verdict for line in report.lines_of(report.Results(folder))}


def lines(folder):
    return {line.case: line for line in report.lines_of(report.Results(folder))}


def test_nothing_measured_has_no_verdict(tmp_path):
    assert set(verdicts(tmp_path).values()) == {"no row"}
    assert list(report.broken(report.Results(tmp_path))) == []


@pytest.mark.parametrize("fraction, verdict", [(0.97, "met"), (0.969, "short"), (None, "no figure")])
def test_a_fraction_is_met_from_its_target_on(tmp_path, fraction, verdict):
    write(tmp_path, "reference", row(fraction_of_floor=fraction))
    assert verdicts(tmp_path)["192 experts, fp32, CPU off"] == verdict


def test_fits_needs_the_speed_and_no_bytes(tmp_path):
    base = row(mode="baseline", num_experts=96)
    for more, verdict in (({}, "met"), ({"h2d_weight_bytes": 1}, "short"), ({"tokens_per_s": 50000.0}, "short")):
        write(tmp_path, "reference", base, row(num_experts=96, **more))
        assert verdicts(tmp_path)["96 experts, fp32, ufm against baseline"] == verdict


def test_a_cpu_path_that_did_not_run_is_short(tmp_path):
    write(tmp_path, "reference_cpu", row(cpu_uses=0, cpu_assist="off: it did not pay"))
    line = lines(tmp_path)["192 experts, fp32, CPU on"]
    assert line.verdict == "short" and "off: it did not pay" in line.measured


def test_the_absolute_target_binds_only_fast_machines(tmp_path):
    case = "192 experts, fp32, CPU on, absolute"
    for link, verdict in ((55.0, "short"), (54.9, "does not apply"), (None, "no figure")):
        write(tmp_path, "reference_cpu", row(tokens_per_s=7000.0, probe_link_gbps=link, probe_dram_gbps=120.0))
        assert verdicts(tmp_path)[case] == verdict


def test_skinny_kernels_are_judged_by_their_worst(tmp_path):
    write(tmp_path, "reference", row(probe_hbm_gbps=4000.0, probe_gflops=50_000.0))  # below 60: 60 count
    kernel = {"dtype": "f32", "ms": 1.0, "steps": 20, "tflops": 1.0}
    write(tmp_path, "skinny", kernel | {"tokens": 1, "weights_gbps": 3600.0},
          kernel | {"tokens": 8, "weights_gbps": 3100.0}, kernel | {"tokens": 16, "weights_gbps": 2800.0},
          kernel | {"tokens": 32, "weights_gbps": 1000.0, "tflops": 42.0})
    found = lines(tmp_path)
    assert found["skinny kernels, f32, 1–8 tokens an expert"].verdict == "short"
    assert found["skinny kernels, f32, 1–8 tokens an expert"].fraction == pytest.approx(0.775)
    assert found["skinny kernels, f32, 9–16 tokens an expert"].verdict == "met"
    # Bound by arithmetic: 42 of 60 TFLOP/s.
    assert found["skinny kernels, f32, 17–32 tokens an expert"].fraction == pytest.approx(0.70)
    assert found["skinny kernels, bf16, 1–32 tokens an expert"].verdict == "no row"


def test_hit_rate_is_compared_over_the_measured_tokens(tmp_path):
    case = "gpt-oss-20b, recorded routing, hit rate"
    measured = row(phase="decode", uses=960, resident_uses=700, slots=237, policy="freq", warmup=5)
    write(tmp_path, "gptoss", measured)
    assert verdicts(tmp_path)[case] == "no figure"
    other = {"policy": "lru", "capacity": 237, "hit_rate": 0.0}
    for hit_rate, verdict in ((700 / 960, "met"), (740 / 960, "short")):
        write(tmp_path, "gptoss", other, {"policy": "freq", "capacity": 237, "hit_rate": hit_rate},
              file="replay.jsonl")
        assert verdicts(tmp_path)[case] == verdict


def test_prefill_moves_each_miss_once_and_is_no_slower_with_the_cpu(tmp_path):
    off = row(phase="prefill", seq=512, layers=48, uses=10 * 48 * 128, experts_touched=128.0)
    write(tmp_path, "qwen3", off)
    write(tmp_path, "qwen3_cpu", off | {"tokens_per_s": 50000.0})
    found = verdicts(tmp_path)
    assert found["qwen3-30b-a3b, prefill of 512, CPU off"] == "met"
    assert found["qwen3-30b-a3b, prefill of 512, CPU on"] == "short"
    write(tmp_path, "qwen3", off | {"uses": 2 * off["uses"]})
    assert verdicts(tmp_path)["qwen3-30b-a3b, prefill of 512, CPU off"] == "short"


def test_a_resident_layer_is_judged_by_its_time(tmp_path):
    for step_ms, verdict in ((1.92, "met"), (1.93, "short")):
        write(tmp_path, "resident", row(mode="baseline", layers=48, step_ms_median=step_ms), row(layers=48))
        assert verdicts(tmp_path)["everything resident, qwen3 decode, baseline"] == verdict


@pytest.mark.parametrize("bend_ms, verdict", [(0.0, "met"), (5.0, "short")])
def test_growth_is_a_straight_line(tmp_path, bend_ms, verdict):
    gigabyte_ms = 1000 / 55
    write(tmp_path, "growth", *(
        row(num_experts=experts, h2d_weight_bytes=10 * gigabytes * 10**9,
            step_ms_median=5 + gigabytes * gigabyte_ms + (bend_ms if experts == 640 else 0))
        for experts, gigabytes in ((96, 0), (192, 10), (320, 25), (640, 52))))
    line = lines(tmp_path)["growth, fp32, CPU off"]
    assert line.verdict == verdict, line.measured
    assert bend_ms or "55.00 GB/s + 5.00 ms; worst 0.00 µs" in line.measured


def test_what_must_not_be_turns_the_report_red(tmp_path):
    write(tmp_path, "growth", row(status="error", error="lost"), row(mode="baseline", status="oom"),
          row(fraction_of_floor=1.2))
    write(tmp_path, "reference", row(mode="baseline"), row(output_hash="bb"))
    rules = list(report.broken(report.Results(tmp_path)))
    assert len(rules) == 3 and "lost" in rules[0] and "floor is wrong" in rules[1] and "other bits" in rules[2]
    ended = subprocess.run([sys.executable, "-B", REPORT, str(tmp_path)], text=True, capture_output=True)
    assert ended.returncode == 1 and ended.stdout.count("BROKEN") == 3
    assert subprocess.run([sys.executable, "-B", REPORT], capture_output=True).returncode == 2
