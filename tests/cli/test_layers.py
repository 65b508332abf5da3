# SPDX-License-Identifier: MIT
"""tests/gpu/layers.sh by this machine's processor at its smallest size, and what layers_report.py says of rows."""
import json
import os
import subprocess
import sys
import tarfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("UFM_BUILD_DIR", os.path.join(ROOT, "build")))
LAYERS = os.path.join(ROOT, "tests", "gpu", "layers.sh")
REPORT = os.path.join(ROOT, "tests", "gpu", "layers_report.py")
OURS = ["machine", "products", "prefill", "decode", "reference", "before", "streamed", "small", "streamed_before"]


def layers(folder, *arguments):
    (folder / "out").mkdir(exist_ok=True)
    command = [LAYERS, "--build", BUILD, "--results", folder / "results", "--backend", "cpu", "--size", "tiny",
               "--before", BUILD, *arguments]
    return subprocess.run([str(part) for part in command], text=True, capture_output=True, timeout=300,
                          env={**os.environ, "OUT": str(folder / "out")})


def report(folder):
    ended = subprocess.run([sys.executable, REPORT, str(folder)], text=True, capture_output=True, timeout=60)
    table = [line for line in ended.stdout.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return ended, {line[0]: line[1:] for line in cells[1:]}


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_every_stage_leaves_rows(tmp_path):
    ended = layers(tmp_path, *OURS)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = tmp_path / "results"
    for stage in OURS:
        assert (results / stage / "passed").exists(), stage
    rows, products = (read(results / stage / "rows.jsonl") for stage in ("prefill", "products"))
    assert [(row["phase"], row["seq"], row["mode"]) for row in rows] == [
        ("prefill", 8, "baseline"), ("prefill", 40, "baseline")]
    assert [row["tokens"] for row in products] == [1, 17, 40] and all(row["error_max"] < 1e-5 for row in products)
    paged = read(results / "streamed" / "rows.jsonl")
    assert [(row["phase"], row["cpu_assist_asked"], row["mode"]) for row in paged] == [
        ("decode", "off", "ufm"), ("decode", "auto", "ufm"), ("prefill", "off", "ufm")]
    assert all(row["streamed_uses"] + row["cpu_uses"] > 0 for row in paged)
    assert len(read(results / "streamed_before" / "rows.jsonl")) == 4
    assert "| resident decode, batch 1 |" in (results / "report.md").read_text()
    with tarfile.open(tmp_path / "out" / "gpu-layers.tar.gz") as archive:
        assert "results/report.md" in archive.getnames()


def test_wrong_arguments(tmp_path):
    for wrong in (["nonsense"], ["--nonsense", "1"], ["--size", "huge"], ["--seconds"]):
        assert layers(tmp_path, *wrong).returncode == 2, wrong


def test_the_report_without_rows_says_so(tmp_path):
    ended, lines = report(tmp_path)
    assert ended.returncode == 0
    assert all("not measured" in line[0] and line[-1] == "" for line in lines.values()), lines


def test_the_report_compares(tmp_path):
    write(tmp_path / "vendor" / "rows.jsonl", {"bench": "vendor", "tflops": 800.0})
    write(tmp_path / "products" / "rows.jsonl",
          {"math": "bf16", "tokens": 64, "ms": 0.3, "weights_gbps": 3600.0, "tflops": 230.0},
          {"math": "bf16", "tokens": 512, "ms": 1.2, "weights_gbps": 1000.0, "tflops": 500.0},
          {"math": "fp32", "tokens": 512, "ms": 4.0, "weights_gbps": 300.0, "tflops": 170.0})
    decode = {"phase": "decode", "layers": 10, "probe_hbm_gbps": 4400.0}
    write(tmp_path / "decode" / "rows.jsonl", {**decode, "batch": 1, "step_ms_median": 0.29},
          {**decode, "batch": 8, "step_ms_median": 1.6, "fraction_of_floor": 0.5})
    write(tmp_path / "prefill" / "rows.jsonl",
          {"phase": "prefill", "math": "bf16", "seq": 512, "layers": 4, "step_ms_median": 1.2})
    write(tmp_path / "transformers" / "rows.jsonl", {"implementation": "grouped_mm", "tokens": 512, "us": 1100.0})
    paged = {"phase": "decode", "layers": 48, "step_ms_median": 50.0}
    write(tmp_path / "streamed" / "rows.jsonl", {**paged, "cpu_assist_asked": "off", "fraction_of_floor": 0.95},
          {**paged, "cpu_assist_asked": "auto", "fraction_of_floor": 0.8},
          {**paged, "phase": "prefill", "seq": 8192, "fraction_of_floor": 0.93})
    write(tmp_path / "streamed_before" / "rows.jsonl", {**paged, "cpu_assist_asked": "off", "fraction_of_floor": 0.9})
    ended, lines = report(tmp_path)
    assert ended.returncode == 0 and "800 TFLOP/s" in ended.stdout
    assert lines["48 layers at 16 GiB, decode, CPU off"] == ["50.00 ms (before 50.00, 0.900)", "0.94", "0.950", "met"]
    assert lines["48 layers at 16 GiB, decode, CPU auto"][2:] == ["0.800", "short"]
    assert lines["48 layers at 16 GiB, prefill of 8,192"][2:] == ["0.930", "met"]
    assert lines["48 layers at 16 GiB, prefill of 32,768"][2:] == ["", ""]
    assert lines["bf16 products, 64 rows"][2:] == ["0.818", "met"]  # of memory
    assert lines["bf16 products, 512 rows"][2:] == ["0.625", "short"]  # of the vendor's product
    assert lines["f32-exact products, 512 rows, of a third"][2:] == ["0.637", "met"]
    assert lines["resident layer, bf16, 512 tokens"][0] == "300 µs (before not measured; Transformers 1,100)"
    assert lines["resident layer, bf16, 512 tokens"][-1] == "met"
    assert lines["resident decode, batch 1"][-1] == "met" and lines["resident decode, batch 8"][-1] == "short"


def test_the_report_wants_a_folder():
    assert report("/nowhere")[0].returncode == 4
    assert subprocess.run([sys.executable, REPORT], capture_output=True).returncode == 2
