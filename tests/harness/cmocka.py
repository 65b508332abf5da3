# SPDX-License-Identifier: MIT
"""Runs one cmocka executable and reads its standard output format."""
import re

from . import process
from .result import FAILED, PASSED, Result, skipped

_LINE = re.compile(r"^\[ *(RUN|OK|FAILED|SKIPPED) *\] (.+?) *$")
# cmocka's own lines, which are no reason for a skip.
_FRAME = re.compile(r"^\[[= A-Z-]{10}\]")


def parse(output, prefix, strict):
    """The cases of a run. A case that began and never ended is a failure: the program died in it."""
    results, current, said = [], None, []
    for line in output.splitlines():
        match = _LINE.match(line)
        if match is None:
            if not _FRAME.match(line) and line.strip():
                said.append(line.strip())
            continue
        verdict, name = match.groups()
        if verdict == "RUN":
            if current is not None:
                results.append(Result(prefix + current, FAILED, "did not end"))
            current, said = name, []
        elif name == current:
            results.append(_close(verdict, prefix + name, said, strict))
            current = None
    if current is not None:
        results.append(Result(prefix + current, FAILED, "did not end"))
    return results


def _close(verdict, name, said, strict):
    if verdict == "OK":
        return Result(name, PASSED)
    if verdict == "SKIPPED":
        return skipped(name, said[-1] if said else "", strict)
    return Result(name, FAILED)


def run(path, prefix, timeout_s, strict, env):
    ended = process.run([path], timeout_s, env=env)
    results = parse(ended.output, prefix, strict)
    failed = any(r.outcome == FAILED for r in results)
    if ended.how and not failed:
        results.append(Result(prefix + "(program)", FAILED, ended.how))
    elif not results:
        results.append(Result(prefix + "(program)", FAILED, "no case ran"))
    if ended.how:
        ended.output += f"\n{path}: {ended.how}\n"
    return results, ended.output
