# SPDX-License-Identifier: MIT
"""ufm doctor: the report and its JSON."""
import json
import os

import pytest


def report(ufm, *arguments, **more):
    ended = ufm("doctor", "-o", "json", *arguments, **more)
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(ended.stdout)


def test_json_has_every_part(ufm):
    found = report(ufm)
    assert list(found) == ["versions", "gpu", "backends", "cpu", "memory", "disk", "programs",
                           "verdict"]
    assert found["cpu"]["usable_cores"] <= len(os.sched_getaffinity(0))
    assert found["cpu"]["kernel_tables"][found["cpu"]["kernels"]] == "yes"
    assert found["memory"]["usable_bytes"] <= found["memory"]["machine_bytes"]
    assert "memlock_limit_bytes" in found["memory"]
    assert found["disk"]["free_bytes"] > 0 and found["disk"]["filesystem"]
    assert any(b["name"] == "cpu" and b["verdict"] == "ok" for b in found["backends"]["tried"])
    assert found["verdict"] and all(isinstance(line, str) for line in found["verdict"])


def test_text_has_the_same_parts(ufm):
    ended = ufm("doctor")
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    for part in ("versions", "gpu", "backends", "cpu", "memory", "disk", "programs", "verdict"):
        assert part in lines
    assert lines[lines.index("verdict") + 1].startswith("  - ")
    assert all(line.startswith(("  - ", "    ")) for line in lines[lines.index("verdict") + 1:])


def test_affinity_limits_the_cores(ufm):
    one = min(os.sched_getaffinity(0))
    found = report(ufm, preexec_fn=lambda: os.sched_setaffinity(0, {one}))
    assert found["cpu"]["usable_cores"] == 1


def test_a_bad_plugin_is_named_with_the_reason(ufm, tmp_path):
    (tmp_path / "libufm_bogus.so").write_bytes(b"this is no shared object")
    found = report(ufm, env={"UFM_BACKEND_PATH": str(tmp_path)})
    tried = [b for b in found["backends"]["tried"] if b["path"] and "libufm_bogus.so" in b["path"]]
    assert tried and tried[0]["verdict"] != "ok"
    assert found["backends"]["auto"] != "bogus"


def test_a_missing_folder_is_judged_by_its_parent(ufm, tmp_path):
    found = report(ufm, "--out", "not/here/yet")
    assert found["disk"]["looked_at"] == os.path.realpath(tmp_path)
    assert found["disk"]["writable"] is True


def test_gnuplot_missing_is_said(ufm, tmp_path):
    found = report(ufm, env={"PATH": str(tmp_path)})
    assert found["programs"]["gnuplot"] is None
    assert any("gnuplot" in line for line in found["verdict"])
