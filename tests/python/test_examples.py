# SPDX-License-Identifier: MIT
"""The examples run as they stand, and the notebook's stored outputs are of its cells."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="not installed: torch")
pytest.importorskip("transformers", reason="not installed: transformers")

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "python"
NOTEBOOK = EXAMPLES / "generate.ipynb"


def run(*argv):
    env = os.environ | {"PYTHONPATH": str(ROOT / "python"), "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *map(str, argv)], capture_output=True, text=True, env=env, timeout=120)


def code_cells(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_the_script(tmp_path):
    ended = run(EXAMPLES / "generate.py", tmp_path / "made")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("the old river ")
    assert "tokens through 4 routed layers" in ended.stdout
    assert "routing.npy: 42 tokens through 4 layers" in ended.stdout
    size = sum(path.stat().st_size for path in (tmp_path / "made").iterdir())
    assert size < 16 << 20


def test_the_notebook(tmp_path):
    ended = run(ROOT / "tools" / "run_notebook", NOTEBOOK, tmp_path / "out.ipynb")
    assert ended.returncode == 0, ended.stderr
    stored, found = code_cells(NOTEBOOK), code_cells(tmp_path / "out.ipynb")
    assert [cell["source"] for cell in stored] == [cell["source"] for cell in found]
    kinds = [[[one["output_type"], sorted(one.get("data", ()))] for one in cell["outputs"]] for cell in found]
    assert kinds == [[[one["output_type"], sorted(one.get("data", ()))] for one in cell["outputs"]] for cell in stored]
    assert any("text/html" in one.get("data", ()) for cell in stored for one in cell["outputs"])
    assert [cell["execution_count"] for cell in stored] == list(range(1, len(stored) + 1))


def test_a_cell_that_fails_leaves_the_notebook_as_it_was(tmp_path):
    notebook = {"cells": [{"cell_type": "code", "source": ["1 + 1\n", "nonsense"], "outputs": []}]}
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    ended = run(ROOT / "tools" / "run_notebook", path)
    assert ended.returncode == 1 and "NameError" in ended.stderr
    assert json.loads(path.read_text(encoding="utf-8")) == notebook
