# SPDX-License-Identifier: MIT
"""Planted failures: every part of the runner must turn red where it should."""
import os
import tempfile
import textwrap

from . import checks, cmocka, corpus, pytests
from .result import FAILED, PASSED, Result, count

_CASE = "echo '[ RUN      ] {0}'; {1}; echo '[ {2} ] {0}'\n"
_OK = _CASE.format("a", "true", "      OK")

# name, script of a fake cmocka program, (passed, failed, skipped) expected
_PROGRAMS = (
    ("passes", _OK, (1, 0, 0)),
    ("fails", _OK + _CASE.format("b", "true", " FAILED ") + "exit 1", (1, 1, 0)),
    ("fails but exits 0", _CASE.format("b", "true", " FAILED "), (0, 1, 0)),
    ("crashes", _OK + "echo '[ RUN      ] b'; kill -SEGV $$", (1, 1, 0)),
    ("crashes after the last case", _OK + "kill -ABRT $$", (1, 1, 0)),
    ("hangs", _OK + "echo '[ RUN      ] b'; sleep 60", (1, 1, 0)),
    ("exits 1 with no case failed", _OK + "exit 1", (1, 1, 0)),
    ("runs nothing", "true", (0, 1, 0)),
    ("skips for a reason", _CASE.format("s", "echo no GPU here", " SKIPPED"), (0, 0, 1)),
    ("skips for a bad reason", _CASE.format("s", "echo tired", " SKIPPED"), (0, 1, 0)),
    ("skips without a reason", _CASE.format("s", "true", " SKIPPED"), (0, 1, 0)),
)

_CHECKS = (
    ("check passes", "echo ok one", (1, 0, 0)),
    ("check fails", "echo ok one; echo 'not ok two: why'; exit 1", (1, 1, 0)),
    ("check fails silently", "echo ok one; exit 1", (1, 1, 0)),
    ("check checks nothing", "true", (0, 1, 0)),
    ("check misses a package", "echo 'skip one: not installed: gcc'", (0, 1, 0)),
)

_PYTESTS = (
    ("pytest passes", "def test_a(): pass\n", (1, 0, 0)),
    ("pytest fails", "def test_a(): pass\ndef test_b(): assert 0\n", (1, 1, 0)),
    ("pytest skips badly", "import pytest\ndef test_a(): pytest.skip('tired')\n", (0, 1, 0)),
    ("pytest cannot import", "import no_such_module\ndef test_a(): pass\n", (0, 1, 0)),
    ("pytest finds nothing", "x = 1\n", (0, 1, 0)),
)


def _script(folder, text):
    path = os.path.join(folder, "fake")
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/bash\n" + text + "\n")
    os.chmod(path, 0o755)
    return path


def _verdict(name, found, wanted):
    if found == wanted:
        return Result(name, PASSED)
    return Result(name, FAILED, f"counted {found}, expected {wanted} (passed, failed, skipped)")


def _programs(prefix, folder):
    for name, text, wanted in _PROGRAMS:
        results, _ = cmocka.run(_script(folder, text), "", 1, True, None)
        yield _verdict(prefix + name, count(results), wanted)
    results, _ = cmocka.run(os.path.join(folder, "absent"), "", 1, True, None)
    yield _verdict(prefix + "was not built", count(results), (0, 1, 0))


def _check_programs(prefix, folder):
    for name, text, wanted in _CHECKS:
        results, _ = checks.run([_script(folder, text)], "", 5, True, None)
        yield _verdict(prefix + name, count(results), wanted)


def _corpora(prefix, folder):
    inputs = os.path.join(folder, "corpus")
    os.mkdir(inputs)
    results, _ = corpus.run(_script(folder, "true"), inputs, "", 5, None)
    yield _verdict(prefix + "empty corpus", count(results), (0, 1, 0))
    for name in ("good", "bad"):
        with open(os.path.join(inputs, name), "w", encoding="utf-8") as file:
            file.write(name)
    results, _ = corpus.run(_script(folder, "grep -q good $1"), inputs, "", 5, None)
    yield _verdict(prefix + "one bad input", count(results), (1, 1, 0))


def _pytests(prefix, folder, python):
    for name, text, wanted in _PYTESTS:
        path = os.path.join(folder, "test_planted.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(textwrap.dedent(text))
        results, _ = pytests.run(python, path, "", 30, True, None)
        yield _verdict(prefix + name, count(results), wanted)


def run(prefix):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with tempfile.TemporaryDirectory() as folder:
        results = [*_programs(prefix, folder), *_check_programs(prefix, folder),
                   *_corpora(prefix, folder)]
        python = pytests.interpreter(root)
        if python is not None:
            results += _pytests(prefix, folder, python)
    return results, ""
