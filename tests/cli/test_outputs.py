# SPDX-License-Identifier: MIT
"""Outputs that cannot be written, of every command: exit code 1 and one line that names the file and the cause."""
import os
import resource
import shutil
import signal
import stat
import subprocess

import numpy
import pytest

RUN = ["bench", "--d-model", "32", "--d-hidden", "64", "--experts", "8", "--batch", "1", "--seq", "8", "--steps", "2",
       "--vram-target", "600KiB", "--headroom", "0", "--modes", "ufm", "--backend", "cpu"]
REPLAY = ["replay", "sticky:olmoe-1b-7b", "--capacity", "50%", "--policy", "lru"]
PLAN = ["plan", "--preset", "mixtral-8x7b", "--link-gbps", "50", "--hbm-gbps", "3000", "--dram-gbps", "100",
        "--gflops", "500000"]
gnuplot = pytest.mark.skipif(shutil.which("gnuplot") is None, reason="not installed: gnuplot")


def lost(ended, *words):
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.count("\n") == 1
    for word in words:
        assert word in ended.stderr, ended.stderr


@pytest.mark.parametrize("command", [
    ["--help"], ["--version"], ["help", "plan"], ["bench", "--help"], ["info", "--preset", "mixtral-8x7b"],
    ["info", "--preset", "mixtral-8x7b", "-o", "json"], ["doctor"], ["doctor", "-o", "json"],
    ["completion", "bash"], ["completion", "zsh"], ["completion", "fish"],
    *[[*command, "-o", form] for command in ([*RUN, "--no-out"], REPLAY, PLAN)
      for form in ("md", "csv", "json", "jsonl")],
], ids=lambda command: f"{command[0]}-{command[-1]}")
def test_standard_output(ufm, command):
    with open("/dev/full", "w") as full:
        ended = subprocess.run(ufm.command(*command), cwd=ufm.folder, stdout=full, text=True,
                               stderr=subprocess.PIPE)
    lost(ended, "standard output: No space left on device")


def test_predictions_beside_rows_on_standard_output(ufm):
    assert ufm(*RUN, "--no-figures").returncode == 0
    for form in ("md", "csv", "json", "jsonl"):
        with open("/dev/full", "w") as full:
            ended = subprocess.run(ufm.command("plan", "--against", "results/latest/runs.jsonl", "-o", form),
                                   cwd=ufm.folder, stdout=full, text=True, stderr=subprocess.PIPE)
        lost(ended, "standard output: No space left on device")


def limited(size_bytes):
    """Files may not grow beyond it, as on a disk that becomes full."""
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))
    return limit


@pytest.mark.parametrize("command, size_bytes, name", [
    ([*RUN, "--out", "x", "--no-figures"], 100, "x/telemetry_ufm_8.csv"),
    ([*RUN, "--out", "x", "--no-figures", "--probe", "off"], 2000, "x/runs.jsonl"),
    ([*RUN, "--out", "x", "--no-figures"], 4000, "x/summary.json"),
    ([*RUN, "--no-out", "--timeline", "t.json"], 0, "--timeline: t.json"),
    ([*RUN, "--no-out", "--timeline", "t.json"], 2000, "--timeline: t.json"),
    ([*RUN, "--no-out", "--record-trace", "t.npy"], 64, "--record-trace: t.npy"),
    ([*RUN, "--no-out", "--record-trace", "t.jsonl"], 64, "--record-trace: t.jsonl"),
    ([*REPLAY, "--out", "x", "--no-figures"], 100, "x/replay.jsonl"),
    ([*PLAN, "--out", "x", "--no-figures"], 100, "x/plan.jsonl"),
], ids=lambda value: value if isinstance(value, str) else None)
def test_a_full_disk(ufm, command, size_bytes, name):
    ended = ufm(*command, preexec_fn=limited(size_bytes))
    lost(ended, name, "File too large")
    assert not [left for left in os.listdir(ufm.folder) if left.endswith(".tmp")]


@pytest.mark.parametrize("command, name", [(REPLAY, "replay.jsonl"), (PLAN, "plan.jsonl"), (PLAN, "plan.md"),
                                           (REPLAY, "hit_rate.dat"), (REPLAY, "hit_rate.gp"),
                                           (PLAN, "plan.dat"), (PLAN, "plan.gp")],
                         ids=lambda value: value if isinstance(value, str) else None)
def test_a_file_that_is_a_device(ufm, command, name):
    """Results take the place of files alone."""
    (ufm.folder / "x").mkdir()
    (ufm.folder / "x" / name).symlink_to("/dev/full")
    lost(ufm(*command, "--out", "x"), f"x/{name}", "not a regular file")
    assert (ufm.folder / "x" / name).is_symlink()


@pytest.mark.parametrize("command", [REPLAY, PLAN], ids=["replay", "plan"])
def test_an_earlier_file_stays_where_there_is_no_space(ufm, command):
    assert ufm(*command, "--out", "x", "--no-figures").returncode == 0
    before = {path.name: path.read_bytes() for path in (ufm.folder / "x").iterdir()}
    lost(ufm(*command, "--out", "x", "--no-figures", preexec_fn=limited(100)), "File too large")
    assert {path.name: path.read_bytes() for path in (ufm.folder / "x").iterdir()} == before


@pytest.mark.parametrize("command", [RUN, REPLAY, PLAN], ids=["bench", "replay", "plan"])
def test_a_folder_that_cannot_be_made(ufm, command):
    lost(ufm(*command, "--out", "/proc/x"), "/proc/x", "No such file or directory")


# ---- gnuplot

@gnuplot
@pytest.mark.parametrize("command, name", [(REPLAY, "hit_rate"), (PLAN, "plan"), (["plot"], "hit_rate")],
                         ids=["replay", "plan", "plot"])
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_figure_that_does_not_fit(ufm, command, name, ending):
    """gnuplot itself ends as if it had been written."""
    (ufm.folder / "x").mkdir()
    if command == ["plot"]:
        assert ufm(*REPLAY, "--no-figures", "--out", "x").returncode == 0
        command = ["plot", "x"]
    else:
        command = [*command, "--out", "x"]
    (ufm.folder / "x" / f"{name}.{ending}").symlink_to("/dev/full")
    lost(ufm(*command), f"x/{name}.{ending}: found it cut off or missing after gnuplot")


def with_gnuplot(folder, script):
    """An environment whose gnuplot is that shell script."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "gnuplot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


def test_what_gnuplot_says_of_its_failure(ufm):
    env = with_gnuplot(ufm.folder, 'echo "a warning" >&2; echo "line 3: unknown colour" >&2; exit 2')
    lost(ufm(*REPLAY, "--out", "x", env=env), "x/hit_rate.gp: gnuplot failed on it: line 3: unknown colour")


def test_gnuplot_that_is_killed(ufm):
    env = with_gnuplot(ufm.folder, "kill -9 $$")
    lost(ufm(*REPLAY, "--out", "x", env=env), "x/hit_rate.gp: gnuplot failed on it")


@gnuplot
def test_gnuplot_has_no_terminal_and_english_messages(ufm):
    """What it warns of is not our output."""
    env = with_gnuplot(ufm.folder, 'echo "$TERM $LC_ALL" >said; echo "a warning" >&2; '
                       f'exec {shutil.which("gnuplot")} "$@"')
    hostile = {"TERM": "no-such", "LC_ALL": "xx_XX", "GNUTERM": "no-such", "DISPLAY": ":99"}
    ended = ufm(*REPLAY, "--out", "x", env={**env, **hostile})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (ufm.folder / "x" / "said").read_text() == "dumb C.UTF-8\n"


# ---- files that are read

def trace_file(folder):
    numpy.save(folder / "t.npy", numpy.random.default_rng(1).integers(0, 8, (64, 1, 2)).astype("u1"))
    return folder / "t.npy"


@pytest.mark.parametrize("option", ["--record-trace", "--timeline"])
def test_a_bench_does_not_write_over_its_workload(ufm, option):
    before = trace_file(ufm.folder).read_bytes()
    (ufm.folder / "link.npy").symlink_to("t.npy")
    ended = ufm(*RUN, "--no-out", "--workload", "trace:t.npy", option, "link.npy")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"{option}: found link.npy, which is the file of --workload" in ended.stderr
    assert (ufm.folder / "t.npy").read_bytes() == before


def test_a_replay_does_not_write_over_its_trace(ufm):
    before = trace_file(ufm.folder).read_bytes()
    (ufm.folder / "x").mkdir()
    os.link(ufm.folder / "t.npy", ufm.folder / "x" / "replay.jsonl")
    ended = ufm("replay", "t.npy", "--out", "x")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--out: found x/replay.jsonl, which is the file of TRACE" in ended.stderr
    assert (ufm.folder / "t.npy").read_bytes() == before
