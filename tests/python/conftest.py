# SPDX-License-Identifier: MIT
"""Tests of python/ufm over the library of the build folder.

UFM_TEST_BACKEND names the backend (cpu): the same tests run on a machine with another one.
"""

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
os.environ.setdefault("UFM_LIBRARY", str(Path(os.environ.get("UFM_BUILD_DIR", "build"), "libufm.so.2").resolve()))
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "tests" / "python"), str(ROOT / "tests")]
# Defaults of a few of Transformers' configs would ask the network, and wait for it.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A shell has what it starts in the background ignore interrupts, and so would all that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np  # noqa: E402
import pytest  # noqa: E402

from ufm.core import Bank, Dtype, Engine, ExpertDesc, ExpertKind, Host  # noqa: E402

BACKEND = os.environ.get("UFM_TEST_BACKEND", "cpu")
UNDER_A_SANITIZER = "asan" in os.environ.get("LD_PRELOAD", "")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """PyTorch's products here are so small that they are done before a second thread has woken up."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    if torch:
        torch.set_num_threads(1)
    yield
    if torch:
        torch.set_num_threads(before)


@pytest.fixture
def start():
    """Starts a program; it does not outlive the test, however that ends."""
    started = []

    def begin(argv, **options):
        started.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, **options))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def rng():
    """Other inputs in every run; a failure prints the seed."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    return np.random.default_rng(seed)


@pytest.fixture
def make_engine(rng):
    """Opens an engine of a synthetic bank, with small experts; closed at the end, whatever the test did."""
    opened = []

    def make(
        desc=None, *, kind=ExpertKind.GATED, d_model=64, d_hidden=48, dtype=Dtype.F32, layers=1, experts=8, **options
    ):
        desc = desc or ExpertDesc.standard(kind, d_model, d_hidden, dtype)
        bank = Bank.synthetic(desc, layers, experts, int(rng.integers(1 << 32)))
        options = {"max_tokens": 16, "top_k_max": 4, "cpu_assist": "off", **options}
        engine = Engine(Host(bank, BACKEND), **options)
        opened.append(engine)
        return engine

    yield make
    for engine in opened:
        engine.close()


@pytest.fixture
def python():
    """Runs Python code in a process of its own; gives how it ended."""

    def run(code, *, env=None, timeout=60, **more):
        env = {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH") or str(ROOT / "python"), **(env or {})}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env, check=False, **more)

    return run
