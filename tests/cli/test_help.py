# SPDX-License-Identifier: MIT
"""Help, version, and how commands end."""
import re
import subprocess

import pytest

from conftest import unwrapped

OPTIONS = {
    "bench": ["quick", "model", "prefix", "geometry", "modes", "experts", "layers", "d-model", "d-hidden", "kind", "top-k",
              "norm-topk", "batch", "seq", "steps", "warmup", "dtype", "seed", "vram-target",
              "headroom", "vram-limit", "policy", "ring", "backend", "link-gbps", "max-tokens",
              "cpu-assist", "cpu-share", "threads", "probe", "workload", "out", "no-out", "no-figures", "timeline", "record-trace", "format", "wide", "verbose", "help",
              "preset", "phase", "scoring", "math", "ids"],
    "forward": ["weights", "prefix", "layer", "input", "output", "ids", "gates", "top-k", "norm-topk",
                "no-norm-topk", "scoring", "math", "activation", "f16-as", "mode", "vram-target", "headroom",
                "vram-limit", "policy", "backend", "max-tokens", "threads", "cpu-assist", "cpu-share", "timeline", "record-trace", "format",
                "wide", "verbose", "help"],
    "plan": ["preset", "model", "prefix", "layers", "experts", "top-k", "d-model", "d-hidden", "kind", "dtype",
             "vram-target", "headroom", "batch", "prompt", "workload", "seed", "policy", "ring",
             "max-tokens", "routing", "machine", "link-gbps", "hbm-gbps", "dram-gbps", "gflops",
             "disk-gbps", "ram", "card", "cores", "prefetch-recall", "prefetch-guesses", "backend", "against",
             "out", "no-figures", "format", "wide", "verbose", "help"],
    "replay": ["capacity", "policy", "scope", "batch", "cold", "sequences", "part", "warmup",
               "steps", "experts", "preset", "expert-bytes", "read-gbps", "cost", "ring",
               "together", "admission", "predict", "guesses", "seed", "out", "no-figures", "by-layer",
               "format", "wide", "help"],
    "plot": ["help"],
    "doctor": ["format", "out", "help"],
    "info": ["f16-as", "prefix", "preset", "format", "wide", "help"],
    "completion": ["help"],
}


@pytest.mark.parametrize("command", OPTIONS)
def test_help_lists_every_option(ufm, command):
    for arguments in ([command, "--help"], [command, "-h"], ["help", command]):
        ended = ufm(*arguments)
        assert (ended.returncode, ended.stderr) == (0, "")
        listed = re.findall(r"^  (?:-\w, )?--([\w-]+)", ended.stdout, re.MULTILINE)
        assert sorted(listed) == sorted(OPTIONS[command])
        assert "Exit codes" in ended.stdout
        assert max(map(len, ended.stdout.splitlines())) <= 80


def test_help_gives_defaults_and_quick_values(ufm):
    text = unwrapped(ufm("bench", "--help").stdout)
    assert "Default: 96,144,192." in text
    assert "Default: 2048. With --quick: 512." in text


def test_help_lists_every_command(ufm):
    for arguments in (["--help"], ["-h"], ["help"]):
        ended = ufm(*arguments)
        assert (ended.returncode, ended.stderr) == (0, "")
        for command in OPTIONS:
            assert re.search(rf"^  {command} ", ended.stdout, re.MULTILINE)


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(ufm, option):
    ended = ufm(option)
    assert ended.returncode == 0
    assert re.fullmatch(r"ufm \d+\.\d+\.\d+( \(.+\))?\n", ended.stdout)


@pytest.mark.parametrize("arguments, expected", [
    ([], "ufm --help"),
    (["bnech"], "did you mean 'bench'"),
    (["entirely-different"], "ufm --help"),
    (["help", "plott"], "did you mean 'plot'"),
    (["bench", "--expert", "4"], "did you mean '--experts'"),
    (["bench", "--entirely-different"], "ufm bench --help"),
    (["bench", "operand"], "operand"),
    (["bench", "--quick=yes"], "--quick"),
    (["bench", "--seed"], "--seed"),
    (["plot", "a", "b"], "'b'"),
    (["doctor", "-o", "xml"], "error: -o: found 'xml', expected one of text, json"),
    (["doctor", "-oxml"], "error: -o: found 'xml'"),
    (["doctor", "--format=xml"], "error: --format: found 'xml'"),
    (["bench", "-o"], "error: -o: found nothing after it"),
    (["bench", "-vx"], "error: -v: found the value 'x', expected none"),
])
def test_wrong_usage_is_one_line(ufm, arguments, expected):
    ended = ufm(*arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1 and expected in ended.stderr


def test_output_that_cannot_be_written(ufm, ufm_path):
    with open("/dev/full", "w") as full:
        ended = subprocess.run([ufm_path, "bench", "--help"], stdout=full, stderr=subprocess.PIPE,
                               text=True)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1 and "standard output" in ended.stderr


def test_no_colour_where_there_is_no_terminal(ufm):
    ended = ufm("bench", "--seed", "x", env={"TERM": "xterm"})
    assert "\033" not in ended.stderr


@pytest.mark.parametrize("no_color, coloured", [("", True), ("1", False)])
def test_no_color_on_a_terminal(ufm_path, no_color, coloured):
    import os
    import pty
    main, terminal = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "NO_COLOR": no_color}
    subprocess.run([ufm_path, "bench", "--seed", "x"], stderr=terminal, stdout=terminal,
                   stdin=terminal, env=env)
    os.close(terminal)
    seen = b""
    try:
        while part := os.read(main, 4096):  # a terminal gives pieces
            seen += part
    except OSError:  # its other end is closed
        pass
    os.close(main)
    assert (b"\033[31m" in seen) == coloured


@pytest.mark.parametrize("command, meant", [
    (["bench", "--vram-target", "16GB"], "16GiB"), (["bench", "--vram-target", "16G"], "16GiB"),
    (["bench", "--vram-target", "autp"], "auto"), (["plan", "--vram-target", "8GB,50%"], "8GiB"),
    (["replay", "t.npy", "--capacity", "25%,8GB"], "8GiB"),
    (["bench", "--preset", "Qwen3-30B-A3B"], "qwen3-30b-a3b"),
    (["plan", "--preset", "Qwen/Qwen3-30B-A3B"], "qwen3-30b-a3b"),
    (["info", "--preset", "Mixtral-8x7B-v0.1"], "mixtral-8x7b"),
    (["bench", "--policy", "lur"], "lru"), (["replay", "t.npy", "--policy", "default,Min"], "min"),
    (["plan", "--policy", "cylce"], "cycle"), (["forward", "--policy", "LFU"], "lfu"),
    (["bench", "--modes", "ufm,base-line"], "baseline"), (["bench", "--kind", "gatd"], "gated"),
    (["bench", "--dtype", "bf61"], "bf16"), (["bench", "--cpu-assist", "of"], "off"),
    (["bench", "--workload", "unifrom"], "uniform"), (["bench", "--workload", "stiky:gpt-oss-20b"], "sticky:"),
    (["bench", "--workload", "sticky:GPT-OSS-20B"], "gpt-oss-20b"), (["replay", "sticky:olmoe"], "olmoe-1b-7b"),
    (["plan", "--workload", "stciky"], "sticky"), (["bench", "--backend", "cdua"], "cuda"),
    (["bench", "--backend", "CPU"], "cpu"), (["replay", "--scope", "layers"], "layer"),
    (["completion", "bsah"], "bash"), (["bench", "--vram-targte", "1"], "--vram-target"), (["Bench"], "bench"),
], ids=lambda value: "-".join(value) if isinstance(value, list) else None)
def test_near_misses(ufm, command, meant):
    ended = ufm(*command)
    assert ended.returncode in (2, 3) and ended.stdout == ""
    assert ended.stderr.endswith(f"did you mean '{meant}'?\n") and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [name for name, options in OPTIONS.items() if "format" in options])
def test_the_format_has_one_name(ufm, command):
    """On every command that has a choice; --output is a file."""
    page = ufm(command, "--help").stdout
    assert re.search(r"^  -o, --format FORMAT$", page, re.MULTILINE)
    assert ("--output " in page) == (command == "forward")
