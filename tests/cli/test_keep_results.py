# SPDX-License-Identifier: MIT
"""tools/keep_results: what docs/results keeps of a run."""
import os
import subprocess
import sys

import pytest

TOOL = os.path.join(os.environ.get("UFM_SOURCE_DIR", "."), "tools", "keep_results")


def keep(*arguments):
    return subprocess.run([sys.executable, "-B", TOOL, *map(str, arguments)], text=True, capture_output=True, timeout=60)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"

    def write(files):
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder

    return write


def kept(folder):
    return {os.path.relpath(os.path.join(at, name), folder): open(os.path.join(at, name), encoding="utf-8").read()
            for at, _, names in os.walk(folder) for name in names}


def test_rows_commands_and_records_stay(run):
    folder = run({"decode/rows/one-now-1.jsonl": "1\n", "large/off/runs.jsonl": "2\n", "large/off/command.txt": "ufm bench",
                  "large/off/table.md": "x", "large/off/telemetry_ufm.csv": "x", "large/off/machine.json": "late",
                  "machine/machine.json": "first", "machine/version_build.txt": "v", "report.md": "r", "log.txt": "x",
                  "traces/a.npy": "t", "checks/memcheck.txt": "c", "free/0.json": "j", "large/off/summary.json": "x"})
    assert keep(folder).returncode == 0
    assert kept(folder) == {
        "decode-one-now-1.jsonl": "1\n", "large-off.jsonl": "2\n", "commands.txt": "# large-off\nufm bench\n",
        "machine.json": "first", "version_build.txt": "v", "report.md": "r", "traces/a.npy": "t",
        "checks/memcheck.txt": "c", "free-0.json": "j"}


def test_what_a_page_shows_stays_where_it_lies(run):
    folder = run({"runs.jsonl": "1\n", "reference/rows/throughput.png": "p", "reference/rows/memory.png": "x"})
    assert keep(folder, "reference/rows/throughput.png").returncode == 0
    assert kept(folder) == {"runs.jsonl": "1\n", "reference/rows/throughput.png": "p"}


@pytest.mark.parametrize("files, keeps, words", [
    ({"a-b.jsonl": "1", "a/b.jsonl": "2"}, [], "a-b.jsonl: two files"),
    ({"a.jsonl": "1"}, ["b.png"], "b.png: no such file"),
])
def test_nothing_is_lost_where_it_cannot_be_kept(run, files, keeps, words):
    folder = run(files)
    ended = keep(folder, *keeps)
    assert ended.returncode == 1 and words in ended.stderr
    assert kept(folder) == files


def test_wrong_arguments(tmp_path):
    assert keep().returncode == 2 and keep(tmp_path / "none").returncode == 2
