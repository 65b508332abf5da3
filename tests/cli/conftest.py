# SPDX-License-Identifier: MIT
"""Runs the built `ufm` and reads what it leaves."""
import json
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

BUILD = os.environ.get("UFM_BUILD_DIR", "build")
UFM = os.path.abspath(os.path.join(BUILD, "ufm"))

# Experts of 2.1 MB: 64 of them (128.3 MiB) do not fit a card of 128 MiB, 16 do.
SMALL = ["--d-model", "256", "--d-hidden", "1024", "--batch", "2", "--seq", "16", "--steps", "2",
         "--warmup", "1", "--vram-limit", "128MiB", "--vram-target", "64MiB", "--headroom", "0",
         "--backend", "cpu"]


def unwrapped(text):
    """What people are told, wherever its lines end."""
    return " ".join(text.split())


class Ufm:
    """One `ufm` in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder

    def command(self, *arguments):
        return [UFM, *map(str, arguments)]

    def __call__(self, *arguments, env=None, timeout=120, **more):
        return subprocess.run(self.command(*arguments), cwd=self.folder, text=True,
                              capture_output=True, timeout=timeout, env={**os.environ, **(env or {})},
                              stdin=subprocess.DEVNULL, **more)

    def bench(self, *arguments, **more):
        return self("bench", *SMALL, *arguments, **more)

    def rows(self, *arguments):
        """The rows of a bench that must succeed and writes no files."""
        ended = self.bench("--no-out", "-o", "json", *arguments)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)


@pytest.fixture
def ufm(tmp_path):
    return Ufm(tmp_path)


@pytest.fixture(scope="session")
def ufm_path():
    return UFM
