# SPDX-License-Identifier: MIT
"""--cpu-assist and --cpu-share: what they ask for is done, echoed and counted."""
import csv
import io
import json

import pytest

CASE = ("--experts", "48", "--modes", "ufm", "--steps", "3", "--warmup", "2", "--top-k", "4")


def row(ufm, *arguments):
    rows = ufm.rows(*CASE, *arguments)
    assert len(rows) == 1 and rows[0]["status"] == "ok"
    assert rows[0]["uses"] == sum(rows[0][path] for path in
                                  ("resident_uses", "streamed_uses", "cpu_uses"))
    return rows[0]


def test_off(ufm):
    for arguments in (("--cpu-assist", "off"), ("--cpu-share", "0"),
                      ("--cpu-assist", "2", "--cpu-share", "0"),
                      ("--cpu-assist", "off", "--cpu-share", "0")):
        off = row(ufm, *arguments)
        assert (off["cpu_assist"], off["cpu_threads"], off["cpu_share_percent"]) == ("off", 0, None)
        assert off["cpu_uses"] == off["cpu_rows"] == off["cpu_weight_bytes"] == off["cpu_ms"] == 0
        assert off["late_uses"] == off["admitted_loads"] == off["cpu_choice_changes"] == 0
        assert off["cpu_choices"] == [] and off["admission"] is None
        assert off["deterministic"] is True


def test_auto_says_why_it_is_off(ufm):
    auto = row(ufm)
    assert auto["cpu_assist"] == "off: the device is this CPU"
    assert auto["cpu_threads"] == auto["cpu_uses"] == 0
    resident = ufm.rows("--experts", "8", "--modes", "ufm", "--link-gbps", "1")[0]
    assert resident["cpu_assist"] == "off: every expert has a slot"


@pytest.mark.parametrize("share", [1, 30, 50, 100])
def test_a_share_is_kept(ufm, share):
    """One layer whose every expert is used each step: the misses of a step are the same number."""
    arguments = ("--top-k", "16", "--experts", "16", "--vram-target", "24MiB", "--cpu-assist", "2")
    shared = row(ufm, *arguments, "--cpu-share", str(share))
    misses = shared["streamed_uses"] + shared["cpu_uses"]
    assert misses % 3 == 0
    assert shared["cpu_uses"] == misses // 3 * share // 100 * 3
    assert shared["cpu_weight_bytes"] == shared["cpu_uses"] * shared["expert_bytes"]
    assert shared["cpu_rows"] == shared["cpu_uses"] * 32  # every token chose every expert
    assert shared["fp32_rows"] == 3 * 32 * 16 - shared["cpu_rows"]
    assert (shared["cpu_ms"] > 0) == (shared["cpu_uses"] > 0)
    assert shared["cpu_assist"] == "on" and shared["cpu_threads"] == 2
    assert shared["cpu_share_percent"] == share and shared["deterministic"] is True
    assert shared["output_hash"] == row(ufm, *arguments[:-2])["output_hash"]


def test_a_number_of_threads_turns_it_on(ufm):
    plain, on = row(ufm, "--cpu-assist", "off"), row(ufm, "--cpu-assist", "3")
    assert on["cpu_assist"] == "on" and on["cpu_threads"] == 3 and on["cpu_share_percent"] is None
    assert on["deterministic"] is True  # the device's kernels are the same
    assert on["output_hash"] == plain["output_hash"]


def test_other_modes_have_no_misses(ufm):
    rows = ufm.rows("--experts", "8", "--modes", "baseline,naive_offload", "--cpu-assist", "2")
    assert [(r["cpu_assist"], r["cpu_threads"], r["cpu_uses"]) for r in rows] == [("off", 0, 0)] * 2


@pytest.mark.parametrize("arguments, expected", [
    (("--cpu-assist", "0"), "--cpu-assist: found '0', expected auto, off, or 1 to"),
    (("--cpu-assist", "yes"), "--cpu-assist: found 'yes'"),
    (("--cpu-assist", "2x"), "--cpu-assist: found '2x'"),
    (("--cpu-assist", "-1"), "--cpu-assist: found '-1'"),
    (("--cpu-assist", "99999999999"), "--cpu-assist: found '99999999999'"),
    (("--cpu-share", "101"), "--cpu-share: found '101', expected auto, or 0 to 100"),
    (("--cpu-share", "50%"), "--cpu-share: found '50%'"),
    (("--cpu-assist", "off", "--cpu-share", "10"), "--cpu-share: found 10, expected auto or 0"),
])
def test_wrong_values(ufm, arguments, expected):
    ended = ufm.bench("--no-out", *arguments)
    assert ended.returncode == 2
    assert expected in ended.stderr and ended.stderr.count("\n") <= 2


def test_options_are_echoed(ufm):
    ended = ufm.bench(*CASE, "--out", "out", "--no-figures", "--cpu-assist", "1", "--cpu-share", "25")
    assert ended.returncode == 0, ended.stderr
    with open(ufm.folder / "out" / "summary.json", encoding="utf-8") as file:
        config = json.load(file)["config"]
    assert config["cpu-assist"] == {"value": "1", "origin": "command line"}
    assert config["cpu-share"] == {"value": "25", "origin": "command line"}


def test_the_floor_counts_a_path_that_is_on_and_took_nothing(ufm):
    case = ("--link-gbps", "0.05", "--workload", "uniform", "--vram-limit", "off")
    on = row(ufm, *case, "--cpu-assist", "1", "--cpu-share", "1")
    assert on["cpu_threads"] == 1 and on["cpu_uses"] == 0 and on["streamed_uses"] > 0
    by_link_ms = on["floor_misses"] * on["expert_bytes"] / on["probe_link_gbps"] / 1e6
    assert 0 < on["floor_miss_ms"] < by_link_ms / 2


# Decode over a link so slow that one miss takes half a millisecond, longer than all else.
SLOW = ("--backend", "cpu", "--modes", "ufm", "--layers", "6", "--d-model", "64", "--d-hidden", "64",
        "--kind", "gated", "--dtype", "bf16", "--top-k", "4", "--workload", "sticky:0.45,0.8,0.06",
        "--phase", "decode", "--batch", "1", "--vram-target", "3MiB", "--headroom", "0",
        "--link-gbps", "0.05", "--probe", "off", "--no-out", "--warmup", "4", "--steps", "200")


def run_slow(ufm, *arguments):
    ended = ufm("bench", *SLOW, "-o", "json", *arguments)
    assert ended.returncode == 0, ended.stderr
    rows = json.loads(ended.stdout)
    for slow in rows:
        loads = slow["streamed_uses"] + slow["prefetch_loads"] + slow["admitted_loads"]
        assert slow["h2d_weight_bytes"] == loads * slow["expert_bytes"]
        assert slow["uses"] == slow["resident_uses"] + slow["streamed_uses"] + slow["cpu_uses"]
        assert slow["late_uses"] <= slow["streamed_uses"] + slow["cpu_uses"]
    return rows


def run_auto(ufm, *arguments):
    """Where others hold the cores while the engine opens, auto may rightly stay off."""
    for _ in range(5):
        auto, = run_slow(ufm, "--experts", "64", *arguments)
        if auto["cpu_threads"]:
            break
    assert auto["cpu_threads"] > 0, auto["cpu_assist"]
    return auto


def test_what_the_cpu_computes_is_admitted_and_copied_later(ufm):
    on, = run_slow(ufm, "--experts", "64", "--cpu-assist", "1", "--cpu-share", "100")
    assert on["cpu_assist"] == "on" and on["cpu_uses"] > 0 and on["streamed_uses"] == 0
    assert on["admitted_loads"] > 0
    assert on["cpu_choices"] == [] and on["cpu_choice_changes"] == 0  # nothing is chosen
    admission = on["admission"]
    assert list(admission) == ["copy_us", "cpu_us", "call_us", "changes"]
    assert all(admission[term] > 0 for term in ("copy_us", "cpu_us", "call_us"))
    assert isinstance(admission["changes"], int) and admission["changes"] >= 1


def test_auto_tells_what_it_looked_at(ufm):
    auto = run_auto(ufm, "--timeline", "t.json")
    assert auto["cpu_assist"].startswith("on: 1 tokens with")
    choice, = auto["cpu_choices"]
    assert list(choice) == ["tokens_from", "takes_cpu", "link_looks", "cpu_looks", "link_miss_us",
                            "cpu_miss_us"]
    assert choice["tokens_from"] == 1 and isinstance(choice["takes_cpu"], bool)
    assert choice["cpu_looks"] >= 1 and choice["cpu_miss_us"] >= 0  # 0: on a busy machine
    if choice["link_looks"]:
        assert choice["link_miss_us"] >= 0
    else:  # the CPU took less than copies alone must
        assert choice["takes_cpu"] and choice["link_miss_us"] is None
        assert "at least" in auto["cpu_assist"]
    # off at first, and each change turns it
    assert choice["takes_cpu"] == (auto["cpu_choice_changes"] % 2 == 1)
    assert ("with it" if choice["takes_cpu"] else "without,") in auto["cpu_assist"]
    with open(ufm.folder / "t.json", encoding="utf-8") as file:
        spans = [e for e in json.load(file)["traceEvents"] if e["name"] == "choice of paths"]
    assert [(e["dur"], e["args"]) for e in spans] == [(0, {"tokens": 1})] * auto["cpu_choice_changes"]


def test_auto_of_too_few_steps_has_chosen_nothing(ufm):
    auto = run_auto(ufm, "--steps", "1")
    assert auto["cpu_assist"] == "on: nothing is chosen yet"
    assert auto["cpu_choices"] == []


def test_columns_of_csv_are_those_of_every_row(ufm):
    """Of two rows one has an admission; naive_offload has none."""
    ended = ufm("bench", *SLOW, "-o", "csv", "--experts", "64", "--modes", "naive_offload,ufm",
                "--cpu-assist", "1")
    assert ended.returncode == 0, ended.stderr
    lines = list(csv.reader(io.StringIO(ended.stdout)))
    assert len(lines) == 3 and len({len(line) for line in lines}) == 1
    table = list(csv.DictReader(io.StringIO(ended.stdout)))
    assert [row["mode"] for row in table] == ["naive_offload", "ufm"]
    assert "admission" not in table[0]
    assert table[0]["late_uses"] == "0" and int(table[1]["cpu_threads"]) == 1
