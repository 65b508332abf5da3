# SPDX-License-Identifier: MIT
"""bench/peers/run.py: the modes against float64, the rows, the ratios, and what it refuses."""
import importlib.util
import json
import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RUN = os.path.join(ROOT, "bench", "peers", "run.py")
TORCH_MODES = ["torch_resident", "torch_lru", "torch_restream", "torch_naive"]
SMALL = ["--device", "cpu", "--modes", ",".join(TORCH_MODES), "--d-model", "32", "--d-hidden", "48",
         "--tokens", "24", "--steps", "3", "--headroom", "0"]
BLOCK = 16384  # an expert of SMALL, in whole pages

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="not installed: torch")


def peers(*arguments, env=None):
    return subprocess.run([sys.executable, "-B", RUN, *map(str, arguments)], text=True, capture_output=True,
                          timeout=100, env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})})


def rows_of(folder):
    return [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]


def by_mode(folder):
    return {(row["mode"], row["num_experts"]): row for row in rows_of(folder)}


@needs_torch
def test_every_mode_agrees_with_float64():
    ended = peers("--self-test", "--device", "cpu", "--modes", ",".join(TORCH_MODES))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(ended.stdout.splitlines()) == 2 * 3 * len(TORCH_MODES)


@needs_torch
def test_rows_add_up(tmp_path):
    ended = peers(*SMALL, "--experts", "2,9", "--vram-target", 4 * BLOCK, "--out", tmp_path)
    assert ended.returncode == 0, ended.stderr
    rows = by_mode(tmp_path)
    assert set(rows) == {(mode, experts) for mode in TORCH_MODES for experts in (2, 9)}
    for (mode, experts), row in rows.items():
        assert row["status"] == "ok" and row["expert_bytes"] <= BLOCK
        assert row["uses"] == row["resident_uses"] + row["streamed_uses"]
        assert row["h2d_weight_bytes"] == row["streamed_uses"] * row["expert_bytes"]
        assert len(row["step_ms"]) == row["steps"] == 3 and row["max_error"] < 1e-5
        assert row["peer_version"] and row["experts_touched"] <= experts
    assert rows["torch_resident", 9]["streamed_uses"] == 0
    assert rows["torch_lru", 2]["streamed_uses"] == 0
    # A sweep of 9 experts through 4 slots leaves least recently used nothing to hit.
    assert rows["torch_lru", 9]["slots"] == 4 and rows["torch_lru", 9]["resident_uses"] == 0
    assert rows["torch_restream", 2]["resident_uses"] == 0
    naive = rows["torch_naive", 9]
    assert naive["d2h_weight_bytes"] == naive["h2d_weight_bytes"] > 0


@needs_torch
def test_no_slot_is_out_of_memory_and_a_result(tmp_path):
    ended = peers(*SMALL, "--experts", "3", "--vram-target", BLOCK - 1, "--out", tmp_path)
    assert ended.returncode == 0, ended.stderr
    rows = by_mode(tmp_path)
    assert rows["torch_lru", 3]["status"] == rows["torch_restream", 3]["status"] == "oom"
    assert rows["torch_resident", 3]["status"] == "ok" and "no slot fits" in ended.stdout


def ufm_row(**more):
    return {"mode": "ufm", "num_experts": 5, "status": "ok", "tokens_per_s": 1e6, "tokens_per_s_median": 2e6,
            "d_model": 32, "d_hidden": 48, "top_k": 2, "batch": 4, "seq": 6, "dtype": "f32", "cpu_threads": 0, **more}


def write(folder, *rows):
    folder.mkdir()
    (folder / "runs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@needs_torch
def test_ratios_to_rows_of_ufm(tmp_path):
    link = write(tmp_path / "link", ufm_row(), ufm_row(num_experts=6, status="oom", tokens_per_s=None))
    cpu = write(tmp_path / "cpu", ufm_row(tokens_per_s=2e6, cpu_threads=15))
    ended = peers(*SMALL, "--modes", "torch_resident", "--experts", "5,6", "--out", tmp_path / "out",
                  "--beside", link, cpu)
    assert ended.returncode == 0, ended.stderr
    head, _, first, second = (line.split(" | ") for line in ended.stdout.splitlines())
    assert [cell.strip(" |") for cell in head[-2:]] == ["ufm / peer", "ufm, link and CPU / peer"]
    speed = by_mode(tmp_path / "out")["torch_resident", 5]["tokens_per_s"]
    assert float(first[-2]) == pytest.approx(1e6 / speed, abs=0.006)
    assert float(first[-1].strip(" |")) == pytest.approx(2e6 / speed, abs=0.006)
    assert second[-2].strip() == "" and (tmp_path / "out" / "table.md").read_text() == ended.stdout


@pytest.mark.parametrize("arguments, word", [
    (["--experts", "0"], "expected numbers of experts"),
    (["--vram-target", "16Gb"], "expected a size"),
    (["--modes", "torch_resident,fast"], "'fast', expected some of torch_resident"),
    (["--dtype", "f16"], "invalid choice"),
])
def test_wrong_arguments(arguments, word):
    ended = peers(*SMALL, *arguments)
    assert ended.returncode == 2 and word in ended.stderr


def test_rows_of_another_geometry_are_refused(tmp_path):
    other = write(tmp_path / "other", ufm_row(d_model=64))
    ended = peers(*SMALL, "--experts", "2", "--beside", other)
    assert ended.returncode == 1 and "expected (32, 48, 2, 24, 'f32')" in ended.stderr


def test_without_torch_one_line_says_what_to_install(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError(\"No module named 'torch'\")\n")
    ended = peers(env={"PYTHONPATH": str(tmp_path)})
    assert (ended.returncode, ended.stdout) == (3, "")
    assert len(ended.stderr.splitlines()) == 1 and "pip install torch" in ended.stderr


@needs_torch
def test_without_a_gpu_or_accelerate_one_line_says_so():
    hidden = peers(env={"CUDA_VISIBLE_DEVICES": ""})
    assert hidden.returncode == 3 and "sees no GPU" in hidden.stderr
    if importlib.util.find_spec("accelerate") is None:
        ended = peers("--device", "cpu")
        assert ended.returncode == 3 and "accelerate is not installed" in ended.stderr
