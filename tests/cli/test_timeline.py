# SPDX-License-Identifier: MIT
"""--timeline: a Chrome trace whose spans add up to the counters."""
import collections
import json
import os
import subprocess

import pytest

TRACKS = {"link", "device", "layers", "cpu", "host"}


def read(path):
    trace = json.loads(path.read_text())
    return trace["traceEvents"], trace["otherData"]["dropped"]


def processes(events):
    """pid: name, and pid: its spans."""
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    spans = collections.defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            spans[event["pid"]].append(event)
    return names, spans


def check_rows_nest(events):
    """On a row of the drawing every span lies beside or in another."""
    rows = collections.defaultdict(list)
    for e in events:
        if e["ph"] == "X":
            begin = round(e["ts"] * 1000)
            rows[e["pid"], e["tid"]].append((begin, -(begin + round(e["dur"] * 1000))))
    for spans in rows.values():
        stack = []
        for begin, end in sorted(spans):
            while stack and -stack[-1] <= begin:
                stack.pop()
            assert not stack or -stack[-1] >= -end
            stack.append(end)


def check_form(events):
    named = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    for e in events:
        assert e["ph"] in "MX" and e["pid"] >= 1
        if e["ph"] == "X":
            assert named[e["pid"], e["tid"]].split()[0] in TRACKS
            assert e["ts"] >= 0 and e["dur"] >= 0 and e["name"]
            assert e["args"].get("gbps", 1) >= 0
    check_rows_nest(events)


def total(spans, name, arg="bytes"):
    return sum(e["args"][arg] for e in spans if e["name"] == name)


def test_every_row_is_a_process_that_adds_up(ufm):
    rows = ufm.rows("--experts", "8,64", "--layers", "2", "--warmup", "0", "--link-gbps", "8",
                    "--timeline", "t.json")
    events, dropped = read(ufm.folder / "t.json")
    assert dropped == 0
    check_form(events)
    names, spans = processes(events)
    ran = [row for row in rows if row["status"] == "ok"]
    assert list(names.values()) == [f"{row['mode']} {row['num_experts']}" for row in ran]
    for pid, row in zip(names, ran):
        of = spans[pid]
        count = collections.Counter(e["name"] for e in of)
        placed = row["mode"] == "baseline"  # before the steps, so no counter of the row has them
        copied = row["bank_bytes"] if placed else row["h2d_weight_bytes"]
        assert total(of, "copy") == copied
        assert total(of, "write back") == row["d2h_weight_bytes"]
        assert count["expert"] == row["cpu_uses"]
        assert total(of, "expert") == row["cpu_weight_bytes"]
        assert total(of, "experts", "experts") + count["expert"] == row["uses"]
        assert count["step"] == row["steps"] == 2
        assert count["layer"] == count["call"] == count["combine"] == 4
        assert count["route"] == 4
        assert count["wait for ids"] == 4 - row["resident_calls"]
        if placed:
            assert row["resident_calls"] == 4
        steps = [e["dur"] / 1000 for e in of if e["name"] == "step"]
        assert steps == pytest.approx(row["step_ms"])
        assert {e["args"]["step"] for e in of if e["name"] == "step"} == {0, 1}
        assert {e["args"]["layer"] for e in of if e["name"] == "layer"} == {0, 1}


def test_the_cpu_path_has_a_track(ufm):
    row, = ufm.rows("--experts", "64", "--modes", "ufm", "--cpu-assist", "2", "--cpu-share", "50",
                    "--timeline", "t.json")
    events, _ = read(ufm.folder / "t.json")
    check_form(events)
    _, spans = processes(events)
    experts = [e for e in spans[1] if e["name"] == "expert"]
    assert len(experts) >= row["cpu_uses"] > 0  # those of the warm-up are drawn too
    assert all(e["args"]["tokens"] >= 1 and e["args"]["bytes"] == row["expert_bytes"]
               for e in experts)


def test_copies_and_stalls_of_a_slow_link(ufm):
    row, = ufm.rows("--experts", "64", "--modes", "ufm", "--warmup", "0", "--link-gbps", "1",
                    "--cpu-assist", "off", "--timeline", "t.json")
    events, _ = read(ufm.folder / "t.json")
    _, spans = processes(events)
    copies = [e for e in spans[1] if e["name"] == "copy"]
    assert len(copies) == row["streamed_uses"]
    assert sum(e["dur"] for e in copies) / 1000 == pytest.approx(row["copy_ms"], abs=0.01)
    assert all(e["args"]["gbps"] <= 1.001 for e in copies)
    stalls = [e["dur"] for e in spans[1] if e["name"] == "wait for a copy"]
    assert sum(stalls) / 1000 == pytest.approx(row["stall_ms"], abs=0.01)


def test_the_result_is_the_same(ufm):
    run = ["--experts", "40", "--modes", "ufm"]
    assert (ufm.rows(*run)[0]["output_hash"] ==
            ufm.rows(*run, "--timeline", "t.json")[0]["output_hash"])


@pytest.mark.parametrize("path,code", [("missing/t.json", 1), (".", 1), ("/dev/null", 1), ("", 2)])
def test_a_bad_path_is_refused_before_the_run(ufm, path, code):
    ended = ufm.bench("--experts", "4", "--timeline", path, "--out", "results")
    assert ended.returncode == code
    assert "--timeline" in ended.stderr and ended.stderr.count("\n") == 1
    assert ended.stdout == "" and not (ufm.folder / "results").exists()


def test_a_full_disk_is_said(ufm, ufm_path):
    """A file limit below the trace, above everything else that this run writes."""
    command = [ufm_path, *ufm.command("bench", "--no-out", "--experts", "8", "--modes", "ufm",
                                      "--d-model", "64", "--d-hidden", "64", "--batch", "1",
                                      "--seq", "8", "--steps", "50", "--timeline", "t.json",
                                      "--backend", "cpu", "--vram-target", "64MiB",
                                      "--headroom", "0")[1:]]
    shell = "trap '' XFSZ; ulimit -f 1; exec \"$@\""
    ended = subprocess.run(["bash", "-c", shell, "bash", *command], cwd=ufm.folder, text=True,
                           capture_output=True, timeout=120, check=False,
                           env={**os.environ})
    assert ended.returncode == 1
    assert "--timeline" in ended.stderr and "t.json" in ended.stderr
