# SPDX-License-Identifier: MIT
"""Fails calls of `ufm` in turn, by tests/fault/failing_calls.c, and judges what became of each run."""
import fnmatch
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass, field

# In the order of enum kind; what a line about such a failure says. The C library knows no reason for a thread that lacks
# memory, and none for a stream that has lost something; one into memory
# loses nothing else.
_MEMORY = "memory|address space|thread"
_LOST = "No space left on device|standard output: cannot be written|no memory for it"
KINDS = {
    "memory": _MEMORY,
    "map": _MEMORY,
    "thread": "thread",
    "process": "temporarily unavailable|Too many open files",
    "open": "Too many open files|Cannot allocate memory",
    "stat": "Permission denied|Input/output error",
    "read": "Input/output error",
    "line": "Input/output error",
    "write": "No space left on device",
    "print": _LOST,
    "flush": _LOST,
    "close": "Input/output error|No space left on device|no memory for it",
    "sync": "Input/output error",
    "rename": "Permission denied",
    "folder": "Permission denied|Too many open files|Input/output error",
    "remove": "Permission denied|File exists",
    "truncate": "Input/output error",
    "short": "$.",  # not an error
}
# A success may do without a file where it says so and why: in a warning, or, for these, in its output (`plan` without the
# weights beside a config.json).
DISPENSABLE = ("open", "stat", "read")
EXIT_CODES = (0, 1, 2, 3, 4)
HANGS_S = 120  # a run takes a tenth of a second; the machine may be busy

_ORDERS = struct.Struct(f"=IIQ{len(KINDS)}QQ")


@dataclass(frozen=True)
class Fault:
    """The call that fails; number 0: none."""
    kind: str = "memory"
    number: int = 0
    forever: bool = False

    def __str__(self):
        return f"{self.kind} call {self.number}{' and after' if self.forever else ''}"


@dataclass
class Job:
    """A command whose calls are failed. It runs in a folder of its own that holds `in`, a link to what it reads, and the
    files of `earlier`. `compare`: what a file, or standard output (""), holds besides times, from its bytes; an error
    where it is not whole."""
    name: str
    argv: list
    earlier: dict = field(default_factory=dict)
    compare: object = lambda name, content: content
    kept: tuple = ()  # files that a failed run leaves, too: of what it did
    share: int = 1  # of a tenth, a run takes every so many: for jobs that take long


@dataclass
class Run:
    exit_code: int
    output: bytes
    said: str
    files: dict
    calls: dict
    failed: int


def _read_files(folder):
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


class Runner:
    """Runs jobs over the inputs in one folder."""

    def __init__(self, ufm, library, inputs, scratch, path):
        self.ufm, self.library, self.inputs, self.scratch = ufm, library, inputs, scratch
        self.env = dict(os.environ, PATH=path, LD_PRELOAD=library, LC_ALL="C.UTF-8")
        for name in ("COLUMNS", "UFM_BACKEND_PATH"):
            self.env.pop(name, None)
        # The library stands before the sanitizer's; a process that gives up may keep what it has.
        self.env["ASAN_OPTIONS"] = "verify_asan_link_order=0:detect_leaks=0"

    def run(self, job, fault=Fault()):
        home = tempfile.mkdtemp(dir=self.scratch)
        try:
            return self._run(job, fault, home)
        finally:
            shutil.rmtree(home)

    def _run(self, job, fault, home):
        work, orders = os.path.join(home, "work"), os.path.join(home, "orders")
        for name, content in job.earlier.items():
            path = os.path.join(work, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
        os.makedirs(work, exist_ok=True)
        os.symlink(self.inputs, os.path.join(work, "in"))
        kind = list(KINDS).index(fault.kind)
        with open(orders, "wb") as file:
            file.write(_ORDERS.pack(kind, fault.forever, fault.number, *[0] * len(KINDS), 0))
        ended = subprocess.run([self.ufm, *job.argv], cwd=work, env={**self.env, "FAILING_CALLS": orders},
                               stdin=subprocess.DEVNULL, capture_output=True, timeout=HANGS_S)
        os.unlink(os.path.join(work, "in"))
        with open(orders, "rb") as file:
            _, _, _, *calls, failed = _ORDERS.unpack(file.read())
        return Run(ended.returncode, ended.stdout, ended.stderr.decode("utf-8", "replace"), _read_files(work),
                   dict(zip(KINDS, calls)), failed)


# ---- the judge: each says what is wrong, or nothing

def _same(job, name, content, wanted):
    """Whether it holds what it should but for times; what is cut off holds nothing."""
    if content == wanted:
        return True
    try:
        return job.compare(name, content) == job.compare(name, wanted)
    except (ValueError, KeyError, IndexError):
        return False


def _is_whole(name, content):
    """For files whose content depends on how far a run came."""
    if not content:
        return True
    try:
        without_times(name, content)
    except (ValueError, KeyError, IndexError):
        return False
    return content.endswith(b"\n") or name.endswith((".png", ".svg"))


def _ending(run, fault):
    if run.exit_code not in EXIT_CODES:
        return f"ended with {run.exit_code}"
    lines = [line for line in run.said.splitlines() if "error: " in line]
    if run.exit_code and not lines:
        return f"exit code {run.exit_code} without a line"
    if run.exit_code and not any(re.search(KINDS[fault.kind], line) for line in lines):
        return f"exit code {run.exit_code}, and no line names the cause"
    return ""


def _says_why(run, fault):
    said = " ".join(run.output.decode("utf-8", "replace").split()) if fault.kind in DISPENSABLE else ""
    said += "".join(line for line in run.said.splitlines() if "warning: " in line)
    return re.search(KINDS[fault.kind], said) is not None


def _files_of_success(job, run, clean, fault):
    for name in sorted(clean.files.keys() | run.files.keys()):
        if name not in run.files:
            return f"exit code 0 without {name}"
        if name not in clean.files:
            if fault.kind == "remove":
                continue
            return f"exit code 0 and {name} left over"
        if not _same(job, name, run.files[name], clean.files[name]):
            return f"exit code 0 and another {name}"
    return ""


def _files_of_failure(job, run, clean, fault):
    for name in sorted(job.earlier.keys() | run.files.keys()):
        if name not in run.files:
            return f"the earlier {name} is lost"
        content = run.files[name]
        if name not in clean.files:
            if name not in job.earlier and fault.kind != "remove":
                return f"{name} is left over"
        elif content == job.earlier.get(name):
            continue
        elif any(fnmatch.fnmatch(name, kept) for kept in job.kept) or _says_why(run, fault):
            if not _is_whole(name, content):
                return f"{name} is cut off"
        elif not _same(job, name, content, clean.files[name]):
            return f"{name} is neither the earlier nor a whole one"
    return ""


def judge(job, run, clean, fault):
    """Empty, or what is wrong with a run in which a call failed, beside one in which none did."""
    wrong = _ending(run, fault)
    if wrong:
        return wrong
    if run.exit_code:
        return _files_of_failure(job, run, clean, fault)
    if _says_why(run, fault):
        return ""
    if not _same(job, "", run.output, clean.output):
        return "exit code 0 and another output"
    return _files_of_success(job, run, clean, fault)


# ---- what files hold besides times

_NUMBER = re.compile(rb"(?<![#\w])-?\d+(,\d{3})*(\.\d+)?([eE][-+]?\d+)?")
_RULE = re.compile(rb"-{2,}")  # under a table's head, as wide as the widest figure
# Members of rows that follow from clocks. Beside them, what cannot be asked of the machine is null in its description.
_TIMED = re.compile(r"_(ms|s|ns|gflops)$|gbps|per_s|_of_|_ms_|peak_ram|started|overlap|measured_again|cpu_choice")


def _untimed(value):
    if isinstance(value, dict):
        return {key: None if key == "environment" or _TIMED.search(key) else _untimed(item) for key, item in value.items()}
    return [_untimed(item) for item in value] if isinstance(value, list) else value


def without_times(name, content):
    """Rows without what clocks give; of other texts the words; of samples the columns."""
    kind = os.path.splitext(name)[1]
    if kind == ".png" or kind == ".svg" or kind == ".npy":
        return content
    if name.startswith("timeline") and kind == ".json" or kind == ".trace":
        names = {e["name"] for e in json.loads(content)["traceEvents"]}
        return {name for name in names if not name.startswith("wait ")}
    if kind == ".json" or kind == "" and content[:1] in b"[{" and content.count(b"\n}") + content.count(b"\n]") == 1:
        return _untimed(json.loads(content))
    if kind == ".jsonl" or kind == "" and content[:1] == b"{":
        if not content.endswith(b"\n"):
            raise ValueError("a cut last line")
        return [_untimed(json.loads(line)) for line in content.splitlines()]
    lines = content.splitlines()
    if kind == ".csv":
        if not content.endswith(b"\n") or len({line.count(b",") for line in lines}) != 1:
            raise ValueError("a cut line")
        return lines[0]
    lines = [re.sub(rb'"[^";]* cores;', b'"#;', line) for line in lines]  # a machine whose name cannot be read has none
    words = [re.sub(rb" +", b" ", re.sub(rb"#(, #)+", b"#", _NUMBER.sub(b"#", _RULE.sub(b"--", line)))) for line in lines]
    return set(words) if kind == ".dat" else words
