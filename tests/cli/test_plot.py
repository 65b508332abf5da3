# SPDX-License-Identifier: MIT
"""ufm plot: figures, scripts, and folders that are not results."""
import json
import os
import re
import shutil
import signal
import struct
import xml.etree.ElementTree

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
@pytest.mark.parametrize("build", ["now", "earlier"])
def test_a_point_has_the_quartiles_of_its_steps(ufm, build):
    """tokens_per_s is of the mean step, and was of the median one."""
    step_ms = [4, 1, 2, 3, 10]
    tokens, base_ms = 8, 4 if build == "now" else 3
    more = {"tokens_per_s_median": 8e3 / 3} if build == "now" else {}
    rows = [row("ufm", 4, step_ms=step_ms, tokens_per_s=tokens * 1e3 / base_ms, **more),
            row("ufm", 8, step_ms=[2], tokens_per_s=500, **more), row("baseline", 8, tokens_per_s=700)]
    write(ufm.folder / "r", rows)
    ended = ufm("plot", "r")
    assert (ended.returncode, ended.stderr) == (0, "")
    data = [line.split() for line in (ufm.folder / "r" / "throughput.dat").read_text().splitlines()]
    points = [[float(word) for word in words] for words in data if len(words) == 4 and words[0] in "48"]
    assert points[0] == pytest.approx([4, tokens * 1e3 / base_ms, 8e3 / 4, 8e3 / 2])
    assert points[1] == [8, 500, 500, 500] and points[2] == [8, 700, 700, 700]
    assert "tokens/s (log scale; bars: quartiles)" in (ufm.folder / "r" / "throughput.svg").read_text()


@pytest.mark.parametrize("step_ms, found", [([1, 0], "found 0"), ([-1], "found -1"), ([1, "x"], "found 0"),
                                            ([1e300], "found 1e+300")])
def test_steps_that_cannot_be(ufm, step_ms, found):
    write(ufm.folder / "r", [row("ufm", 4, step_ms=step_ms)])
    ended = ufm("plot", "r")
    assert ended.returncode == 4 and ended.stderr.count("\n") == 1
    assert f"r/runs.jsonl: line 1: step_ms: {found}, expected milliseconds above 0" in ended.stderr


@gnuplot
def test_bench_leaves_figures_and_plot_draws_them_again(ufm):
    results = ufm.folder / "results" / "latest"
    ended = ufm.bench("--experts", "4,64", "--link-gbps", "5")
    assert (ended.returncode, ended.stderr) == (0, "")
    for name in FIGURES:
        for ending in ("png", "svg"):
            os.remove(results / f"{name}.{ending}")
    ended = ufm("plot")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split() == [f"results/latest/{name}.{ending}" for name in FIGURES
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


HOSTILE = [
    "a';system(\"touch pwned\")#",
    "`touch pwned`",
    '"; system("touch pwned") #',
    "a\nsystem('touch pwned')\n#",
    "\\';system('touch pwned')#",
    "'.system('touch pwned').'",
    '".system("touch pwned")."',
    "} ; !touch pwned ; {",
    "@x_{1}^2 &{a} {/Bold b}",
    "<b>&amp;</b> %s %n $x",
    "\\",
    "lang \u00fc\u20ac\u0085",
]


def as_drawn(name):
    """All of a name is drawn as it is but what no label can show."""
    return re.sub("[\x80-\x9f]", "??", re.sub("[\x00-\x1f\x7f]", "?", name))


def labels(svg):
    """The texts of a figure, each as one string."""
    found = xml.etree.ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(text.itertext()).strip() for text in found]


def replayed(policy, **more):
    return {"trace": "t.npy", "policy": policy, "bound": "min", "scope": "pool", "batch": 1,
            "capacity_percent": 50.0, "hit_rate": 0.5, "bound_hit_rate": 0.75, **more}


@gnuplot
@pytest.mark.parametrize("field, shown", [("policy", "{}"), ("bound", "{} (bound)"),
                                          ("trace", "one pool for all layers: {}, 1 sequence a step")])
def test_names_of_replayed_rows_are_drawn_and_never_run(ufm, field, shown):
    folder = ufm.folder / "results"
    folder.mkdir()
    for name in HOSTILE:
        given = {"policy": "lru", **{field: name}}
        (folder / "replay.jsonl").write_text(json.dumps(replayed(**given)) + "\n")
        ended = ufm("plot", "results")
        assert (ended.returncode, ended.stderr) == (0, ""), name
        drawn = as_drawn(name.rpartition("/")[2] if field == "trace" else name)
        assert shown.format(drawn) in labels(folder / "hit_rate.svg")
        assert not list(ufm.folder.rglob("pwned")), name


def label_heights(svg):
    """Where each text of a figure stands, from above."""
    parents = xml.etree.ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}g")
    return [float(re.search(r",([\d.]+)\)", group.get("transform")).group(1)) for group in parents
            for _ in group.findall("{http://www.w3.org/2000/svg}text")]


@gnuplot
def test_the_legend_of_hit_rates_lies_beside_the_panels_and_names_each_bound(ufm):
    folder = ufm.folder / "results"
    folder.mkdir()
    rows = [replayed("cycle", bound="min-bypass", bound_hit_rate=0.8, hit_rate=0.78, steps_counted=64),
            replayed("lru", steps_counted=64), replayed("min", hit_rate=0.75, steps_counted=64)]
    (folder / "replay.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    assert ufm("plot", "results").returncode == 0
    shown = labels(folder / "hit_rate.svg")
    for words in ("cycle, may pass by", "lru", "min (bound: all admitted)", "min-bypass (bound: may pass by)",
                  "one pool for all layers: t.npy, 1 sequence a step, n = 64 steps"):
        assert words in shown
    script = (folder / "hit_rate.gp").read_text()
    right = float(re.search(r"margins [\d.]+,([\d.]+),", script).group(1))
    assert right < float(re.search(r"set key left center at screen ([\d.]+),", script).group(1))


@gnuplot
def test_a_name_is_cut_between_characters(ufm):
    folder = ufm.folder / "results"
    folder.mkdir()
    (folder / "replay.jsonl").write_text(json.dumps(replayed("\u20ac" * 20)) + "\n")
    assert ufm("plot", "results").returncode == 0
    assert "\u20ac" * 10 + "?" in labels(folder / "hit_rate.svg")


@gnuplot
@pytest.mark.parametrize("field", ["backend", "device"])
def test_names_of_rows_are_drawn_and_never_run(ufm, field):
    for name in HOSTILE:
        write(ufm.folder / "results", [row("ufm", 4, **{"backend": "cpu", "device": "d", field: name})])
        ended = ufm("plot", "results")
        assert (ended.returncode, ended.stderr) == (0, ""), name
        for figure in FIGURES:
            below = labels(ufm.folder / "results" / f"{figure}.svg")
            assert any(f"{field} {as_drawn(name)}" in label for label in below), (figure, name)
        assert not list(ufm.folder.rglob("pwned")), name


@gnuplot
def test_settings_that_lie_about_change_no_figure(ufm):
    folder = ufm.folder / "results"
    write(folder, [row("ufm", 4)])
    for place in (ufm.folder, folder):
        (place / ".gnuplot").write_text('system("touch pwned")\n')
    assert ufm("plot", "results", env={"HOME": str(ufm.folder)}).returncode == 0
    assert not list(ufm.folder.rglob("pwned"))


def linetype_of(script, mode):
    return int(re.search(rf"linespoints lt (\d+) title \"{mode}\"", script.read_text()).group(1))


def marks(script):
    """Of runs without a value: (experts, height on the screen, line type, point)."""
    found = re.findall(r"(?m)^set label '' at first (\S+), screen (\S+) point lt (\d+) pt (\d+) ", script.read_text())
    return [(float(at), float(y), int(look), int(point)) for at, y, look, point in found]


@gnuplot
def test_a_mode_looks_the_same_in_every_figure(ufm):
    modes = ["baseline", "naive_offload", "ufm"]
    together, alone = {}, {}
    write(ufm.folder / "all", [row(mode, 4) for mode in [*reversed(modes), "other", "another"]])
    assert ufm("plot", "all").returncode == 0
    for name in ("throughput", "memory"):
        found = [linetype_of(ufm.folder / "all" / f"{name}.gp", mode)
                 for mode in [*modes, "other", "another"]]
        assert len(set(found)) == 5
        together[name] = dict(zip(modes, found))
    assert together["throughput"] == together["memory"]
    for mode in modes:
        write(ufm.folder / mode, [row(mode, 4), row(mode, 8, status="oom", tokens_per_s=None)])
        assert ufm("plot", mode).returncode == 0
        alone[mode] = linetype_of(ufm.folder / mode / "memory.gp", mode)
        assert [(at, look) for at, _, look, _ in marks(ufm.folder / mode / "memory.gp")] == [(8, alone[mode])]
    assert alone == together["memory"]


@gnuplot
def test_runs_that_failed_are_marked(ufm):
    modes, folder = ("baseline", "naive_offload", "ufm"), ufm.folder / "results"
    write(folder, [row(mode, e, status="error" if e == 8 else "ok") for mode in modes
                   for e in (4, 8)])
    assert ufm("plot", "results").returncode == 0
    for name in ("throughput", "memory"):
        found = marks(folder / f"{name}.gp")
        assert len({look for _, _, look, _ in found}) == 3
        assert sorted(abs(at - 8) < 0.2 for at, *_ in found) == [True] * 3
        assert len({round(at, 2) for at, *_ in found}) == 3, "marks lie on each other"
        svg = (folder / f"{name}.svg").read_text()
        assert ">error<" in svg and "out of memory" not in svg
    assert "ufm; error: 8 experts" in (folder / "timeline.svg").read_text()


@gnuplot
def test_marks_stand_above_the_axes_a_line_for_each_kind(ufm):
    folder = ufm.folder / "results"
    write(folder, [row("baseline", 4), row("baseline", 8, status="oom"), row("ufm", 4), row("ufm", 8, status="error")])
    assert ufm("plot", "results").returncode == 0
    for name in ("throughput", "memory"):
        script = (folder / f"{name}.gp").read_text()
        top = float(re.search(r"set tmargin at screen (\S+)", script).group(1))
        legend = float(re.search(r"set key at screen 0.5,(\S+)", script).group(1))
        (oom, y_oom, _, cross), (error, y_error, _, triangle) = marks(folder / f"{name}.gp")
        assert oom == error == 8 and cross != triangle
        assert top < y_error < y_oom < legend
        words = {label: y for label, y in zip(labels(folder / f"{name}.svg"), label_heights(folder / f"{name}.svg"))}
        assert words["out of memory"] < words["error"]


@gnuplot
def test_panels_of_a_figure_have_one_scale_of_time(ufm):
    folder = ufm.folder / "results"
    write(folder, [row("baseline", 4), row("ufm", 4)])
    for mode, seconds in (("baseline", 2), ("ufm", 9.5)):
        (folder / f"telemetry_{mode}_4.csv").write_text(
            f"t,gpu_alloc_gb,gpu_reserved_gb,proc_ram_gb\n0,1,1,2\n{seconds},1,1,2\n")
    assert ufm("plot", "results").returncode == 0
    script = (folder / "timeline.gp").read_text()
    assert re.findall(r"set xrange \[0:(\S+)\]", script) == ["9.500", "9.500"]


SUMMARY = {"environment": {"cpu": {"model": "A CPU @ 3 GHz", "usable_cores": 6}}}


@gnuplot
@pytest.mark.parametrize("summary, below", [
    (json.dumps(SUMMARY), "A CPU @ 3 GHz, 6 cores; backend cpu"),
    (json.dumps({"environment": {"cpu": {"model": None, "usable_cores": 1}}}), "1 core; backend cpu"),
    ("{}", "backend cpu"), (None, "backend cpu"),
], ids=["whole", "no model", "empty", "none"])
def test_the_machine_is_named_and_the_steps_counted(ufm, summary, below):
    folder = ufm.folder / "results"
    write(folder, [row("ufm", 4, device="d", steps_measured=3), row("ufm", 8, device="d", steps_measured=3)])
    if summary:
        (folder / "summary.json").write_text(summary)
    ended = ufm("plot", "results")
    assert (ended.returncode, ended.stderr) == (0, "")
    for name in FIGURES:
        assert below + ", device d; emulated link, 2 GB/s each way; n = 3 steps" in labels(folder / f"{name}.svg")


@gnuplot
def test_rows_of_different_steps(ufm):
    write(ufm.folder / "results", [row("ufm", 4, steps_measured=1), row("ufm", 8, steps_measured=20),
                                   row("ufm", 16, status="error", steps_measured=40)])
    assert ufm("plot", "results").returncode == 0
    assert "n = 1 to 20 steps" in " ".join(labels(ufm.folder / "results" / "memory.svg"))


@gnuplot
@pytest.mark.parametrize("content", ["not json", "[]", "{"])
def test_a_summary_that_cannot_be_read(ufm, content):
    write(ufm.folder / "results", [row("ufm", 4)])
    (ufm.folder / "results" / "summary.json").write_text(content)
    ended = ufm("plot", "results")
    assert ended.returncode == 0 and ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("ufm: warning: results/summary.json: expected the summary of ufm bench")


@gnuplot
def test_what_is_below_the_title_never_leaves_the_figure(ufm):
    folder = ufm.folder / "results"
    write(folder, [row("ufm", 4, device="a device " * 13, backend="b" * 60)])
    (folder / "summary.json").write_text(json.dumps({"environment": {"cpu": {"model": "word " * 40}}}))
    assert ufm("plot", "results").returncode == 0
    lines = [line for line in labels(folder / "memory.svg") if len(line) > 50]
    assert len(lines) == 2 and max(map(len, lines)) <= 106 and lines[1].endswith(" …")


@gnuplot
@pytest.mark.parametrize("count, shown", [(1, 1), (6, 6), (16, 16), (17, 16), (64, 16)])
def test_the_legend_of_the_timeline_holds_every_number_or_says_how_many_it_left_out(
        ufm, count, shown):
    write(ufm.folder / "results", [row("ufm", 4 * e) for e in range(1, count + 1)])
    assert ufm("plot", "results").returncode == 0
    svg = (ufm.folder / "results" / "timeline.svg").read_text()
    height = int(re.search(r"viewBox='0 0 \d+ (\d+)'", svg.replace('"', "'")).group(1))
    words = re.findall(r">(\d+ experts)<", svg)
    assert words == [f"{4 * e} experts" for e in range(1, shown + 1)]
    assert (f">and {count - shown} more<" in svg) == (count > shown)
    lines = re.findall(r"translate\([\d.]+,([\d.]+)\)", svg)
    assert lines and max(map(float, lines)) <= height


@gnuplot
def test_ticks_of_many_numbers_do_not_touch(ufm):
    write(ufm.folder / "results", [row("ufm", e) for e in range(100, 400, 3)])
    assert ufm("plot", "results").returncode == 0
    ticks = re.search(r"set xtics \((.*)\)", (ufm.folder / "results" / "memory.gp").read_text())
    shown = [int(at) for words, at in re.findall(r'"(.*?)" (\d+)', ticks.group(1)) if words]
    assert shown[0] == 397 and 5 < len(shown) < 26
    assert len(re.findall(r'" \d+', ticks.group(1))) == 100


@gnuplot
@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_last_row_cut_short_is_left_out_with_a_warning(ufm, kept):
    write(ufm.folder / "results", [row("ufm", 4)])
    with open(ufm.folder / "results" / "runs.jsonl", "a") as rows:
        rows.write(json.dumps(row("ufm", 8))[:kept])
    ended = ufm("plot", "results")
    assert ended.returncode == 0
    assert ended.stderr == "ufm: warning: results/runs.jsonl: line 2: cut short, left out\n"
    data = (ufm.folder / "results" / "memory.dat").read_text()
    assert re.search(r"(?m)^4 ", data) and not re.search(r"(?m)^8 ", data)


@gnuplot
def test_a_last_replayed_row_cut_short_is_left_out_with_a_warning(ufm):
    (ufm.folder / "results").mkdir()
    text = json.dumps(replayed("lru")) + "\n" + json.dumps(replayed("fifo"))[:-20]
    (ufm.folder / "results" / "replay.jsonl").write_text(text)
    ended = ufm("plot", "results")
    assert ended.returncode == 0
    assert ended.stderr == "ufm: warning: results/replay.jsonl: line 2: cut short, left out\n"


@pytest.mark.parametrize("name", ["runs.jsonl", "replay.jsonl", "telemetry_ufm_4.csv"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")],
                         ids=["fifo", "folder", "device"])
def test_what_is_no_regular_file_is_refused_at_once(ufm, name, make):
    folder = ufm.folder / "results"
    folder.mkdir()
    if name.startswith("telemetry"):
        write(folder, [row("ufm", 4)])
    make(folder / name)
    ended = ufm("plot", "results", timeout=10)
    assert ended.returncode == 4
    assert f"results/{name}: is not a regular file" in ended.stderr and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("name, change, words", [
    ("runs", {"num_experts": 2**32 + 4}, "num_experts: found 4294967300, expected a whole number from 1"),
    ("runs", {"num_experts": 4.5}, "num_experts: found 4.5"), ("runs", {"num_experts": None}, "num_experts"),
    ("runs", {"tokens_per_s": 1e308}, "tokens_per_s: found 1"),
    ("runs", {"tokens_per_s": 1e-320}, "tokens_per_s: found"),
    ("runs", {"tokens_per_s": 0}, "tokens_per_s: found 0, expected a number from 1e-09 to 1e+15"),
    ("runs", {"tokens_per_s": -1}, "tokens_per_s: found -1"), ("runs", {"tokens_per_s": "fast"}, "tokens_per_s"),
    ("runs", {"bank_bytes": -1}, "bank_bytes: found -1"), ("runs", {"peak_vram_bytes": 0.5}, "peak_vram_bytes"),
    ("runs", {"vram_limit_bytes": -1}, "vram_limit_bytes"), ("runs", {"vram_target_bytes": []}, "vram_target_"),
    ("runs", {"link_gbps_emulated": 1e300}, "link_gbps_emulated: found"),
    ("runs", {"steps_measured": 100001}, "steps_measured: found 100001, expected a whole number from 0 to 100000"),
    ("replay", {"capacity_percent": -1}, "capacity_percent: found -1"),
    ("replay", {"capacity_percent": 1e300}, "capacity_percent: found"),
    ("replay", {"hit_rate": 1.5}, "hit_rate: found 1.5, expected a number from 0 to 1"),
    ("replay", {"bound_hit_rate": -1e300}, "bound_hit_rate: found"),
    ("replay", {"batch": 2**32}, "batch: found 4294967296"),
], ids=str)
def test_numbers_of_rows_that_are_out_of_range(ufm, name, change, words):
    good = row("ufm", 4) if name == "runs" else replayed("lru")
    (ufm.folder / "results").mkdir()
    text = json.dumps(good) + "\n" + json.dumps(good | change) + "\n"
    (ufm.folder / "results" / f"{name}.jsonl").write_text(text)
    ended = ufm("plot", "results", timeout=10)
    assert ended.returncode == 4 and ended.stderr.count("\n") == 1
    assert ended.stderr.startswith(f"ufm plot: error: results/{name}.jsonl: line 2: {words}")


@gnuplot
def test_a_last_row_that_lacks_only_its_end_of_line_is_drawn(ufm):
    (ufm.folder / "results").mkdir()
    (ufm.folder / "results" / "runs.jsonl").write_text(json.dumps(row("ufm", 4)))
    ended = ufm("plot", "results")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_nothing_but_a_row_cut_short(ufm):
    (ufm.folder / "results").mkdir()
    (ufm.folder / "results" / "runs.jsonl").write_text(json.dumps(row("ufm", 4))[:20])
    ended = ufm("plot", "results")
    assert ended.returncode == 4 and "found no row" in ended.stderr


@gnuplot
@pytest.mark.parametrize("lines, first, count", [
    (["0,1,1,2", "0.05,x,1,2", "0.1,1,1,2"], 3, 1),
    (["0,1,1,2", "", "0.1,nan,1,2", "0.1,-1,1,2"], 3, 3),
    (["0,1", "0.1,1,1,2"], 2, 1),
    (["0,1e999,1,2"], 2, 1),
])
def test_junk_in_telemetry_is_left_out_with_a_warning(ufm, lines, first, count):
    folder = ufm.folder / "results"
    write(folder, [row("ufm", 4)])
    header = "t,gpu_alloc_gb,gpu_reserved_gb,proc_ram_gb"
    (folder / "telemetry_ufm_4.csv").write_text("\n".join([header, *lines, ""]))
    ended = ufm("plot", "results")
    assert ended.returncode == 0
    assert ended.stderr.count("\n") == 1
    assert f"results/telemetry_ufm_4.csv: line {first}: expected" in ended.stderr
    assert f"; {count} line" in ended.stderr
    samples = re.findall(r"(?m)^\d\S+ \S+ \S+$", (folder / "timeline.dat").read_text())
    assert len(samples) == len(lines) - count


@gnuplot
def test_telemetry_without_its_columns(ufm):
    write(ufm.folder / "results", [row("ufm", 4)])
    (ufm.folder / "results" / "telemetry_ufm_4.csv").write_text("t,proc_ram_gb\n0,1\n")
    ended = ufm("plot", "results")
    assert ended.returncode == 0
    assert ended.stderr.count("\n") == 1 and "line 1: expected figures for t, gpu" in ended.stderr


@gnuplot
def test_telemetry_cut_short_is_drawn_as_far_as_it_goes(ufm):
    folder = ufm.folder / "results"
    write(folder, [row("ufm", 4)])
    header = "t,gpu_alloc_gb,gpu_reserved_gb,proc_ram_gb\n"
    (folder / "telemetry_ufm_4.csv").write_text(header + "0.0,1.0,1.0,2.0\n0.05,1.5,1.5,2.5\n0.1,1")
    ended = ufm("plot", "results")
    assert ended.returncode == 0
    assert ended.stderr.count("\n") == 1 and "telemetry_ufm_4.csv: line 4" in ended.stderr
    assert "0.050 1.500000 2.500000" in (folder / "timeline.dat").read_text()


def test_without_gnuplot_the_scripts_are_kept(ufm):
    write(ufm.folder / "results", [row("ufm", 4)])
    ended = ufm("plot", "results", env={"PATH": str(ufm.folder)})
    assert ended.returncode == 3
    assert ended.stderr.count("\n") == 1 and "gnuplot is missing" in ended.stderr
    for name in FIGURES:
        assert (ufm.folder / "results" / f"{name}.gp").stat().st_size > 0


def fake_gnuplot(folder, lines, mode):
    folder.mkdir()
    (folder / "gnuplot").write_text(f"#!/bin/sh\n{lines}\n")
    (folder / "gnuplot").chmod(mode)
    return {"PATH": str(folder)}


def test_a_gnuplot_that_may_not_be_run_is_as_a_missing_one(ufm):
    write(ufm.folder / "results", [row("ufm", 4)])
    path = fake_gnuplot(ufm.folder / "bin", "exit 0", 0o644)
    ended = ufm("plot", "results", env=path)
    assert ended.returncode == 3
    assert ended.stderr.count("\n") == 1 and "gnuplot cannot be run: Permission denied" in ended.stderr
    ended = ufm.bench("--experts", "4", "--modes", "ufm", env=path)
    assert ended.returncode == 0 and "no figures: gnuplot cannot be run" in ended.stderr


def test_a_gnuplot_that_fails_is_no_bad_input(ufm):
    write(ufm.folder / "results", [row("ufm", 4)])
    ended = ufm("plot", "results", env=fake_gnuplot(ufm.folder / "bin", "echo it broke >&2\nexit 1", 0o755))
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1 and "gnuplot failed on it: it broke" in ended.stderr


def test_a_gnuplot_that_cannot_be_waited_for_is_no_bad_input(ufm):
    """Whoever starts ufm with SIGCHLD ignored takes its children's ends from it."""
    write(ufm.folder / "results", [row("ufm", 4)])
    ended = ufm("plot", "results", env=fake_gnuplot(ufm.folder / "bin", "exit 0", 0o755),
                preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1 and "gnuplot cannot be waited for: No child" in ended.stderr


def test_bench_without_gnuplot_keeps_rows_and_succeeds(ufm):
    ended = ufm.bench("--experts", "4", "--modes", "ufm", env={"PATH": str(ufm.folder)})
    assert ended.returncode == 0
    assert ended.stderr.count("\n") == 1 and "gnuplot is missing" in ended.stderr
    assert (ufm.folder / "results" / "latest" / "runs.jsonl").read_text().count("\n") == 1


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
    ended = ufm("plot", "results")
    assert ended.returncode == 4
    assert ended.stderr.count("\n") == 1 and "results/runs.jsonl" in ended.stderr
    assert line is None or f"line {line}" in ended.stderr


def test_a_folder_without_results(ufm):
    assert ufm.bench("--experts", "4", "--modes", "ufm", "--no-figures").returncode == 0
    ended = ufm("plot", "results")
    assert ended.returncode == 4 and ended.stderr.count("\n") == 1
    assert "results/latest is one" in ended.stderr
    ended = ufm("plot", "nowhere")
    assert ended.returncode == 4
    assert ended.stderr.count("\n") == 1 and "nowhere/runs.jsonl" in ended.stderr


@gnuplot
def test_a_figure_that_cannot_be_written(ufm):
    write(ufm.folder / "results", [row("ufm", 4)])
    (ufm.folder / "results" / "memory.dat").symlink_to("/dev/full")
    ended = ufm("plot", "results")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1 and "memory.dat" in ended.stderr
