# SPDX-License-Identifier: MIT
"""ufm plot: figures, scripts, and folders that are not results."""
import json
import os
import shutil
import struct

import pytest

FIGURES = ("throughput", "memory", "timeline")
gnuplot = pytest.mark.skipif(shutil.which("gnuplot") is None, reason="gnuplot missing")


def row(mode, experts, **more):
    return {"mode": mode, "num_experts": experts, "status": "ok", "bank_bytes": experts << 23,
            "peak_vram_bytes": experts << 22, "vram_target_bytes": 1 << 30,
            "tokens_per_s": 1e5 / experts, "vram_limit_bytes": 3 << 29, "backend": "cpu",
            "device": "a 'quoted' {device}_with ^marks", "link_gbps_emulated": 2.0, **more}


def write(folder, rows):
    folder.mkdir(exist_ok=True)
    (folder / "runs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def png_size(path):
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", head[16:24])


@gnuplot
def test_bench_leaves_figures_and_plot_draws_them_again(ufm):
    results = ufm.folder / "results"
    ended = ufm.bench("--experts", "4,64", "--link-gbps", "5")
    assert (ended.returncode, ended.stderr) == (0, "")
    for name in FIGURES:
        for ending in ("png", "svg"):
            os.remove(results / f"{name}.{ending}")
    ended = ufm("plot")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split() == [f"results/{name}.{ending}" for name in FIGURES
                                    for ending in ("png", "svg")]
    for name in FIGURES:
        assert min(png_size(results / f"{name}.png")) >= 800
        svg = (results / f"{name}.svg").read_text()
        assert svg.startswith("<?xml") and "emulated link, 5 GB/s" in svg and "backend cpu" in svg
        assert (results / f"{name}.gp").exists() and (results / f"{name}.dat").exists()
    assert "out of memory" in (results / "throughput.svg").read_text()
    assert "card limit" in (results / "memory.svg").read_text()
    assert "target of ufm" in (results / "memory.svg").read_text()
    assert "out of memory" in (results / "timeline.svg").read_text()


@gnuplot
@pytest.mark.parametrize("rows", [
    [row("ufm", 4)],
    [row("baseline", 4, status="oom", tokens_per_s=None)],
    [row("ufm", 4, status="error", tokens_per_s=None, backend=None, device=None)],
    [row("ufm", e, link_gbps_emulated=None, vram_limit_bytes=None) for e in range(1, 30)],
    [row(mode, e) for mode in ("baseline", "naive_offload", "ufm") for e in (8, 4)],
], ids=["one", "only oom", "only an error", "many", "three modes"])
def test_odd_folders_are_drawn(ufm, rows):
    folder = ufm.folder / "odd folder"
    write(folder, rows)
    ended = ufm("plot", "odd folder")
    assert (ended.returncode, ended.stderr) == (0, "")
    for name in FIGURES:
        png_size(folder / f"{name}.png")
    assert "emulated" in (folder / "memory.svg").read_text() or not rows[0]["link_gbps_emulated"]


@gnuplot
def test_telemetry_cut_short_is_drawn_as_far_as_it_goes(ufm):
    folder = ufm.folder / "results"
    write(folder, [row("ufm", 4)])
    header = "t,gpu_alloc_gb,gpu_reserved_gb,proc_ram_gb\n"
    (folder / "telemetry_ufm_4.csv").write_text(header + "0.0,1.0,1.0,2.0\n0.05,1.5,1.5,2.5\n0.1,1")
    assert ufm("plot").returncode == 0
    assert "0.050 1.500000 2.500000" in (folder / "timeline.dat").read_text()


def test_without_gnuplot_the_scripts_are_kept(ufm):
    write(ufm.folder / "results", [row("ufm", 4)])
    ended = ufm("plot", env={"PATH": str(ufm.folder)})
    assert ended.returncode == 3
    assert ended.stderr.count("\n") == 1 and "gnuplot is missing" in ended.stderr
    for name in FIGURES:
        assert (ufm.folder / "results" / f"{name}.gp").stat().st_size > 0


def test_bench_without_gnuplot_keeps_rows_and_succeeds(ufm):
    ended = ufm.bench("--experts", "4", "--modes", "ufm", env={"PATH": str(ufm.folder)})
    assert ended.returncode == 0
    assert ended.stderr.count("\n") == 1 and "gnuplot is missing" in ended.stderr
    assert (ufm.folder / "results" / "runs.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize("content, line", [
    ("", None),
    ("\n\n", None),
    ("not json\n", 1),
    (json.dumps(row("ufm", 4)) + "\n[1]\n", 2),
    ('{"mode": "ufm"}\n', 1),
    (json.dumps(row("../evil", 4)) + "\n", 1),
    (json.dumps(row("ufm", -4)) + "\n", 1),
])
def test_malformed_rows(ufm, content, line):
    (ufm.folder / "results").mkdir()
    (ufm.folder / "results" / "runs.jsonl").write_text(content)
    ended = ufm("plot")
    assert ended.returncode == 4
    assert ended.stderr.count("\n") == 1 and "results/runs.jsonl" in ended.stderr
    assert line is None or f"line {line}" in ended.stderr


def test_a_folder_without_results(ufm):
    ended = ufm("plot", "nowhere")
    assert ended.returncode == 4
    assert ended.stderr.count("\n") == 1 and "nowhere/runs.jsonl" in ended.stderr


@gnuplot
def test_a_figure_that_cannot_be_written(ufm):
    write(ufm.folder / "results", [row("ufm", 4)])
    (ufm.folder / "results" / "memory.dat").symlink_to("/dev/full")
    ended = ufm("plot")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1 and "memory.dat" in ended.stderr
