# SPDX-License-Identifier: MIT
"""Runs a check: a program that prints `ok NAME`, `not ok NAME: why` or `skip NAME: why` lines."""
import re

from . import process
from .result import FAILED, PASSED, Result, skipped

_LINE = re.compile(r"^(ok|not ok|skip) ([^:]+)(?:: (.*))?$")


def run(argv, prefix, timeout_s, strict, env):
    ended = process.run(argv, timeout_s, env=env)
    results = []
    for line in ended.output.splitlines():
        match = _LINE.match(line)
        if match:
            verdict, name, why = match.groups()
            results.append(_result(verdict, prefix + name, why or "", strict))
    failed = any(r.outcome == FAILED for r in results)
    if ended.how and not failed:
        results.append(Result(prefix + "(program)", FAILED, ended.how))
    elif not results:
        results.append(Result(prefix + "(program)", FAILED, "nothing was checked"))
    return results, ended.output


def _result(verdict, name, why, strict):
    if verdict == "skip":
        return skipped(name, why, strict)
    return Result(name, PASSED if verdict == "ok" else FAILED, why)
