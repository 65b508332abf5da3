# SPDX-License-Identifier: MIT
"""bench/defaults, which measures; tests/gpu/defaults.sh, which has it measure two builds; and the report."""
import importlib.util
import json
import os
import struct
import subprocess
import sys
import tarfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, "tests", "gpu", "defaults.sh")
REPORT = os.path.join(ROOT, "tests", "gpu", "defaults_report.py")
BUILD = os.path.abspath(os.environ.get("UFM_BUILD_DIR", os.path.join(ROOT, "build")))
PROGRAM = os.path.join(BUILD, "bench", "defaults")

spec = importlib.util.spec_from_file_location("defaults_report", REPORT)
report = importlib.util.module_from_spec(spec)
sys.modules["defaults_report"] = report
spec.loader.exec_module(report)


# ---- the program

LAYERS, EXPERTS, TOP_K, WIDTH = 2, 6, 2, 16


def trace(path, tokens, kind="|u1", experts=EXPERTS):
    """Ids that walk through all experts, the two of a token apart from each other."""
    ids = [(t + 2 * layer + 3 * rank) % experts for t in range(tokens) for layer in range(LAYERS)
           for rank in range(TOP_K)]
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({tokens}, {LAYERS}, {TOP_K}), }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() +
                     struct.pack(f"<{len(ids)}{'B' if kind == '|u1' else 'H'}", *ids))
    return path


def measure(path, *more):
    command = [PROGRAM, "--trace", path, "--backend", "cpu", "--layers", LAYERS, "--experts", EXPERTS, "--top-k", TOP_K,
               "--d-model", WIDTH, "--d-hidden", 16, "--cpu-threads", 1, "--steps", 3, "--warmup", 3, "--prefill-steps", 2,
               "--prefill-warmup", 1, *more]
    return subprocess.run([str(part) for part in command], text=True, capture_output=True, timeout=120)


def rows_of(ended):
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize("kind, tokens", [("|u1", 16), ("<u2", 11), ("|u1", 3)])
def test_the_devices_routers_make_the_choice_of_the_trace(tmp_path, kind, tokens):
    rows = rows_of(measure(trace(tmp_path / "t.npy", tokens, kind), "--phases", "decode:1,decode:3,prefill:7,prefill:48",
                           "--residency", "50,100,resident,1MiB", "--rounds", 2))
    assert len(rows) == 4 * 4 * 3 * 2
    assert {row["ids_off"] for row in rows} == {0}
    for row in rows:
        assert row["steps"] == (3 if row["phase"] == "decode" else 2) and row["tokens_per_s"] > 0
        assert row["tokens_per_s"] == pytest.approx(row["steps"] * row["tokens"] / row["seconds"], rel=0.01)
        assert row["counters"]["tokens"] == LAYERS * row["steps"] * row["tokens"]
        assert (row["slots"] == 6) == (row["residency"] == "50")
    assert [row["assist"] for row in rows[:6]] == ["auto", "off", "on"] * 2
    assert all(row["counters"]["cpu_uses"] == 0 for row in rows if row["assist"] == "off")
    assert all(row["cpu_threads"] == 1 for row in rows if row["assist"] == "on" and row["residency"] == "50")


def test_uses_are_those_of_the_trace(tmp_path):
    # decode:2 of eight tokens: two sequences of four; the two tokens of a step are four apart.
    rows = rows_of(measure(trace(tmp_path / "t.npy", 8, experts=6), "--phases", "decode:2", "--residency", "resident",
                           "--assist", "off", "--rounds", 1, "--steps", 4, "--warmup", 4))
    distinct = sum(len({(t + 2 * layer + 3 * rank) % 6 for t in (step, step + 4) for rank in range(2)})
                   for step in range(4) for layer in range(LAYERS))
    assert rows[0]["counters"]["uses"] == distinct
    assert rows[0]["counters"]["resident_uses"] == distinct


def test_tokens_beyond_the_width_are_left_out(tmp_path):
    assert {row["ids_off"] for row in rows_of(measure(trace(tmp_path / "t.npy", 40), "--rounds", 1))} == {0}


def test_a_window_ends_early(tmp_path):
    rows = rows_of(measure(trace(tmp_path / "t.npy", 8), "--rounds", 1, "--steps", 90000, "--seconds", 0.05,
                           "--residency", "100"))
    assert all(0 < row["steps"] < 90000 and row["seconds"] < 5 for row in rows)


@pytest.mark.parametrize("more, words", [
    (["--residency", "most"], "--residency: 'most', expected percent"),
    (["--residency", "101"], "--residency: '101'"),
    (["--phases", "decode"], "--phases: 'decode', expected decode:SEQUENCES or prefill:TOKENS"),
    (["--phases", "decode:9"], "--phases: '9', expected a number of 1 … 8"),
    (["--phases", "prefill:0"], "--phases: '0'"),
    (["--assist", "maybe"], "--assist: 'maybe', expected auto, off or on"),
    (["--top-k", 3], "2 layers, 2 ids a token; expected at least 2 and 3"),
    (["--layers", 3], "2 layers, 2 ids a token; expected at least 3 and 2"),
    (["--experts", 5], "expert 5, expected less than 5"),
    (["--steps", 0], "--steps: '0', expected a number of 1"),
    (["--steps", "3x"], "--steps: '3x'"),
    (["--seconds", 0], "--seconds: 0, expected more than 0"),
    (["--dtype", "f16"], "--dtype: 'f16'"),
    (["--nothing", 1], "--nothing: unknown option"),
    (["--steps"], "--steps: needs a value"),
    (["--backend", "nowhere"], "host tier: "),
])
def test_wrong_options(tmp_path, more, words):
    ended = measure(trace(tmp_path / "t.npy", 8), *more)
    assert ended.returncode == 1 and words in ended.stderr and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("bytes_, words", [
    (b"", "no NumPy file"), (b"\x93NUMPY\x01\x00\xff\xff", "header of 65535 bytes"),
    (b"\x93NUMPY\x01\x00\x1c\x00{'descr': '|u1', 'shape': 1}", "expected the shape"),
])
def test_wrong_traces(tmp_path, bytes_, words):
    (tmp_path / "t.npy").write_bytes(bytes_)
    assert words in measure(tmp_path / "t.npy").stderr
    short = trace(tmp_path / "s.npy", 8)
    short.write_bytes(short.read_bytes()[:-1])
    assert "ends early" in measure(short).stderr
    assert "expected ids in u1 or <u2" in measure(trace(tmp_path / "i.npy", 8, "<i4")).stderr
    assert "cannot be opened" in measure(tmp_path / "none.npy").stderr


# ---- the script

FAKE_UFM = """#!/usr/bin/env bash
echo "$(basename "$(dirname "$0")") $UFM_BACKEND_PATH $*" >>"$(dirname "$0")/../asked.txt"
case "$1 $*" in
--version*) echo "0.0 (${FAKE_VERSION:-a})" ;;
doctor*) echo '{}' ;;
plan*) echo '{"slots": 9, "decode_tokens_per_s": 1.0}' ;;
*)
	[[ " $* " != *" ${FAKE_FAILS:-nothing} "* ]] || exit 1
	while [ $# -gt 1 ]; do
		[ "$1" != --record-trace ] || echo trace >"$2"
		[ "$1" != --out ] || { mkdir -p "$2" && echo '{"status": "ok", "num_experts": 9, "tokens_per_s": 2.0}' >"$2/runs.jsonl"; }
		shift
	done
	;;
esac
"""
FAKE_PROGRAM = """#!/usr/bin/env bash
echo "program $LD_LIBRARY_PATH $UFM_BACKEND_PATH $*" >>"$(dirname "$0")/../../asked.txt"
label=$2
for assist in auto off on; do
	for round in 0 1; do
		echo '{"label":"'$label'","assist":"'$assist'","phase":"decode","tokens":1,"residency":"15","round":'$round',
			"steps":1,"seconds":0.2,"tokens_per_s":5.0,"ids_off":0,"slots":9,"cpu_assist":"on","counters":{"uses":10,"resident_uses":5}}' |
			tr -d '\\n'
		echo
	done
done
"""
STAGES = ["machine", "traces", "decode", "exact", "prefill", "cpu_link", "large", "plan"]


@pytest.fixture
def defaults(tmp_path):
    for path, text in (("now/ufm", FAKE_UFM), ("then/ufm", FAKE_UFM), ("now/bench/defaults", FAKE_PROGRAM),
                       ("then/libufm.so.2", "")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        (tmp_path / path).chmod(0o755)
    (tmp_path / "out").mkdir()

    def run(*arguments, **env):
        command = [SCRIPT, "--build", tmp_path / "now", "--before", tmp_path / "then", "--results", tmp_path / "results",
                   "--backend", "cpu", *arguments]
        return subprocess.run([str(part) for part in command], text=True, capture_output=True, timeout=200,
                              env={**os.environ, "OUT": str(tmp_path / "out"), **env})
    run.results, run.out, run.asked, run.at = tmp_path / "results", tmp_path / "out", tmp_path / "asked.txt", tmp_path
    return run


def test_every_stage_leaves_rows_and_the_archive_holds_them(defaults):
    ended = defaults()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for stage in STAGES:
        assert f"== {stage}: passed (" in ended.stdout
    with tarfile.open(defaults.out / "defaults-results.tar.gz") as archive:
        held = archive.getnames()
    for name in ("report.md", "decode/rows/one-now-1.jsonl", "decode/rows/eight-before-1.jsonl", "decode/machine.json",
                 "decode/rows/command.txt", "exact/rows/one-before-1.jsonl", "prefill/rows/prefill-now-1.jsonl",
                 "cpu_link/rows/link-now-1.jsonl", "large/prefill_on_before/runs.jsonl", "plan/rows/prefill_8192.jsonl"):
        assert f"results/{name}" in held, name
    asked = defaults.asked.read_text()
    now, then = defaults.at / "now", defaults.at / "then"
    for words in (f"program {now} {now} --label now", f"program {then} {then} --label before", "--residency 15,30,52,80",
                  "--residency 4GiB,8GiB,14GiB,resident", "--phases prefill:512,prefill:8192", "--link-gbps 1 --trace",
                  "--vram-target 15%,30%,52%,80%", "--vram-target 4GiB,8GiB,14GiB,100%", f"then {then} bench",
                  f"now {now} bench", "--experts 144,192"):
        assert words in asked, words


def test_a_library_of_another_soname_is_measured_by_its_own_program(defaults):
    (defaults.at / "then/libufm.so.2").rename(defaults.at / "then/libufm.so.1")
    refused = defaults("exact")
    assert refused.returncode == 3 and "libufm.so.2 (or libufm.so.1 and bench/defaults)" in refused.stderr
    program = defaults.at / "then/bench/defaults"
    program.parent.mkdir()
    program.write_text(FAKE_PROGRAM.replace("echo \"program", "echo \"earlier program"))
    program.chmod(0o755)
    traces = defaults("traces", "exact")
    assert traces.returncode == 0, traces.stdout + traces.stderr
    asked = defaults.asked.read_text()
    now, then = defaults.at / "now", defaults.at / "then"
    assert f"earlier program {then} {then} --label before" in asked
    assert f"\nprogram {now} {now} --label now" in asked and f"earlier program {now}" not in asked


def test_it_goes_on_where_it_was_interrupted(defaults):
    assert defaults("machine", "traces").returncode == 0
    again = defaults("machine", "traces", "decode", "--seconds", 100)
    assert again.returncode == 75 and again.stdout.count("passed before") == 2 and "decode: left out" in again.stdout
    other = defaults("traces", FAKE_VERSION="b")
    assert other.returncode == 0 and "passed before" not in other.stdout


def test_passes_take_turns(defaults):
    assert defaults("exact", "--passes", 2).returncode == 0
    labels = [line.split("--label ")[1].split()[0] for line in defaults.asked.read_text().splitlines()
              if line.startswith("program")]
    assert labels == ["now", "before"] * 2


def test_a_failed_stage_does_not_stop_the_others(defaults):
    ended = defaults("large", "exact", FAKE_FAILS="qwen3-30b-a3b")
    assert ended.returncode == 1 and "== large: FAILED" in ended.stdout and "== exact: passed" in ended.stdout


@pytest.mark.parametrize("arguments, code, words", [
    (["fast"], 2, "stage 'fast', expected one of machine traces"),
    (["--size", "huge"], 2, "--size full|tiny"),
    (["--before", "/nowhere"], 3, "--before '/nowhere': expected a folder"),
    (["--build", "/nowhere"], 3, "no build"),
])
def test_wrong_arguments(defaults, arguments, code, words):
    ended = defaults(*arguments)
    assert ended.returncode == code and words in ended.stderr


# ---- the report, on rows made here

BEFORE = [("before", assist) for assist in ("auto", "off", "on")]
NOW = [("now", assist) for assist in ("auto", "off", "on")]


def write(folder, stage, speeds, hits=5, file="one", **more):
    """speeds: {(label, assist): speed, or one for each round}; hits of ten, or {assist: hits}."""
    rows = folder / stage / "rows"
    rows.mkdir(parents=True, exist_ok=True)
    for label in ("now", "before"):
        with open(rows / f"{file}-{label}-1.jsonl", "a", encoding="utf-8") as out:
            for way, speed in speeds.items():
                for number, value in enumerate(speed if isinstance(speed, list) else [speed]):
                    if way[0] == label:
                        counted = hits[way[1]] if isinstance(hits, dict) else hits
                        out.write(json.dumps({
                            "label": label, "assist": way[1], "phase": "decode", "tokens": 1, "residency": "15",
                            "round": number, "steps": 10, "seconds": 10 * more.get("tokens", 1) / value,
                            "tokens_per_s": value, "ids_off": 0, "slots": 9, "cpu_assist": "on",
                            "counters": {"uses": 1000, "resident_uses": 100 * counted}} | more) + "\n")


def alike(speed=100.0, **changed):
    """All ways as fast, but for now_auto=…"""
    return {way: changed.get("_".join(way), speed) for way in NOW + BEFORE}


def targets(folder):
    made = report.Report(str(folder))
    made.print_all()
    return {line[0]: line for line in made.lines}, made.wrong


def found(folder, start):
    lines = [line for what, line in targets(folder)[0].items() if what.startswith(start)]
    assert len(lines) == 1, lines
    return lines[0]


def test_nothing_measured_has_no_verdict(tmp_path):
    lines, wrong = targets(tmp_path)
    assert {line[-1] for line in lines.values()} == {"no row"} and not wrong


@pytest.mark.parametrize("other", ["now_off", "now_on", "before_auto", "before_off", "before_on"])
def test_auto_is_held_against_the_best_of_both_builds(tmp_path, other):
    write(tmp_path, "decode", alike())
    write(tmp_path, "prefill", alike(**{other: 104.0}), residency="80", phase="prefill", file="p")
    line = found(tmp_path, "auto of the best")
    assert line[2].startswith("0.962 (prefill 1, 80 %)") and line[-1] == "short"
    assert found(tmp_path, "the same, mean")[2:] == ("0.981", "short")


def test_the_targets_are_met_from_their_figure_on(tmp_path):
    write(tmp_path, "decode", alike(now_auto=97.0))
    assert found(tmp_path, "auto of the best")[-1] == "met"
    assert found(tmp_path, "the same, mean")[-1] == "short"


def test_windows_of_the_same_tokens_are_compared(tmp_path):
    # Rounds differ by their tokens; one of them was disturbed.
    write(tmp_path, "decode", alike([100.0, 200.0, 300.0], now_auto=[99.0, 198.0, 30.0]))
    assert found(tmp_path, "auto of the best")[2].startswith("0.990")


def test_a_speed_is_all_tokens_by_all_seconds(tmp_path):
    # The median window would tell of 300.
    write(tmp_path, "exact", alike([100.0, 300.0, 300.0]), residency="8GiB")
    assert found(tmp_path, "decode, batch 1, 8GiB")[2].startswith("180.0 (before 180.0)")


def test_hits_of_both_ways_are_compared_with_those_of_off(tmp_path):
    write(tmp_path, "exact", alike(), hits={"auto": 5, "off": 5, "on": 5.05}, residency="4GiB")
    assert found(tmp_path, "hit rate")[2:] == ("0.0050 (decode 1, 4GiB on)", "met")
    write(tmp_path, "decode", alike(), hits={"auto": 4.9, "off": 5, "on": 5})
    assert found(tmp_path, "hit rate")[2:] == ("0.0100 (decode 1, 15 % auto)", "short")


def test_exact_budgets_have_targets_of_their_own(tmp_path):
    for residency, speed in (("4GiB", 155.0), ("8GiB", 289.0), ("resident", 970.0)):
        write(tmp_path, "exact", alike(before_auto=1000.0, now_auto=speed), residency=residency)
    lines = targets(tmp_path)[0]
    assert lines["decode, batch 1, 4GiB, auto"][-1] == "met"
    assert lines["decode, batch 1, 8GiB, auto"][-1] == "short"
    assert lines["decode, batch 1, 14GiB, auto"][-1] == "no row"
    assert lines["decode, batch 1, all resident"][2:] == ("970.0, 0.970 of before", "short")


def test_every_row_is_held_against_the_earlier_build(tmp_path, capsys):
    write(tmp_path, "cpu_link", alike(now_on=97.9))
    line = found(tmp_path, "rows of less than 0.98")
    assert line[2:] == ("1", "short") and "of 3" in line[0]
    assert "decode 1, 15 %, on: 0.979" in capsys.readouterr().out
    assert found(tmp_path, "cpu backend, emulated link")[-1] == "met"
    for label, speed in (("now", 90.0), ("before", 100.0)):
        bench_row(tmp_path, f"prefill_off_{label}", tokens_per_s=speed)
    assert found(tmp_path, "rows of less than 0.98")[2] == "2"


def bench_row(folder, name, **more):
    (folder / "large" / name).mkdir(parents=True, exist_ok=True)
    (folder / "large" / name / "runs.jsonl").write_text(json.dumps(
        {"status": "ok", "error": None, "num_experts": 192, "tokens_per_s": 100.0, "fraction_of_floor": 0.96} | more))


def test_rows_of_the_bench(tmp_path):
    for name, speed in (("off", 100.0), ("on", 98.0), ("auto", 97.0)):
        bench_row(tmp_path, f"prefill_{name}_now", tokens_per_s=speed)
    bench_row(tmp_path, "fp32_auto_now")
    lines = targets(tmp_path)[0]
    assert lines["prefill of many tokens, CPU on against off"][-1] == "met"
    assert lines["prefill of many tokens, CPU auto against off"][-1] == "short"
    assert lines["192 experts, fp32, CPU on, of the floor"][-1] == "met"
    bench_row(tmp_path, "fp32_auto_now", fraction_of_floor=None)
    assert found(tmp_path, "192 experts")[2:] == ("no figure", "short")


@pytest.mark.parametrize("way, planned, choice, speed", [
    ("link", 95.0, "met", "met"), ("cpu+link", 95.0, "short", "met"), ("link", 111.0, "met", "short"),
    ("cpu+link", 80.0, "short", "short")])
def test_a_plans_choice_and_speed(tmp_path, way, planned, choice, speed):
    write(tmp_path, "decode", alike(now_on=90.0))
    rows = tmp_path / "plan" / "rows"
    rows.mkdir(parents=True)
    (rows / "decode_1.list").write_text("30,15\n")
    (rows / "decode_1.jsonl").write_text("{}\n" + json.dumps(
        {"slots": 9, "decode_choice": way, "decode_choice_tokens_per_s": planned}))
    assert found(tmp_path, "plan's choice, 1 cases")[-1] == choice
    assert found(tmp_path, "plan's tok/s")[-1] == speed


def test_what_cannot_count_turns_the_report_red(tmp_path):
    write(tmp_path, "decode", {way: 1.0 for way in NOW})
    write(tmp_path, "prefill", alike(), ids_off=1)
    bench_row(tmp_path, "fp32_auto_now", status="error", error="lost")
    ended = subprocess.run([sys.executable, "-B", REPORT, str(tmp_path)], text=True, capture_output=True)
    assert ended.returncode == 1
    assert "no row of before auto, before off, before on" in ended.stdout
    assert "6 ids that are not the trace's" in ended.stdout and "error: lost" in ended.stdout
    assert subprocess.run([sys.executable, "-B", REPORT], capture_output=True).returncode == 2
