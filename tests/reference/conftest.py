# SPDX-License-Identifier: MIT
"""Runs `ufm forward` for comparison with other people's arithmetic.

UFM_TEST_BACKEND names the backend (cpu): the same tests run on a machine with another one.
"""
import json
import os
import re
import secrets
import subprocess
import sys

import numpy as np
import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

BUILD = os.environ.get("UFM_BUILD_DIR", "build")
BACKEND = os.environ.get("UFM_TEST_BACKEND", "cpu")


class Forward:
    """`ufm forward` on one layer of a checkpoint; inputs and outputs lie in a folder."""

    def __init__(self, folder, weights, number):
        self.folder = folder
        self.common = [os.path.abspath(os.path.join(BUILD, "ufm")), "forward", "--weights", weights,
                       "--layer", number, "--output", folder / "y.npy", "--backend", BACKEND, "-o",
                       "json"]

    def run(self, x, *options, routing=None):
        np.save(self.folder / "x.npy", x)
        command = [*self.common, "--input", self.folder / "x.npy", *options]
        if routing:
            np.save(self.folder / "ids.npy", routing[0].astype(np.int64))
            np.save(self.folder / "gates.npy", routing[1].astype(np.float32))
            command += ["--ids", self.folder / "ids.npy", "--gates", self.folder / "gates.npy"]
        ended = subprocess.run(list(map(str, command)), text=True, capture_output=True, timeout=120,
                               stdin=subprocess.DEVNULL)
        skip_unread(ended)
        return ended

    def __call__(self, x, *options, routing=None):
        """(y, report) of a run that must succeed."""
        (self.folder / "y.npy").unlink(missing_ok=True)
        ended = self.run(x, *options, routing=routing)
        assert (ended.returncode, ended.stderr) == (0, "")
        report = json.loads(ended.stdout)
        check_report(report, x, options)
        y = np.load(self.folder / "y.npy")
        assert y.shape == x.shape and y.dtype == np.float32
        return y, report

    def least_target(self, x, *options, routing=None):
        """The smallest --vram-target, as the refusal of a smaller one says."""
        ended = self.run(x, *options, "--vram-target", 1, routing=routing)
        assert ended.returncode == 2
        return int(re.search(r"vram-target must be at least .* \((\d+) bytes\)", ended.stderr)[1])


def skip_unread(ended):
    """Formats that another backend than cpu refuses are not tested on it."""
    found = re.search(r"experts in (\S+): the (\w+) backend reads ", ended.stderr)
    if found and found[2] != "cpu":
        pytest.skip(f"the {found[2]} backend does not read {found[1]}")


def check_report(report, x, options):
    """What holds for every run."""
    assert report["status"] == "ok" and report["tokens"] == len(x)
    assert report["backend"] == BACKEND
    assert report["uses"] == report["resident_uses"] + report["streamed_uses"] + report["cpu_uses"]
    assert report["h2d_weight_bytes"] == report["streamed_uses"] * report["expert_bytes"]
    if "--vram-target" in options:
        assert report["peak_vram_bytes"] <= options[options.index("--vram-target") + 1]
    if report["mode"] == "baseline":
        assert report["streamed_uses"] == 0


@pytest.fixture
def forward(tmp_path):
    """forward(weights, layer_number) gives a Forward."""
    return lambda weights, number: Forward(tmp_path, weights, number)


@pytest.fixture
def rng():
    seed = secrets.randbelow(2**31)
    print("seed", seed)
    return np.random.default_rng(seed)
