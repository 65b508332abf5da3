# SPDX-License-Identifier: MIT
"""--record-trace: the routing of a run, as a trace that reads back."""
import json
import os
import subprocess

import numpy as np
import pytest

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")
TRACE = os.path.join(DATA, "traces", "gpt-oss-20b-cut.npy")
# The trace's 24 layers of 32 experts, with experts small enough for a test.
MODEL = ["--preset", "gpt-oss-20b", "--d-model", 32, "--d-hidden", 32, "--modes", "ufm",
         "--probe", "off", "--vram-target", "4MiB"]
DECODE = ["--phase", "decode", "--seq", 1]
ROUTED = ["--layers", 3, "--experts", 20, "--top-k", 3, "--modes", "ufm", "--probe", "off",
          "--d-model", 32, "--d-hidden", 128, "--vram-target", "2MiB"]


def record(ufm, name, *arguments):
    """The rows and the file's path."""
    rows = ufm.rows(*arguments, "--record-trace", name)
    return rows, ufm.folder / name


def from_jsonl(path):
    """{sequence: [token][layer] -> experts}; the file must be in order."""
    sequences = {}
    for line in path.read_text().splitlines():
        event = json.loads(line)
        tokens = sequences.setdefault(event.get("sequence", 0), [])
        if event["layer"] == 0:
            assert event["token"] == len(tokens)
            tokens.append([])
        assert (event["token"], event["layer"]) == (len(tokens) - 1, len(tokens[-1]))
        tokens[-1].append(event["experts"])
    return sequences


def test_a_trace_comes_back(ufm):
    trace = np.load(TRACE)
    for steps, warmup in ((1, 0), (20, 3)):
        record(ufm, "out.npy", *MODEL, *DECODE, "--workload", f"trace:{TRACE}", "--batch", 1,
               "--steps", steps, "--warmup", warmup)
        got = np.load(ufm.folder / "out.npy")
        assert got.dtype == np.uint8
        assert np.array_equal(got, trace[:steps + warmup])  # the warm-up is in it


@pytest.mark.parametrize("ids", ["ahead", "device"])
def test_a_recording_can_be_run_again(ufm, ids):
    run = [*MODEL, *DECODE, "--batch", 1, "--steps", 12, "--warmup", 0, "--ids", ids]
    first, path = record(ufm, "a.npy", *run, "--workload", f"trace:{TRACE}")
    second, again = record(ufm, "b.npy", *run, "--workload", f"trace:{path}")
    assert path.read_bytes() == again.read_bytes()
    for field in ("uses", "resident_uses", "streamed_uses"):
        assert first[0][field] == second[0][field]
    assert first[0]["streamed_uses"] > 0
    # The device's routers hold the tokens to come, too, which are others behind the end of the recording.
    assert ids == "device" or first[0]["output_hash"] == second[0]["output_hash"]


def test_sequences_of_a_batch_follow_each_other(ufm):
    """Sequence b of B begins b/B of the way into a trace; so it does in what is recorded."""
    batch, steps = 4, 5
    trace = np.load(TRACE)
    run = [*MODEL, *DECODE, "--batch", batch, "--warmup", 2, "--steps", steps - 2, "--ids", "ahead"]
    rows, path = record(ufm, "out.npy", *run, "--workload", f"trace:{TRACE}")
    want = np.concatenate([trace[b * len(trace) // batch:][:steps] for b in range(batch)])
    assert np.array_equal(np.load(path), want)
    again, _ = record(ufm, "again.npy", *run, "--workload", f"trace:{path}")
    assert np.array_equal(np.load(ufm.folder / "again.npy"), want)
    assert again[0]["output_hash"] == rows[0]["output_hash"]
    _, lines = record(ufm, "out.jsonl", *run, "--workload", f"trace:{TRACE}")
    sequences = from_jsonl(lines)
    assert sorted(sequences) == list(range(batch))
    assert np.array_equal(np.concatenate([sequences[b] for b in range(batch)]), want)


@pytest.mark.parametrize("phase", ["steps", "prefill"])
def test_tokens_of_a_step_follow_each_other(ufm, phase):
    trace = np.load(TRACE)
    _, path = record(ufm, "out.npy", *MODEL, "--workload", f"trace:{TRACE}", "--phase", phase,
                     "--batch", 2, "--seq", 7, "--max-tokens", 5, "--warmup", 1, "--steps", 2)
    assert np.array_equal(np.load(path), trace[:3 * 2 * 7])


def test_both_formats_say_the_same(ufm):
    run = [*ROUTED, "--steps", 3]
    _, table = record(ufm, "out.npy", *run)
    _, lines = record(ufm, "out.jsonl", *run)
    table = np.load(table)
    assert table.shape == (4 * 2 * 16, 3, 3)
    assert np.array_equal(from_jsonl(lines)[0], table)
    assert len(np.unique(table)) == 20  # a router of Gaussian states


@pytest.mark.parametrize("mode", ["baseline", "naive_offload", "ufm"])
def test_every_mode_routes_alike(ufm, mode):
    """Wholly resident layers never bring their ids to the host in the call."""
    run = [*ROUTED, "--steps", 3, "--record-trace", "out.npy"]
    ufm.rows(*run)
    want = (ufm.folder / "out.npy").read_bytes()
    row, = ufm.rows(*run, "--modes", mode)
    assert (ufm.folder / "out.npy").read_bytes() == want
    assert (row["resident_calls"] == 9) == (mode == "baseline")
    assert (row["streamed_uses"] > 0) == (mode != "baseline")


def test_uses_are_those_of_the_recording(ufm):
    """Distinct experts of each layer and step."""
    rows, path = record(ufm, "out.npy", *ROUTED, "--steps", 3, "--warmup", 0)
    steps = np.load(path).reshape(3, 32, 3, 3)
    uses = sum(len(np.unique(steps[s, :, layer])) for s in range(3) for layer in range(3))
    assert rows[0]["uses"] == uses


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", ["out.npy", "out.jsonl"])
def test_a_replay_counts_what_the_run_did(ufm, batch, name):
    """The routers' own choice, hit for hit."""
    warmup, steps = 4, 30
    (run,), path = record(ufm, name, *ROUTED, *DECODE, "--batch", batch, "--policy", "lru",
                          "--warmup", warmup, "--steps", steps, "--vram-target", "1MiB",
                          "--cpu-assist", "off")
    assert 0 < run["resident_uses"] < run["uses"]
    ended = ufm("replay", path, "--scope", "pool", "--capacity", run["slots"], "--policy", "lru",
                "--ring", run["ring_slots"], "--together", max(1, run["ring_slots"] // 4),
                "--experts", 20, "--batch", batch, "--warmup", warmup, "-o", "json")
    assert (ended.returncode, ended.stderr) == (0, "")
    row, = json.loads(ended.stdout)
    assert (row["uses"], row["hits"]) == (run["uses"], run["resident_uses"])


def test_wide_ids(ufm):
    _, path = record(ufm, "out.npy", *ROUTED, "--experts", 300, "--vram-target", "4MiB")
    assert np.load(path).dtype == np.uint16


def test_the_result_is_the_same(ufm):
    rows, _ = record(ufm, "out.npy", *ROUTED)
    assert ufm.rows(*ROUTED)[0]["output_hash"] == rows[0]["output_hash"]


@pytest.mark.parametrize("more", [["--modes", "ufm,baseline"], ["--experts", "8,16"],
                                  ["--phase", "decode,prefill"]])
def test_one_row_is_recorded(ufm, more):
    ended = ufm.bench(*ROUTED, *more, "--record-trace", "out.npy", "--out", "results")
    assert ended.returncode == 2 and ended.stdout == ""
    assert "--record-trace: found a sweep of 2 rows" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not list(ufm.folder.iterdir())


@pytest.mark.parametrize("path,code", [("out.txt", 2), ("npy", 2), (".npy", 2), ("", 2),
                                       ("missing/out.npy", 1), ("folder.npy", 1)])
def test_a_bad_path_is_refused_before_the_run(ufm, path, code):
    (ufm.folder / "folder.npy").mkdir()
    ended = ufm.bench(*ROUTED, "--record-trace", path, "--out", "results", "--timeline", "t.json")
    assert ended.returncode == code
    assert "--record-trace" in ended.stderr and ended.stderr.count("\n") == 1
    assert ended.stdout == "" and len(list(ufm.folder.iterdir())) == 1


def test_a_full_disk_is_said(ufm, ufm_path):
    """A file limit below the trace, above everything else that this run writes."""
    (ufm.folder / "out.jsonl").write_text("older")
    command = ufm.command("bench", "--no-out", "--backend", "cpu", *ROUTED,
                          "--headroom", 0, "--steps", 9, "--record-trace", "out.jsonl")
    shell = "trap '' XFSZ; ulimit -f 1; exec \"$@\""
    ended = subprocess.run(["bash", "-c", shell, "bash", *command], cwd=ufm.folder, text=True,
                           capture_output=True, timeout=120, check=False, env={**os.environ})
    assert ended.returncode == 1
    assert "--record-trace" in ended.stderr and "out.jsonl" in ended.stderr
    assert (ufm.folder / "out.jsonl").read_text() == "older"
    assert len(list(ufm.folder.iterdir())) == 1


def test_a_run_that_routes_nothing_writes_nothing(ufm):
    """A baseline out of device memory is a result."""
    run = ["--modes", "baseline", "--experts", 64, "--record-trace", "out.npy", "--no-out"]
    ended = ufm.bench(*run)
    assert ended.returncode == 0
    assert "--record-trace: out.npy is not written: no token was routed" in ended.stderr
    assert not list(ufm.folder.iterdir())
