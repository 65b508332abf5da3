# SPDX-License-Identifier: MIT
"""bench/peers over a recorded trace: the drivers, and the table of beside.sh."""
import json
import os
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest

from peers_on_a_trace import ATTENTION, EXPERT_BYTES, EXPERTS, LAYERS, PEERS, SHAPE, TOKENS, lacking, random_ids, script


@pytest.fixture(name="trace")
def trace_fixture(tmp_path):
    np.save(tmp_path / "trace.npy", random_ids())
    return tmp_path / "trace.npy"


# ---- PyTorch and Transformers

def lru_hits(ids, warmup, steps, slots):
    kept, hits = OrderedDict(), 0
    for step in range(warmup + steps):
        for layer, chosen in enumerate(ids[step % len(ids)]):
            for expert in chosen:
                key = (layer, int(expert))
                hits += key in kept and step >= warmup
                kept.pop(key, None)
                kept[key] = True
                if len(kept) > slots:
                    kept.popitem(last=False)
    return hits / (steps * ids.shape[1] * ids.shape[2])


@lacking("torch")
def test_pytorch_decodes_the_trace(trace):
    block = -(-EXPERT_BYTES // 4096) * 4096
    for mode, slots in (("torch_resident", LAYERS * EXPERTS), ("torch_lru", 8)):
        ended = script("decode.py", "--trace", trace, "--mode", mode, "--vram-bytes", 8 * block + 1, *SHAPE,
                       "--device", "cpu", "--warmup", 6, "--steps", 31, "--row-seconds", 60)
        assert ended.returncode == 0, ended.stderr
        row = json.loads(ended.stdout)
        assert (row["steps"], row["steps_off_trace"], row["rows_different"], row["slots"]) == (31, 0, 0, slots)
        expected = 1 if mode == "torch_resident" else lru_hits(random_ids(), 6, 31, 8)
        assert row["hit_share"] == pytest.approx(expected) and row["tokens_per_s"] > 0


@lacking("torch")
def test_pytorch_without_a_slot_is_a_result(trace):
    ended = script("decode.py", "--trace", trace, "--mode", "torch_lru", "--vram-bytes", 1, *SHAPE, "--device", "cpu")
    assert ended.returncode == 0, ended.stderr
    assert "no slot fits" in json.loads(ended.stdout)["error"]


@lacking("transformers")
@lacking("torch")
def test_transformers_block_is_timed():
    ended = script("blocks.py", "--device", "cpu", "--experts", 4, "--d-model", 32, "--d-hidden", 16, "--top-k", 2,
                   "--layers", 2, "--tokens", "1,3", "--runs", 2)
    assert ended.returncode == 0, ended.stderr
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [(row["implementation"], row["tokens"]) for row in rows] == [
        (name, tokens) for name in ("grouped_mm", "batched_mm") for tokens in (1, 3)]
    assert all(row["us"] > 0 and row["runs"] == 2 for row in rows if not row["error"])


# ---- FreeToken: a stand-in with the members that the driver uses

STAND_IN = '''
class LLM:
    def __init__(self, path, **options):
        print("#", sorted(options.items()))
        self.start = 0

    def rebuild_cache(self, moe_cache_size):
        print("# rebuilt", moe_cache_size)

    def offline_send_result(self, reply):
        pass

    def generate(self, prompts, sampling):
        class Message:
            pass
        for step in range(sampling["max_tokens"]):
            message = Message()
            message.next_token = (prompts[0][-1] + 1 + step + (step >= LOST)) % 20
            self.offline_send_result([Message(), message])
'''


def free_token(tmp_path, lost, *arguments):
    """The driver beside a stand-in that leaves the trace at step `lost`."""
    package = tmp_path / "freetoken"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "core.py").write_text("SamplingParams = dict\n")
    (package / "llm.py").write_text(STAND_IN.replace("LOST", str(lost)))
    (tmp_path / "torch.py").write_text("class cuda:\n    is_available = staticmethod(lambda: True)\n")
    (tmp_path / "freetoken-0.1.3.dist-info").mkdir()
    (tmp_path / "freetoken-0.1.3.dist-info" / "METADATA").write_text("Name: freetoken\nVersion: 0.1.3\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(
        {"num_hidden_layers": 3, "num_experts": 7, "hidden_size": 32, "moe_intermediate_size": 24, "vocab_size": 20}))
    return script("freetoken_replay.py", "--model", tmp_path / "model", *arguments, env={"PYTHONPATH": str(tmp_path)})


def test_freetoken_rows(tmp_path):
    for threads, gbps in ((0, 10), (5, 12)):
        (tmp_path / f"{threads}.json").write_text(json.dumps({"dtype_kernels": {"bf16": {"cpu_moe_gbs": gbps}}}))
    sizes = f"{100 * EXPERT_BYTES},{15 * EXPERT_BYTES + 1}"
    ended = free_token(tmp_path, 10**6, "--strategy", "hybrid", "--cache-bytes", sizes, "--prefill", 6,
                       "--warmup", 3, "--steps", 30, "--profile", f"0:{tmp_path}/0.json",
                       "--profile", f"5:{tmp_path}/5.json")
    assert ended.returncode == 0, ended.stderr
    notes = [line for line in ended.stdout.splitlines() if line.startswith("#")]
    rows = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert "('moe_cache_size', 21)" in notes[0] and "('moe_cpu_threads', 5)" in notes[0]
    assert notes[1] == "# rebuilt 15"
    assert [(row["slots"], row["steps_off_trace"], row["threads"]) for row in rows] == [(21, 0, 5), (15, 0, 5)]
    assert all(row["tokens_per_s"] > 0 and row["prefill_tokens_per_s"] > 0 for row in rows)


def test_freetoken_off_the_trace_and_too_small_a_cache(tmp_path):
    ended = free_token(tmp_path, 9, "--strategy", "fused", "--warmup", 3, "--steps", 8)
    assert json.loads(ended.stdout.splitlines()[-1])["steps_off_trace"] == 2
    ended = script("freetoken_replay.py", "--model", tmp_path / "model", "--strategy", "offload", "--cache-bytes",
                   13 * EXPERT_BYTES, env={"PYTHONPATH": str(tmp_path)})
    assert ended.returncode == 1 and "needs two layers of experts" in ended.stderr


def test_without_freetoken_one_line_says_so(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(
        {"num_hidden_layers": 1, "num_experts": 2, "hidden_size": 2, "moe_intermediate_size": 2, "vocab_size": 2}))
    (tmp_path / "freetoken.py").write_text("raise ImportError('no freetoken')\n")
    (tmp_path / "torch.py").write_text("")
    ended = script("freetoken_replay.py", "--model", tmp_path, "--strategy", "fused", env={"PYTHONPATH": str(tmp_path)})
    assert ended.returncode == 3 and "no freetoken" in ended.stderr and len(ended.stderr.splitlines()) == 1


# ---- llama.cpp

def test_build_llama_refuses_what_is_no_source(tmp_path):
    ended = script("build_llama.sh", tmp_path, tmp_path / "out")
    assert ended.returncode == 2 and "found no include/llama.h" in ended.stderr
    assert script("build_llama.sh", tmp_path).returncode == 2


@pytest.mark.skipif("LLAMA_DIR" not in os.environ, reason="no peer: LLAMA_DIR names no libllama with its headers")
def test_llama_follows_the_trace(tmp_path, trace):
    where = os.environ["LLAMA_DIR"]
    script("trace_model.py", "--trace", trace, "--gguf", tmp_path / "m.gguf", *SHAPE, *ATTENTION)
    subprocess.run(["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{where}/include",
                    os.path.join(PEERS, "llama_replay.cpp"), f"-L{where}/lib", f"-Wl,-rpath,{where}/lib", "-lllama",
                    "-lggml", "-lggml-base", "-o", tmp_path / "replay"], check=True)
    ended = subprocess.run([tmp_path / "replay", "--model", tmp_path / "m.gguf", "--trace", trace, "--place", "split",
                            "--cpu-layers", "2", "--threads", "2,1", "--warmup", "7", "--steps", "30", "--prefill", "20"],
                           text=True, capture_output=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    row = json.loads(ended.stdout)
    assert (row["steps"], row["steps_off_trace"], row["rows_different"]) == (30, 0, 0)
    assert row["rows_compared"] > TOKENS * LAYERS and row["prefill_tokens_per_s"] > 0
    ended = subprocess.run([tmp_path / "replay", "--model", tmp_path / "m.gguf", "--place", "moon"], text=True,
                           capture_output=True, timeout=100, check=False)
    assert ended.returncode == 1 and "expected resident, cpu, cache or split" in ended.stderr


# ---- the table

def put(folder, stage, *rows, name="rows.jsonl"):
    (folder / stage).mkdir(parents=True, exist_ok=True)
    (folder / stage / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def measured(tmp_path, ids="device", lost=0):
    """8 GiB: a token of ours takes 1 ms more than resident, of the peers 3 and 4 ms."""
    def ours(speed):
        return {"tokens_per_s": speed, "status": "ok", "ids": ids}

    size = 8 * 2**30
    put(tmp_path, "ours/resident-all", ours(1000), name="runs.jsonl")
    put(tmp_path, f"ours/off-{size}", ours(500), name="runs.jsonl")
    put(tmp_path, f"ours/auto-{size}", ours(400), name="runs.jsonl")
    put(tmp_path, "free_fused", {"strategy": "fused", "tokens_per_s": 500, "steps_off_trace": 0})
    put(tmp_path, "free_offload", {"strategy": "offload", "cache_bytes": size, "tokens_per_s": 200,
                                   "steps_off_trace": lost, "prefill_tokens_per_s": 3000})
    put(tmp_path, "llama_resident", {"place": "resident", "tokens_per_s": 250})
    put(tmp_path, "llama_cache", {"place": "cache", "cache_mib": 8192, "tokens_per_s": 125, "rows_different": 0})
    put(tmp_path, "llama_cpu", {"place": "cpu", "tokens_per_s": 30, "threads": 15})
    return str(size)


def test_the_table_takes_out_each_ones_own_step(tmp_path):
    size = measured(tmp_path)
    ended = script("beside_table.py", tmp_path)
    assert ended.returncode == 0, ended.stderr
    table = json.loads((tmp_path / "table.json").read_text())
    added = {row["who"]: row["added_ms"] for row in table["rows"]}
    assert added["UFM `off`"] == {size: pytest.approx(1)} and added["UFM `auto`"] == {size: pytest.approx(1.5)}
    assert added["FreeToken offload"] == {size: pytest.approx(3)}
    assert added["llama.cpp, its cache"] == {size: pytest.approx(4)}
    assert table["better_peer_by_ours"] == {"UFM `off`": {size: pytest.approx(3)}, "UFM `auto`": {size: pytest.approx(2)}}
    text = (tmp_path / "table.md").read_text()
    assert text == ended.stdout and "| FreeToken offload | 500.0 | 200.0 |" in text
    assert "| **the better peer ÷ UFM `off`** | 3.00 |" in text and "CPU alone: 30.0 tok/s" in text


def test_a_peer_off_the_trace_counts_for_nothing(tmp_path):
    size = measured(tmp_path, lost=2)
    ended = script("beside_table.py", tmp_path)
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["better_peer_by_ours"]["UFM `off`"] == {size: pytest.approx(4)}
    assert "FreeToken offload, 8 GiB: 2 steps off the trace" in ended.stdout


def test_ids_handed_ahead_give_no_ratio(tmp_path):
    measured(tmp_path, ids="ahead")
    ended = script("beside_table.py", tmp_path)
    assert json.loads((tmp_path / "table.json").read_text())["better_peer_by_ours"] == {}
    assert "ids were handed ahead" in ended.stdout and "÷" not in ended.stdout


def test_a_peer_to_which_nothing_is_added_gives_no_ratio(tmp_path):
    measured(tmp_path)
    put(tmp_path, "llama_resident", {"place": "resident", "tokens_per_s": 100})
    script("beside_table.py", tmp_path)
    assert json.loads((tmp_path / "table.json").read_text())["better_peer_by_ours"] == {}


def test_the_table_of_nothing_and_of_broken_rows(tmp_path):
    assert script("beside_table.py", tmp_path).returncode == 0
    put(tmp_path, "llama_cache")
    (tmp_path / "llama_cache" / "rows.jsonl").write_text('{"place": ')
    ended = script("beside_table.py", tmp_path)
    assert ended.returncode == 1 and "rows.jsonl" in ended.stderr
    assert script("beside_table.py", tmp_path / "none").returncode == 1


# ---- the command

def test_beside_runs_what_there_is_and_names_the_rest(tmp_path, ufm_path):
    arguments = ["--ufm", ufm_path, "--out", tmp_path / "out", "--size", "tiny", "--sticky", "--scratch", tmp_path,
                 "--python", sys.executable]
    ended = script("beside.sh", *arguments, "trace", "ours", "llama_cache", "free_fused")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "llama_cache: left out: no --llama-dir" in ended.stdout and "free_fused: left out" in ended.stdout
    recorded = np.load(tmp_path / "out" / "trace" / "trace.npy")
    assert recorded.shape == (64, 2, 2)
    # Not the first tokens again and again: sets of 2 of 8, in two layers, seldom repeat in order.
    assert (recorded[:32] != recorded[32:]).any()
    rows = {row["who"]: row for row in json.loads((tmp_path / "out" / "table.json").read_text())["rows"]}
    assert set(rows) == {"UFM `off`", "UFM `auto`"} and len(rows["UFM `off`"]["tokens_per_s"]) == 3
    assert not (tmp_path / "ufm-beside").exists()
    again = script("beside.sh", *arguments, "trace", "ours")
    assert again.returncode == 0 and again.stdout.count("passed before") == 2


def test_beside_refuses(tmp_path, ufm_path):
    assert script("beside.sh").returncode == 2
    assert script("beside.sh", "--size", "huge").returncode == 2
    assert script("beside.sh", "--ufm", tmp_path / "none", "--out", tmp_path).returncode == 3
    ended = script("beside.sh", "--ufm", ufm_path, "moon")
    assert ended.returncode == 2 and "stage 'moon'" in ended.stderr
