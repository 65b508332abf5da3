# SPDX-License-Identifier: MIT
"""Every call into the C library of a small job of each command failed in turn, once and from then on: no crash, no hang;
a success is whole, a failure has a line that names its cause, and leaves whole files or none.

A run takes every tenth of them, from an offset that is printed. UFM_TEST_FAULTS=N sets the offset, UFM_TEST_FAULTS=all
takes every one; `pytest -k JOB` narrows it."""
import collections
import concurrent.futures
import datetime
import json
import os
import shutil
import stat

import numpy as np
import pytest
from conftest import BUILD, UFM
from support import checkpoints, faults, gguf_files, quantised
from support.faults import Fault, Job, without_times

LIBRARY = os.path.abspath(os.path.join(BUILD, "tests", "fault", "libfailing_calls.so"))
STRIDE = 10
WRONG_SHOWN = 20

BENCH = ["bench", "--d-model", "32", "--d-hidden", "64", "--experts", "8", "--steps", "2", "--headroom", "0",
         "--backend", "cpu", "--threads", "1"]
QUIET = ["--probe", "off", "--cpu-assist", "off", "--vram-target", "400KiB"]
FORWARD = ["forward", "--layer", "4", "--input", "in/x.npy", "--output", "y.npy", "--backend", "cpu", "--threads", "1",
           "--cpu-assist", "off"]
MACHINE = ["--link-gbps", "50", "--hbm-gbps", "3000", "--dram-gbps", "100", "--gflops", "500000", "--cores", "16"]
EARLIER = {"y.npy": b"an earlier result", "t.npy": b"an earlier trace", "timeline.json": b"an earlier timeline"}


def rows_and_columns(name, content):
    """Of a plan for rates that were measured."""
    lines = content.splitlines()
    return lines[:1], len(lines)


def figures(*names):
    return {f"out/{name}": b"of an earlier run\n" for name in names}


JOBS = [
    Job("info", ["info", "in/model"]),
    Job("info-shards", ["info", "in/shards", "-o", "json"]),
    Job("info-gguf", ["info", "in/gguf", "-o", "json"]),
    Job("forward-gguf", [*FORWARD, "--weights", "in/gguf/m-00002-of-00002.gguf", "--vram-target", "200KiB", "-o", "json"],
        {"y.npy": EARLIER["y.npy"]}, without_times),
    Job("forward", [*FORWARD, "--weights", "in/model", "--vram-target", "200KiB", "--record-trace", "t.npy", "--timeline",
                    "timeline.json", "-o", "json"], EARLIER, without_times, ("timeline.json",)),
    Job("forward-ids", [*FORWARD, "--weights", "in/shards", "--ids", "in/ids.npy", "--gates", "in/gates.npy", "--mode",
                        "naive_offload", "--record-trace", "t.jsonl"], EARLIER, without_times),
    Job("forward-quantised", [*FORWARD, "--weights", "in/quantised", "--ids", "in/ids.npy", "--gates", "in/gates.npy",
                              "--vram-target", "200KiB", "-o", "json"], EARLIER, without_times),
    Job("plan", ["plan", "--model", "in/model", *MACHINE, "--workload", "trace:in/t.npy", "--vram-target", "50%,100%",
                 "--prompt", "8", "--out", "out"],
        figures("plan.jsonl", "plan.md", "plan.dat", "plan.gp", "plan.png")),
    Job("plan-machine", ["plan", "--model", "in/model/config.json", "--machine", "in/out/runs.jsonl", "--workload",
                         "trace:in/t.jsonl", "--vram-target", "50%", "--prompt", "8", "-o", "csv"]),
    Job("plan-against", ["plan", "--against", "in/out/runs.jsonl", "-o", "jsonl"]),
    Job("replay", ["replay", "in/t.npy", "--capacity", "50%", "--policy", "lru,cost", "--cost", "in/cost.npy", "--sequences",
                   "in/sequences.csv", "--out", "out", "-o", "json"],
        figures("replay.jsonl", "hit_rate.dat", "hit_rate.gp", "hit_rate.png"), without_times),
    Job("replay-predict", ["replay", "in/t.jsonl", "--predict", "popularity,coactivation", "--guesses", "1,2"]),
    Job("plot", ["plot", "out"]),
    Job("bench", [*BENCH, *QUIET, "--batch", "1", "--seq", "8", "--modes", "ufm", "--out", "out", "-o", "json"], {},
        without_times, ("out/*",)),
    Job("bench-trace", [*BENCH, *QUIET, "--phase", "decode", "--modes", "naive_offload", "--workload",
                        "trace:in/t.npy", "--no-out", "--timeline", "timeline.json", "--record-trace", "t.npy", "-o",
                        "jsonl"], EARLIER, without_times, ("timeline.json",)),
    Job("bench-text", [*BENCH, "--batch", "1", "--seq", "8", "--probe", "off", "--cpu-assist", "1", "--cpu-share", "50",
                       "--vram-target", "200KiB", "--ring", "2", "--modes", "ufm", "--workload", "text:in/words.txt",
                       "--no-out"], {}, without_times),
    Job("bench-probe", [*BENCH, "--batch", "1", "--seq", "8", "--cpu-assist", "off", "--vram-target", "400KiB", "--modes",
                        "ufm", "--no-out"], {}, without_times, share=20),
    Job("plan-probe", ["plan", "--model", "in/model", "--backend", "cpu", "--vram-target", "50%", "--prompt", "8",
                       "--workload", "uniform", "-o", "csv"], {}, rows_and_columns, share=20),
    # What cannot be found out is said in its place.
    Job("doctor", ["doctor"], {}, lambda name, content: None),
]


def write_inputs(folder):
    random = np.random.default_rng(1)
    layer = checkpoints.Routed(random, "gated", 4, 8, 24, 40, "F32")
    config = {"model_type": "qwen3_moe", "hidden_act": "silu", "num_experts_per_tok": 2, "norm_topk_prob": True,
              "num_hidden_layers": 5, "num_experts": 8, "hidden_size": 24, "moe_intermediate_size": 40,
              "decoder_sparse_step": 1, "mlp_only_layers": [0, 1, 2, 3], "torch_dtype": "float32"}
    layer.write(folder / "model", config)
    (folder / "shards").mkdir()
    checkpoints.write_shards(folder / "shards", layer.tensors)
    quantised.Quantised(random, "awq", 4, 8, 24, 40).write(folder / "quantised")
    checkpoints.write_config(folder / "shards", **config)
    (folder / "gguf").mkdir()
    layers = [gguf_files.Layer(random, i, {"gate": "F32", "up": "F32", "down": kind}, 8, 24, 32)
              for i, kind in ((3, "F32"), (4, "Q8_0"))]
    gguf_files.write(folder / "gguf" / "m.gguf", "qwen3moe", gguf_files.keys(layers), layers, shards=2)
    np.save(folder / "x.npy", random.standard_normal((8, 24)).astype("f4"))
    np.save(folder / "ids.npy", random.integers(0, 8, (8, 2)).astype("i4"))
    np.save(folder / "gates.npy", random.random((8, 2)).astype("f4"))
    ids = np.stack([random.permutation(8)[:2] for _ in range(64)]).reshape(64, 1, 2).astype("u1")
    np.save(folder / "t.npy", ids)
    with open(folder / "t.jsonl", "w") as file:
        for number, token in enumerate(ids):
            file.write(json.dumps({"token": number, "layer": 0, "experts": token[0].tolist()}) + "\n")
    np.save(folder / "cost.npy", (1 + random.random((1, 8))).astype("f4"))
    (folder / "sequences.csv").write_text("start\n0\n32\n")
    (folder / "words.txt").write_text("a few words of a text that is longer than a step of a run is\n" * 4)


def write_gnuplot(folder):
    """Draws in no time: what ends as whole figures do."""
    folder.mkdir()
    program = folder / "gnuplot"
    program.write_text("#!/bin/sh\nname=${2%.gp}\nblank=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"
                       "printf \"${blank}IEND\\256B\\140\\202\" >\"$name.png\"\nprintf \"$blank</svg>\" >\"$name.svg\"\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    inputs = folder / "inputs"
    (folder / "work").mkdir()
    inputs.mkdir()
    write_inputs(inputs)
    write_gnuplot(folder / "bin")
    # Away from its build, beside which a plugin may lie: NVIDIA's runtime in it does not survive a lack of memory.
    alone = shutil.copy(UFM, folder / "bin" / "ufm")
    made = faults.Runner(alone, LIBRARY, inputs, folder / "work", f"{folder / 'bin'}:{os.environ['PATH']}")
    # A folder of results, for those who read one.
    results = made.run(Job("rows", [*BENCH, *QUIET, "--batch", "1", "--seq", "8", "--modes", "baseline,ufm", "--probe",
                                    "on", "--out", "out"]))
    assert results.exit_code == 0, results.said
    for name, content in results.files.items():
        (inputs / name).parent.mkdir(exist_ok=True)
        (inputs / name).write_bytes(content)
    job("plot").earlier = {name: content for name, content in results.files.items()}
    return made


def job(name):
    return next(j for j in JOBS if j.name == name)


def all_faults(calls):
    return [Fault(kind, number, forever) for kind, count in calls.items() for forever in (False, True)
            for number in range(1, count + 1)]


def chosen(every, share):
    asked = os.environ.get("UFM_TEST_FAULTS", "")
    if asked == "all":
        return every
    offset, stride = int(asked) if asked else datetime.date.today().toordinal(), STRIDE * share
    print(f"UFM_TEST_FAULTS={offset} takes the same")
    return every[offset % stride::stride]


def try_fault(runner, one, clean, fault):
    """What is wrong, or nothing; and whether the call came to be made."""
    try:
        run = runner.run(one, fault)
    except faults.subprocess.TimeoutExpired:
        return "hangs", True
    wrong = faults.judge(one, run, clean, fault)
    return wrong and f"{wrong}: {run.said.strip() or '(nothing said)'}", run.failed > 0


@pytest.mark.parametrize("one", JOBS, ids=lambda one: one.name)
def test_a_failed_call(runner, one):
    clean = runner.run(one)
    assert (clean.exit_code, clean.failed) == (0, 0), clean.said
    assert not faults.judge(one, runner.run(one), clean, Fault()), "two runs without a fault differ"
    tried = chosen(all_faults(clean.calls), one.share)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda fault: try_fault(runner, one, clean, fault), tried))
    counts = collections.Counter(fault.kind for fault, (_, made) in zip(tried, found) if made)
    print(f"{one.name}: {sum(counts.values())} calls failed in turn:", dict(counts))
    wrong = [f"{fault}: {what}" for fault, (what, _) in zip(tried, found) if what]
    assert counts, "no call was failed"
    assert not wrong, f"{len(wrong)} of {len(tried)} are wrong:\n" + "\n".join(wrong[:WRONG_SHOWN])
