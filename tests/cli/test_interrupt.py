# SPDX-License-Identifier: MIT
"""SIGINT and SIGTERM in any phase of any command: soon over, exit code 130, and a line that says what is kept."""
import json
import os
import signal
import subprocess
import time

import pytest

# One layer call of 2.2 Tflop on one thread; its bank of 128 MiB is filled at once.
LONG_CALL = ["bench", "--experts", "4", "--modes", "ufm", "--backend", "cpu", "--threads", "1", "--d-model",
             "1024", "--d-hidden", "4096", "--batch", "128", "--seq", "512", "--steps", "2", "--warmup", "0",
             "--cpu-assist", "off", "--probe", "off", "--vram-target", "auto", "--headroom", "0",
             "--no-figures"]
# Longer than anybody waits, without a row before the first capacity is through.
LONG_REPLAY = ["replay", "sticky:512-top-10", "--policy", "lru,cycle,min", "--scope", "pool,auto", "--capacity",
               ",".join(f"{share}%" for share in range(10, 60))]
LONG_PLAN = ["plan", "--preset", "qwen3-30b-a3b", "--batch", "16", "--prompt", "8192", "--link-gbps", "50",
             "--hbm-gbps", "3000", "--dram-gbps", "100", "--gflops", "500000"]
# The second that is promised, and patience with a busy machine. Without an end of its own each takes longer.
SOON_S = 5


def started(ufm, command, wait_s=0.7, **more):
    child = subprocess.Popen(ufm.command(*command), cwd=ufm.folder, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, **more)
    time.sleep(wait_s)
    assert child.poll() is None, child.communicate()
    return child


def ended(child, numbers, between_s=0.3):
    """What it wrote, and how long it went on."""
    for number in numbers[:-1]:
        child.send_signal(number)
        time.sleep(between_s)
    begin = time.monotonic()
    child.send_signal(numbers[-1])
    try:
        out, err = child.communicate(timeout=SOON_S)
    finally:
        child.kill()
    print(f"ended after {time.monotonic() - begin:.2f} s")
    return out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command, said", [
    (LONG_CALL, "ufm bench: error: interrupted; 1 rows are kept in results/"),
    (LONG_REPLAY, "ufm replay: error: interrupted; "),
    (LONG_PLAN, "ufm plan: error: interrupted; nothing is written"),
], ids=["bench", "replay", "plan"])
def test_a_signal_ends_a_long_phase(ufm, command, said, number):
    child = started(ufm, command)
    _, err = ended(child, [number])
    assert child.returncode == 130
    assert err.startswith(said) and err.count("\n") == 1


def test_a_row_that_is_cut_in_its_step_is_kept(ufm):
    child = started(ufm, [*LONG_CALL, "-o", "json", "--timeline", "t.json", "--out", "r"])
    out, err = ended(child, [signal.SIGINT])
    rows = json.loads(out)
    assert [row["error"] for row in rows] == ["interrupted after 0 of 2 measured steps"]
    results = ufm.folder / "r"
    assert [json.loads(line) for line in (results / "runs.jsonl").open()] == rows
    summary = json.loads((results / "summary.json").read_text())
    assert summary["interrupted"] is True and summary["rows"] == rows
    assert json.loads((ufm.folder / "t.json").read_text())["traceEvents"] == []
    assert not [name for name in os.listdir(results) if name.endswith(".tmp")]


def test_earlier_rows_stand_until_there_is_a_new_one(ufm):
    """In a folder that was asked for, and behind results/latest."""
    run = [*LONG_CALL, "--batch", "1", "--seq", "1", "--warmup", "1", "--no-figures"]
    assert ufm(*run, "--out", "r").returncode == 0 == ufm(*run).returncode
    before = {path.name: path.read_bytes() for path in (ufm.folder / "r").iterdir()}
    assert {"runs.jsonl", "summary.json", "table.md", "telemetry_ufm_4.csv"} == set(before)
    latest = os.readlink(ufm.folder / "results" / "latest")
    child = started(ufm, [*LONG_CALL, "--out", "r"])
    _, err = ended(child, [signal.SIGINT])
    assert child.returncode == 130
    assert err == ("ufm bench: error: interrupted before anything was measured; the rows in r are as they "
                   "were\n")
    assert {path.name: path.read_bytes() for path in (ufm.folder / "r").iterdir()} == before
    _, err = ended(started(ufm, LONG_CALL), [signal.SIGINT])
    assert os.readlink(ufm.folder / "results" / "latest") == latest


@pytest.mark.parametrize("numbers", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM, signal.SIGINT]],
                         ids=["same", "other"])
def test_a_second_signal_ends_at_once(ufm, numbers):
    """After a fifth of a second; the first alone is given half a second to end by itself."""
    child = started(ufm, LONG_CALL)
    ended(child, numbers)
    assert child.returncode == 130


def test_rows_of_a_replay_are_kept(ufm):
    """A capacity that is through has its rows, in the folder and on standard output."""
    quick = ["replay", "sticky:olmoe-1b-7b", "--policy", "lru", "--out", "r", "-o", "jsonl", "--capacity",
             ",".join(f"{share}%" for share in range(1, 65))]
    child = started(ufm, [*quick, "--scope", "layer,pool,auto", "--batch", "1"], wait_s=1.5)
    out, err = ended(child, [signal.SIGTERM])
    assert child.returncode == 130
    rows = [json.loads(line) for line in out.splitlines()]
    assert 0 < len(rows) < 3 * 64
    assert err == f"ufm replay: error: interrupted; {len(rows)} rows are kept in r/replay.jsonl\n"
    assert [json.loads(line) for line in (ufm.folder / "r/replay.jsonl").open()] == rows


def slow_gnuplot(folder):
    """Begins a figure, tells so, and draws for ever."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "gnuplot"
    program.write_text("#!/bin/sh\necho $$ >drawing\nexec sleep 600\n")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


@pytest.mark.parametrize("command", [["plot", "r"], ["replay", "sticky:olmoe-1b-7b", "--capacity", "50%",
                                                     "--policy", "lru", "--out", "r"]],
                         ids=["plot", "replay"])
def test_a_figure_that_is_being_drawn(ufm, command):
    run = ["replay", "sticky:olmoe-1b-7b", "--capacity", "50%", "--policy", "lru", "--out", "r"]
    assert ufm(*run, "--no-figures").returncode == 0
    child = started(ufm, command, wait_s=0, env=slow_gnuplot(ufm.folder))
    while not (ufm.folder / "r/drawing").exists() or not (ufm.folder / "r/drawing").read_text().strip():
        assert child.poll() is None
        time.sleep(0.02)
    _, err = ended(child, [signal.SIGTERM])
    assert child.returncode == 130
    assert f"ufm {command[0]}: error: interrupted" in err and err.count("\n") == 1
    time.sleep(0.2)
    with pytest.raises(ProcessLookupError):
        os.kill(int((ufm.folder / "r/drawing").read_text()), 0)
