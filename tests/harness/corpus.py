# SPDX-License-Identifier: MIT
"""Replays a fuzz target's corpus, one case a file."""
import os

from . import process
from .result import FAILED, PASSED, Result


def run(path, corpus, prefix, timeout_s, env):
    files = sorted(os.listdir(corpus)) if os.path.isdir(corpus) else []
    if not files:
        return [Result(prefix + "(corpus)", FAILED, f"{corpus}: expected at least one file")], ""
    results, output = [], ""
    for name in files:
        ended = process.run([path, os.path.join(corpus, name)], timeout_s, env=env)
        results.append(Result(prefix + name, FAILED if ended.how else PASSED, ended.how))
        if ended.how:
            output += ended.output
    return results, output
