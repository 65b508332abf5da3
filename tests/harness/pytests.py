# SPDX-License-Identifier: MIT
"""Runs one file of pytest tests and reads its JUnit report."""
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

from . import process
from .result import FAILED, PASSED, Result, skipped


def interpreter(root):
    """A Python with pytest and numpy: the project's own environment, else this one, else None."""
    for python in (os.path.join(root, ".venv", "bin", "python"), sys.executable):
        probe = [python, "-c", "import numpy, pytest"]
        if os.path.exists(python) and subprocess.run(probe, capture_output=True).returncode == 0:
            return python
    return None


def parse(report, prefix, strict):
    results = []
    for case in ElementTree.parse(report).iter("testcase"):
        name = prefix + case.get("name", "?")
        skip, failure = case.find("skipped"), case.find("failure")
        error = case.find("error")
        if failure is not None or error is not None:
            results.append(Result(name, FAILED))
        elif skip is not None:
            results.append(skipped(name, skip.get("message", ""), strict))
        else:
            results.append(Result(name, PASSED))
    return results


def run(python, path, prefix, timeout_s, strict, env):
    if python is None:
        return [skipped(prefix + "(all)", "not installed: numpy and pytest in ./.venv", strict)], ""
    with tempfile.TemporaryDirectory() as scratch:
        report = os.path.join(scratch, "report.xml")
        argv = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short",
                "--basetemp=" + os.path.join(scratch, "t"), "--junitxml=" + report, path]
        ended = process.run(argv, timeout_s, env=env)
        results = parse(report, prefix, strict) if os.path.exists(report) else []
    if ended.how and not any(r.outcome == FAILED for r in results):
        results.append(Result(prefix + "(pytest)", FAILED, ended.how))
    elif not results:
        results.append(Result(prefix + "(pytest)", FAILED, "no case ran"))
    return results, ended.output
