# SPDX-License-Identifier: MIT
"""The package as a stranger gets it: built from the tree, installed into an environment of its own, used elsewhere."""

import os
import re
import subprocess
import sys
import zipfile

import pytest

from conftest import ROOT, UNDER_A_SANITIZER

# What the runner sets for tests of the build tree.
UNWANTED = ("UFM_LIBRARY", "UFM_BACKEND_PATH", "PYTHONPATH")

USE = """
import array, ufm
from ufm.core import *
desc = ExpertDesc.standard(ExpertKind.MLP_BIAS, 16, 8, Dtype.F32)
bank = Bank.synthetic(desc, 1, 4)
engine = Engine(Host(bank, "cpu"), max_tokens=1, top_k_max=1, cpu_assist="off")
x, y = array.array("f", [0.0] * 16), array.array("f", [1.0] * 16)
ids, gates = array.array("i", [2]), array.array("f", [1.0])
at = lambda buffer: buffer.buffer_info()[0]
Layer(engine, 0, 1).forward_raw(1, at(x), at(y), on_device=False, host_ids=at(ids), host_gates=at(gates), wait=True)
import importlib.metadata
print(PATH)
print(importlib.metadata.version("ufm"), ufm.__version__)
print(all(0 < abs(each) < 1 for each in y))
try:
    Host(bank, "absent")
except ufm.UfmError as error:
    print(error)
"""


def run(*command, **options):
    ended = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False, **options)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return ended.stdout


def test_a_wheel_from_the_tree_works_elsewhere(tmp_path):
    """Without the plugin, which takes minutes to compile and changes nothing but what lies beside the library."""
    if UNDER_A_SANITIZER:
        pytest.skip("not under a sanitizer: nothing of that build is used")
    pytest.importorskip("scikit_build_core", reason="not installed: scikit-build-core")
    clean = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    options = ("--no-build-isolation", "-C", "cmake.define.UFM_CUDA=OFF")
    before = run("git", "status", "--porcelain", cwd=ROOT) if (ROOT / ".git").exists() else None
    wheel = run(sys.executable, ROOT / "tools" / "make_wheel", tmp_path, *options, env=clean).strip()
    if before is not None:
        assert run("git", "status", "--porcelain", cwd=ROOT) == before

    assert re.search(r"/ufm-\d+\.\d+\.\d+-py3-none-manylinux_2_\d+_\w+\.whl$", wheel)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        sources = {path.relative_to(ROOT / "python").as_posix() for path in (ROOT / "python" / "ufm").rglob("*.py")}
        assert sources | {"ufm/py.typed", "ufm/lib/libufm.so.2"} <= set(names)
        assert [name for name in names if name.startswith("ufm/lib/")] == ["ufm/lib/libufm.so.2"]
        tags = archive.read(next(name for name in names if name.endswith("/WHEEL"))).decode()
        assert str(ROOT).encode() not in archive.read("ufm/lib/libufm.so.2")
    assert wheel.split("-", 2)[2].removesuffix(".whl") in tags

    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(python, "-m", "pip", "install", "--no-index", "--no-deps", wheel, env=clean)
    told = run(python, "-c", USE, cwd=tmp_path, env=clean).splitlines()
    assert told[0].startswith(str(tmp_path / "venv")) and told[0].endswith("/ufm/lib/libufm.so.2")
    version, said = told[1].split()
    assert version == said and told[2] == "True"
    # Plugins are looked for beside the library, then in the system's folder: not where the wheel was built.
    folder = os.path.dirname(told[0])
    assert told[3] == f"backend absent: libufm_absent.so not found in {folder}, /usr/local/lib"
