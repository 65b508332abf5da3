# SPDX-License-Identifier: MIT
"""ufm replay: counts against a run of the engine, semantics by hand, formats, figures, refusals."""
import csv
import io
import json
import os
import secrets

import numpy as np
import pytest

CUT = os.path.abspath(os.path.join(os.environ.get("UFM_SOURCE_DIR", "."),
                                   "tests/data/traces/gpt-oss-20b-cut.npy"))
FIELDS = ["trace", "policy", "capacity", "scope", "batch", "uses", "hits", "hit_rate", "bound",
          "bound_hit_rate", "fraction_of_bound", "gap_closed", "per_layer"]


def rows(ufm, *arguments):
    ended = ufm("replay", *arguments, "-o", "json")
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(ended.stdout)


def write(folder, ids, name="ids.npy"):
    np.save(folder / name, np.asarray(ids, dtype=np.uint8))
    return folder / name


@pytest.mark.parametrize("policy", ["lru", "fifo", "freq", "cycle"])
def test_counts_are_those_of_an_engine(ufm, policy):
    """Slots, ring and batch at random: the engine's counters over the measured steps, hit for hit."""
    random = np.random.default_rng(secrets.randbits(32))
    for _ in range(4):
        batch, layers = int(random.integers(1, 9)), int(random.choice([1, 5, 24]))
        width = int(random.choice([16, 32]))  # experts of 12 KiB and below: several a copy
        slots = int(random.integers(6, 32 * layers))
        ring = int(random.integers(2, max(3, slots // 3)))
        warmup, steps = int(random.integers(0, 20)), int(random.integers(1, 40))
        block = 2 * 3 * width * 64
        ended = ufm("bench", "--backend", "cpu", "--workload", f"trace:{CUT}", "--modes", "ufm",
                    "--phase", "decode", "--batch", batch, "--layers", layers, "--experts", 32,
                    "--d-model", width, "--d-hidden", 64, "--kind", "gated", "--dtype", "bf16",
                    "--policy", policy, "--ring", ring, "--warmup", warmup, "--steps", steps,
                    "--vram-target", block * slots + (2 << 20), "--headroom", 0, "--probe", "off",
                    "--cpu-assist", "off", "--threads", 1, "--no-out", "-o", "json")
        assert ended.returncode == 0, ended.stderr
        run = json.loads(ended.stdout)[0]
        if run["slots"] == 32 * layers:
            continue  # the whole bank fits: it is loaded before the first step
        cut = ufm.folder / "cut.npy"
        np.save(cut, np.load(CUT)[:, :layers])
        row, = rows(ufm, cut, "--scope", "pool", "--capacity", run["slots"], "--policy", policy,
                    "--ring", run["ring_slots"], "--together", max(1, run["ring_slots"] // 4),
                    "--experts", 32, "--batch", batch, "--warmup", warmup, "--steps", steps)
        assert (row["uses"], row["hits"]) == (run["uses"], run["resident_uses"])


ENGINE = ("--scope", "pool", "--capacity", "120", "--ring", "4")


def test_admission_is_that_of_an_engine_with_the_cpu_path_on(ufm):
    plain, = rows(ufm, CUT, *ENGINE, "--policy", "cycle")
    assert plain["admission"] is None
    # a link that keeps up with everything: the bar stays at 1
    fast, = rows(ufm, CUT, *ENGINE, "--policy", "cycle", "--admission", "0.001,0.001,1000000")
    assert fast["admission"] == {"copy_us": 0.001, "cpu_us": 0.001, "call_us": 1000000}
    # a link that carries next to nothing: little is admitted, and fewer hit
    slow, = rows(ufm, CUT, *ENGINE, "--policy", "cycle", "--admission", "10000,1,1")
    assert slow["admission"] == {"copy_us": 10000, "cpu_us": 1, "call_us": 1}
    assert plain["uses"] == fast["uses"] == slow["uses"]
    assert slow["hits"] < fast["hits"]
    assert slow["bound_hit_rate"] == fast["bound_hit_rate"] == plain["bound_hit_rate"]


def test_bounds_and_caches_that_hold_all_admit_nothing_choosily(ufm):
    for row in rows(ufm, CUT, *ENGINE, "--policy", "min,min-bypass", "--admission", "200,90,50"):
        assert row["admission"] is None and row["ring"] == 0
    held, = rows(ufm, CUT, "--scope", "pool", "--capacity", "100%", "--ring", "4", "--policy", "lru",
                 "--admission", "10000,1,1")
    plain, = rows(ufm, CUT, "--scope", "pool", "--capacity", "100%", "--policy", "lru")
    assert held["hits"] == plain["hits"]


def test_columns_of_csv_do_not_depend_on_the_policy(ufm):
    for more in ((), ("--admission", "200,90,50")):
        ended = ufm("replay", CUT, *ENGINE, "--policy", "min,cycle", *more, "-o", "csv")
        lines = list(csv.reader(io.StringIO(ended.stdout)))
        assert len(lines) == 3 and len({len(line) for line in lines}) == 1


def test_limit_is_what_min_bypass_reads(ufm):
    """What a step reads at best: the bench's row says what replay says of the same tokens."""
    random = np.random.default_rng(secrets.randbits(32))
    for phase in ("decode", "decode", "steps"):
        batch = int(random.integers(2, 9)) if phase == "decode" else 1
        layers = int(random.choice([1, 5, 24]))
        slots = int(random.integers(8, 31 * layers))
        warmup, steps = int(random.integers(0, 20)), int(random.integers(1, 40))
        ended = ufm("bench", "--backend", "cpu", "--workload", f"trace:{CUT}", "--modes",
                    "naive_offload,ufm", "--phase", phase, "--batch", batch, "--seq", 1,
                    "--layers", layers, "--experts", 32, "--d-model", 32, "--d-hidden", 64,
                    "--kind", "gated", "--dtype", "bf16", "--warmup", warmup, "--steps", steps,
                    "--vram-target", 3 * 32 * 64 * 2 * slots + (2 << 20), "--headroom", 0,
                    "--probe", "off", "--threads", 1, "--no-out", "-o", "json")
        assert ended.returncode == 0, ended.stderr
        naive, run = json.loads(ended.stdout)
        assert naive["limit_reads"] is None  # no slots
        assert run["limit_ms"] is run["fraction_of_limit"] is None  # not probed
        cut = ufm.folder / "limit.npy"
        np.save(cut, np.load(CUT)[:, :layers])
        row, = rows(ufm, cut, "--scope", "pool", "--capacity", run["slots"], "--policy",
                    "min-bypass", "--experts", 32, "--batch", batch, "--warmup", warmup,
                    "--steps", steps, "--expert-bytes", 1000, "--read-gbps", 0.5)
        assert row["steps_counted"] == steps
        if run["slots"] == 32 * layers and warmup:
            assert run["limit_reads"] == 0  # loaded before the first step
            continue
        assert run["limit_reads"] == pytest.approx((row["uses"] - row["hits"]) / steps)
        assert row["limit_reads"] == pytest.approx(run["limit_reads"])
        assert row["limit_bytes"] == pytest.approx(1000 * run["limit_reads"])
        assert row["limit_ms"] == pytest.approx(row["limit_bytes"] / 0.5e6)


def test_limit_by_hand(ufm, tmp_path):
    """a b a c a b: two slots let c pass by and read three; one slot, after two steps, reads two more."""
    ids = write(tmp_path, [[[i]] for i in (0, 1, 0, 2, 0, 1)])
    row, = rows(ufm, ids, "--capacity", 2, "--policy", "lru")
    assert (row["limit_reads"], row["steps_counted"]) == (3 / 6, 6)
    assert row["limit_bytes"] is row["limit_ms"] is None
    row, = rows(ufm, ids, "--capacity", 1, "--policy", "lru", "--warmup", 2)
    assert (row["limit_reads"], row["steps_counted"]) == (2 / 4, 4)
    ended = ufm("replay", ids, "--capacity", 2, "--read-gbps", 5, "--expert-bytes", "1MiB")
    assert "limit ms" in ended.stdout and "reads/step" in ended.stdout
    ended = ufm("replay", ids, "--read-gbps", 5)
    assert ended.returncode == 2
    assert "--read-gbps: found 5 without the size of an expert" in ended.stderr


def test_published_hit_rates_of_the_whole_trace_keep_their_order(ufm):
    found = {r["policy"]: r for r in rows(ufm, CUT, "--capacity", 8, "--policy",
                                          "lru,fifo,freq,cycle,min,min-bypass")}
    hits = [found[p]["hits"] for p in ("fifo", "lru", "freq", "cycle", "min", "min-bypass")]
    assert hits == sorted(hits)
    assert found["min"]["fraction_of_bound"] == found["min-bypass"]["fraction_of_bound"] == 1
    assert found["lru"]["gap_closed"] == 0
    assert found["cycle"]["gap_to_min_closed"] > found["freq"]["gap_to_min_closed"] > 0


def test_fields_and_layers_add_up(ufm):
    for row in rows(ufm, CUT, "--capacity", "25%,16", "--scope", "layer,pool", "--batch", "1,3"):
        assert set(FIELDS) <= set(row)
        assert row["uses"] == sum(l["uses"] for l in row["per_layer"])
        assert row["hits"] == sum(l["hits"] for l in row["per_layer"])
        assert row["hit_rate"] == pytest.approx(row["hits"] / row["uses"])
        assert row["fraction_of_bound"] == pytest.approx(row["hit_rate"] / row["bound_hit_rate"])
        assert row["bound"] == ("min" if row["policy"] == "lru" else "min-bypass")
        gap = row["bound_hit_rate"] - row["lru_hit_rate"]
        assert row["gap_closed"] == pytest.approx((row["hit_rate"] - row["lru_hit_rate"]) / gap)


def test_no_gap_is_null(ufm, tmp_path):
    row, = rows(ufm, write(tmp_path, [[[0]], [[1]], [[0]]]), "--policy", "lru", "--capacity", 2)
    assert (row["hits"], row["gap_closed"], row["fraction_of_bound"]) == (1, None, 1)
    row, = rows(ufm, write(tmp_path, [[[0]]]), "--policy", "lru", "--capacity", 1)
    assert (row["hits"], row["fraction_of_bound"]) == (0, None)


@pytest.mark.parametrize("capacity, scope, slots", [
    ("25%", "layer", 8), ("25%", "pool", 192), ("0.1%", "layer", 1), ("100%", "pool", 768),
    ("5000", "layer", 32), ("48MiB", "pool", 48), ("48MiB", "layer", 2), ("7", "pool", 7)])
def test_capacities(ufm, capacity, scope, slots):
    row = rows(ufm, CUT, "--capacity", capacity, "--scope", scope, "--expert-bytes", "1MiB",
               "--policy", "lru")[0]
    assert row["capacity"] == slots


def test_a_preset_says_what_an_expert_takes(ufm):
    row = rows(ufm, CUT, "--preset", "gpt-oss-20b", "--capacity", "12GiB", "--scope", "pool")[0]
    assert row["capacity"] == (12 << 30) // (2 * 3 * 2880 * 2880)


def test_jsonl_is_read_like_npy(ufm, tmp_path):
    ids = np.load(CUT)[:50, :3]
    with open(tmp_path / "t.jsonl", "w", encoding="utf-8") as out:
        for token, layers in enumerate(ids):
            for layer, experts in enumerate(layers):
                out.write(json.dumps({"token": token, "layer": layer, "experts": experts.tolist()}) + "\n")
    np.save(tmp_path / "t.npy", ids)
    one, other = (rows(ufm, tmp_path / name, "--experts", 32) for name in ("t.jsonl", "t.npy"))
    for a, b in zip(one, other, strict=True):
        assert [a[f] for f in ("uses", "hits", "per_layer")] == [b[f] for f in ("uses", "hits", "per_layer")]


def test_a_synthetic_router_is_a_trace(ufm):
    one, again, other = (rows(ufm, "sticky:olmoe-1b-7b", "--capacity", 32, "--policy", "lru", "--seed", seed)[0]
                         for seed in (1, 1, 2))
    assert one["hits"] == again["hits"] != other["hits"]
    assert one["experts"] == 64
    ended = ufm("replay", "sticky:nothing")
    assert ended.returncode == 2 and "sticky:nothing" in ended.stderr and "olmoe-1b-7b" in ended.stderr


def test_sequences_parts_and_cold_state(ufm, tmp_path):
    ids = write(tmp_path, [[[0]]] * 6)
    (tmp_path / "s.csv").write_text("start,n_tokens\n0,2\n2,2\n4,2\n")
    with_sequences = [ids, "--sequences", tmp_path / "s.csv", "--policy", "lru", "--capacity", 1]
    assert rows(ufm, *with_sequences)[0]["hits"] == 5
    assert rows(ufm, *with_sequences, "--cold")[0]["hits"] == 3
    assert [rows(ufm, *with_sequences, "--part", p)[0]["uses"] for p in ("even", "odd")] == [4, 2]


def test_costs_are_weighed_and_kept_by_the_policy_cost(ufm, tmp_path):
    costs = np.ones((24, 32), np.float32)
    costs[:, ::2] = 20
    np.save(tmp_path / "costs.npy", costs)
    found = {r["policy"]: r for r in rows(ufm, CUT, "--experts", 32, "--capacity", 12, "--policy",
                                          "lru,lfu,cost", "--cost", tmp_path / "costs.npy")}
    assert found["cost"]["cost_saved"] > found["lru"]["cost_saved"] > 0
    assert found["cost"]["hits"] < found["lfu"]["hits"]
    np.save(tmp_path / "costs.npy", np.full((24, 32), 3.0))
    same = rows(ufm, CUT, "--experts", 32, "--capacity", 12, "--policy", "cost", "--cost",
                tmp_path / "costs.npy")[0]
    assert same["cost_saved"] == pytest.approx(same["hit_rate"])
    assert same["hits"] == found["lfu"]["hits"]


@pytest.mark.parametrize("costs, words", [
    (np.ones((24, 31)), "[24, 32]"), (np.ones(768), "[24, 32]"), (np.ones((24, 32), np.int32), "float32"),
    (np.full((24, 32), np.nan), "layer 0, expert 0"), (np.zeros((24, 32)), "above 0"),
    (np.full((24, 32), np.inf), "above 0")])
def test_bad_costs_are_bad_data(ufm, tmp_path, costs, words):
    np.save(tmp_path / "costs.npy", costs)
    ended = ufm("replay", CUT, "--experts", 32, "--cost", "costs.npy")
    assert ended.returncode == 4 and "costs.npy" in ended.stderr and words in ended.stderr


def test_a_bad_cost_is_of_a_layer_as_the_trace_names_it(ufm, tmp_path):
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"layer": n, "token": 0, "experts": [0, 1]}) + "\n"
                                              for n in (4, 9)))
    np.save(tmp_path / "costs.npy", np.array([[1, 1], [1, -1]], "f4"))
    ended = ufm("replay", "t.jsonl", "--cost", "costs.npy")
    assert ended.returncode == 4 and "costs.npy: found -1 for layer 9, expert 1" in ended.stderr


def test_several_traces_have_rows_each(ufm, tmp_path):
    a, b = write(tmp_path, [[[0]]], "a.npy"), write(tmp_path, [[[1]], [[1]]], "b.npy")
    found = rows(ufm, a, b, "--policy", "lru", "--capacity", 1)
    assert [(r["trace"], r["uses"]) for r in found] == [(str(a), 1), (str(b), 2)]


def test_formats_say_the_same(ufm):
    arguments = ("replay", CUT, "--capacity", "8,16", "--policy", "lru,default")
    array = json.loads(ufm(*arguments, "-o", "json").stdout)
    lines = [json.loads(line) for line in ufm(*arguments, "-o", "jsonl").stdout.splitlines()]
    table = list(csv.DictReader(io.StringIO(ufm(*arguments, "-o", "csv").stdout)))
    words = ufm(*arguments).stdout
    assert len(array) == len(lines) == len(table) == 4
    for a, l, t in zip(array, lines, table, strict=True):
        assert a["hits"] == l["hits"] == int(t["hits"])
        assert f"{a['hit_rate']:.4f}" in words
    assert "per_layer" not in table[0]


def test_layers_are_called_as_the_file_calls_them(ufm):
    (ufm.folder / "t.jsonl").write_text("".join(
        json.dumps({"token": token, "layer": layer, "experts": [layer]}) + "\n" for token in (0, 1) for layer in (7, 3)))
    found, = rows(ufm, "t.jsonl", "--capacity", 1, "--policy", "lru")
    assert [layer["layer"] for layer in found["per_layer"]] == [3, 7]
    shown = ufm("replay", "t.jsonl", "--capacity", 1, "--policy", "lru", "--by-layer").stdout
    table = [line.split("|") for line in shown.splitlines() if line.startswith("|")][3:]
    at = [cell.strip() for cell in table[0]].index("layer")
    assert [line[at].strip() for line in table[2:]] == ["3", "7"]


def test_by_layer_lists_every_layer(ufm):
    shown = ufm("replay", CUT, "--capacity", 8, "--policy", "lru", "--by-layer", "--wide").stdout
    assert sum(line.startswith("| gpt-oss-20b-cut.npy") for line in shown.splitlines()) == 25


def test_guesses(ufm):
    found = rows(ufm, CUT, "--predict", "popularity,coactivation", "--guesses", "1,4,16", "--capacity",
                 "50%", "--policy", "default")
    assert [(r["predictor"], r["guesses"]) for r in found] == [
        (p, g) for p in ("popularity", "coactivation") for g in (1, 4, 16)]
    for first, more in zip(found, found[1:]):
        if first["predictor"] == more["predictor"]:
            assert first["recall"] < more["recall"]
            assert first["recall_of_misses"] <= more["recall_of_misses"]
    hits = rows(ufm, CUT, "--capacity", "50%", "--policy", "default")[0]
    assert found[0]["misses"] == hits["uses"] - hits["hits"]


def test_rows_and_figure_in_a_folder(ufm, tmp_path):
    ended = ufm("replay", CUT, "--capacity", "8,16,24", "--scope", "layer,pool", "--out", "curves")
    assert ended.returncode == 0, ended.stderr
    written = [json.loads(l) for l in (tmp_path / "curves/replay.jsonl").read_text().splitlines()]
    assert len(written) == 12
    for name in ("hit_rate.png", "hit_rate.svg", "hit_rate.gp", "hit_rate.dat"):
        assert (tmp_path / "curves" / name).stat().st_size > 0
    (tmp_path / "curves/hit_rate.png").unlink()
    ended = ufm("plot", "curves")
    assert (ended.returncode, ended.stdout) == (0, "curves/hit_rate.png\ncurves/hit_rate.svg\n")
    assert (tmp_path / "curves/hit_rate.png").exists()
    (tmp_path / "curves/replay.jsonl").write_text('{"trace": "x"}\n')
    ended = ufm("plot", "curves")
    assert ended.returncode == 4 and "replay.jsonl: line 1" in ended.stderr


@pytest.mark.parametrize("arguments, words", [
    ([], "found no TRACE"),
    ([CUT, "--capacity", "0"], "--capacity: found '0'"),
    ([CUT, "--capacity", "101%"], "--capacity"),
    ([CUT, "--capacity", "8,"], "--capacity"),
    ([CUT, "--capacity", "-3"], "--capacity"),
    ([CUT, "--capacity", "8GiB"], "--expert-bytes"),
    ([CUT, "--capacity", "1KiB", "--expert-bytes", "1MiB"], "less than an expert"),
    ([CUT, "--policy", "best"], "--policy: found 'best'"),
    ([CUT, "--policy", "lru,"], "--policy"),
    ([CUT, "--scope", "all"], "--scope"),
    ([CUT, "--batch", "0"], "--batch"),
    ([CUT, "--batch", "2", "--cold"], "--cold"),
    ([CUT, "--ring", "1"], "--ring"),
    ([CUT, "--ring", "9", "--capacity", "8"], "ring: 9"),
    ([CUT, "--predict", "luck"], "--predict"),
    ([CUT, "--admission", "200,90,50"], "--admission: found 200,90,50 without --ring"),
    ([CUT, "--ring", "4", "--admission", "200"], "--admission: found '200', expected COPY,CPU,CALL"),
    ([CUT, "--ring", "4", "--admission", "200,90"], "--admission: found '200,90'"),
    ([CUT, "--ring", "4", "--admission", "200,90,50,"], "--admission: found '200,90,50,'"),
    ([CUT, "--ring", "4", "--admission", "200,90,50,1"], "--admission: found '200,90,50,1'"),
    ([CUT, "--ring", "4", "--admission", "200,0,50"], "--admission: found '200,0,50'"),
    ([CUT, "--ring", "4", "--admission", "200,,50"], "--admission: found '200,,50'"),
    ([CUT, "--ring", "4", "--admission", "200,-1,50"], "--admission: found '200,-1,50'"),
    ([CUT, "--ring", "4", "--admission", "1000001,1,50"], "--admission: found '1000001,1,50'"),
    ([CUT, "--ring", "4", "--admission", "200us,1,50"], "--admission: found '200us,1,50'"),
    ([CUT, "--guesses", "65", "--predict", "popularity"], "--guesses"),
    ([CUT, "--part", "odd"], "the trace has only 1 sequences"),
])
def test_wrong_options_are_usage_errors(ufm, arguments, words):
    ended = ufm("replay", *arguments)
    assert ended.returncode == 2 and words in ended.stderr, ended.stderr
    assert ended.stdout == "" and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("ids, words", [
    (np.zeros((2, 3), np.uint8), "2 dimensions"),
    (np.zeros((0, 1, 1), np.uint8), "at least one"),
    (np.zeros((2, 1, 2), np.uint8), "twice"),
    (np.full((1, 1, 1), -1, np.int32), "-1"),
    (np.zeros((1, 1, 1), np.float32), "type"),
])
def test_bad_traces_are_bad_data(ufm, tmp_path, ids, words):
    np.save(tmp_path / "bad.npy", ids)
    ended = ufm("replay", "bad.npy")
    assert ended.returncode == 4 and "bad.npy" in ended.stderr and words in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_ids_beyond_experts_are_named(ufm):
    ended = ufm("replay", CUT, "--experts", 16)
    assert ended.returncode == 4 and "gpt-oss-20b-cut.npy" in ended.stderr


def test_truncated_and_missing_files(ufm, tmp_path):
    (tmp_path / "cut.npy").write_bytes(open(CUT, "rb").read()[:1000])
    for name in ("cut.npy", "missing.npy", "no.suffix"):
        ended = ufm("replay", name)
        assert ended.returncode == 4 and name in ended.stderr, (name, ended.stderr)


def test_a_folder_that_cannot_be_written(ufm, tmp_path):
    (tmp_path / "file").write_text("")
    ended = ufm("replay", CUT, "--out", "file")
    assert ended.returncode == 1 and "--out" in ended.stderr and "| lru" in ended.stdout
