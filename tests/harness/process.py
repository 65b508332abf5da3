# SPDX-License-Identifier: MIT
"""Runs a program with a time limit and tells how it ended."""
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass


@dataclass
class Ended:
    output: str
    status: int
    how: str  # "", "timed out after 60 s", "killed by SIGSEGV", "exit status 3"


def _how(status):
    if status < 0:
        return "killed by " + signal.Signals(-status).name
    return f"exit status {status}" if status else ""


def run(argv, timeout_s, env=None, cwd=None):
    """Output goes to a file: what a hanging program wrote is kept, and no pipe can fill."""
    with tempfile.TemporaryFile() as output:
        try:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, env=env, cwd=cwd,
                                     stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as error:
            return Ended("", 127, f"cannot be started: {error.strerror}")
        try:
            status = child.wait(timeout_s)
            how = _how(status)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            status = child.wait()
            how = f"timed out after {timeout_s:g} s"
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise
        output.seek(0)
        return Ended(output.read().decode(errors="replace"), status, how)
