# SPDX-License-Identifier: MIT
"""What a terminal is shown: pages and progress that fit it, and nothing that it does not understand."""
import fcntl
import os
import pathlib
import pty
import re
import shutil
import struct
import subprocess
import termios
import unicodedata

import numpy as np
import pytest

from conftest import SMALL, Ufm, unwrapped
from support import checkpoints

RUN = ["bench", *SMALL, "--no-out", "--modes", "ufm", "--experts", "16", "-o", "json"]


def on_terminal(ufm, command, stream, columns, **env):
    """One stream of a command that must succeed, as a terminal of that width gets it."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("TERM", "NO_COLOR")}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: terminal}
    with subprocess.Popen(ufm.command(*command), cwd=ufm.folder, stdin=subprocess.DEVNULL, **streams,
                          env={**environment, **env}) as process:
        os.close(terminal)
        text = b""
        try:
            while part := os.read(main, 4096):
                text += part
        except OSError:
            pass  # the other end is closed
        process.wait(timeout=60)
    os.close(main)
    return text.decode()


def shown(ufm, command, columns=80, **env):
    return on_terminal(ufm, command, "stderr", columns, **env)


# ---- pages for people

def width(line):
    """Columns, not bytes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in line)


def too_wide(text, columns=80):
    """Lines that could have been broken: a word alone, a path say, is as long as it is."""
    lines = re.sub("\x1b\\[[0-9]*m", "", text).splitlines()
    return [line for line in lines if width(line) > columns and max(map(width, line.split())) < columns - 30]


HELP = [["--help"], *([name, "--help"] for name in ("bench", "forward", "plan", "replay", "plot", "info", "doctor",
                                                    "completion"))]
LINKED = ["bench", *SMALL, "--no-out", "--experts", "16,64", "--link-gbps", "5"]
PLAN = ["plan", "--layers", "3", "--experts", "16", "--top-k", "2", "--d-model", "256", "--d-hidden", "512",
        "--prompt", "32", "--headroom", "0", "--workload", "uniform", "--link-gbps", "50", "--hbm-gbps", "3000",
        "--dram-gbps", "100"]
REPLAY = ["replay", "routing-of-a-model-with-a-longer-name.npy", "--capacity", "4,8"]
# Every table that there is, and every page of names and values.
PAGES = {
    "bench": LINKED,
    "bench phases": ["bench", *SMALL, "--no-out", "--phase", "decode,prefill", "--experts", "16", "--probe", "off"],
    "plan": PLAN,
    "against": ["plan", "--against", "runs.jsonl"],
    "replay": REPLAY,
    "replay scopes": [*REPLAY, "--scope", "layer,pool", "--batch", "1,2", "--by-layer"],
    "predict": [*REPLAY, "--predict", "popularity,coactivation"],
    "info": ["info", "--preset", "qwen3-30b-a3b"],
    "info of a checkpoint": ["info", "checkpoint"],
    "forward": ["forward", "--weights", "checkpoint", "--layer", "1", "--input", "x.npy", "--output", "y.npy",
                "--backend", "cpu"],
    "doctor": ["doctor"],
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """What the pages are about."""
    folder = tmp_path_factory.mktemp("inputs")
    random = np.random.default_rng(3)
    ids = np.argsort(random.random((64, 3, 16)), axis=2)[:, :, :2].astype(np.uint8)
    np.save(folder / REPLAY[1], ids)
    np.save(folder / "x.npy", random.standard_normal((3, 6)).astype(np.float32))
    model, tensors = folder / "checkpoint", {}
    model.mkdir()
    for number in (1, 3, 4):
        prefix = f"model.layers.{number}.mlp"
        tensors |= checkpoints.layer(random, "gated", prefix, 4, 6, 5)[0]
        tensors[f"{prefix}.gate.weight"] = random.standard_normal((4, 6))
    checkpoints.write(model / "model.safetensors", tensors, "F32")
    checkpoints.write_config(model, model_type="qwen3_moe", hidden_act="silu", num_experts_per_tok=2,
                             norm_topk_prob=True)
    ended = Ufm(folder).bench("--out", "results", "--experts", "16,32", "--modes", "ufm", "--no-figures")
    assert ended.returncode == 0, ended.stderr
    shutil.copy(folder / "results" / "runs.jsonl", folder)
    return folder


@pytest.mark.parametrize("command", HELP, ids=" ".join)
def test_help_fits_80_columns(ufm, command):
    piped = ufm(*command).stdout
    assert piped and not [line for line in piped.splitlines() if width(line) > 80]
    for columns in (80, 200):
        assert on_terminal(ufm, command, "stdout", columns).replace("\r\n", "\n") == piped
    assert not too_wide(on_terminal(ufm, command, "stdout", 64), 64)


@pytest.mark.parametrize("page", PAGES)
def test_pages_fit_80_columns_in_a_pipe_and_the_terminal(inputs, page):
    ufm = Ufm(inputs)
    ended = ufm(*PAGES[page])
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout and not too_wide(ended.stdout)
    for columns in (60, 132):
        text = on_terminal(ufm, PAGES[page], "stdout", columns, TERM="xterm")
        assert text and not too_wide(text, columns)


def titles(text):
    return [cell.strip() for cell in next(line for line in text.splitlines() if line.startswith("|")).split("|")[1:-1]]


@pytest.mark.parametrize("page", ["bench", "plan", "against", "replay", "predict"])
def test_what_a_table_lacks_is_said_and_wide_has_it(inputs, page):
    """The cells that are there are the same ones."""
    ufm = Ufm(inputs)
    narrow, wide = (ufm(*PAGES[page], *more).stdout for more in ([], ["--wide"]))
    left_out = [title for title in titles(wide) if title not in titles(narrow)]
    said = re.search(r"With --wide also: (.*?)\.\n", narrow, re.S)
    assert left_out and titles(narrow) == [title for title in titles(wide) if title not in left_out]
    told = unwrapped(said.group(1)).split(", ")
    assert all(word == title or word.startswith(title + " ") for word, title in zip(told, left_out, strict=True))
    assert "With --wide also" not in wide
    rows = [sum(line.startswith("|") for line in text.splitlines()) for text in (narrow, wide)]
    assert rows[0] == rows[1]


def test_wide_changes_no_format_for_programs(inputs):
    ufm = Ufm(inputs)
    for form in ("json", "jsonl", "csv"):
        for page in ("against", "plan"):
            narrow, wide = (ufm(*PAGES[page], "-o", form, *more).stdout for more in ([], ["--wide"]))
            assert narrow and narrow == wide


def test_manual_pages_fit_80_columns():
    folder = pathlib.Path(os.environ.get("UFM_BUILD_DIR", "build")) / "man"
    if shutil.which("mandoc") is None or not folder.is_dir():
        pytest.skip("not there: mandoc, or pages")
    for page in sorted(folder.iterdir()):
        text = subprocess.run(["mandoc", "-Tutf8", page], capture_output=True, text=True, check=True).stdout
        lines = re.sub(".\b", "", text).splitlines()
        assert len(lines) > 20 and [line for line in lines if width(line) > 80] == [], page


# ---- progress

@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_progress_fits_the_terminal(ufm, columns):
    lines = shown(ufm, RUN, columns, TERM="xterm").split("\r\x1b[K")
    lines = [line for line in lines if line.startswith("[1/1] ufm")]
    assert lines and all(len(line) < columns and "\n" not in line for line in lines)
    assert columns < 100 or any(line.endswith(" s left") for line in lines)


def test_a_terminal_of_unknown_width_has_80_columns(ufm):
    lines = shown(ufm, RUN, 0, TERM="xterm").split("\r\x1b[K")
    assert max(map(len, lines)) == 79


@pytest.mark.parametrize("env", [{}, {"TERM": ""}, {"TERM": "dumb"}], ids=["unset", "empty", "dumb"])
def test_no_escape_sequences_where_they_mean_nothing(ufm, env):
    """Neither progress nor the colour of a message."""
    for command in (RUN, [*RUN, "--vram-target", "1"], ["replay", "sticky:olmoe-1b-7b", "--capacity", "50%"]):
        text = shown(ufm, command, **env)
        assert "\x1b" not in text and "filling" not in text


def test_names_cannot_move_the_cursor(ufm):
    name = "t\x1b[2J\n.jsonl"
    (ufm.folder / name).write_text('{"layer":0,"token":0,"experts":[0]}\n')
    text = shown(ufm, ["replay", name, "--capacity", "1", "--policy", "lru"], 200, TERM="xterm", NO_COLOR="1")
    assert "reading t?[2J?.jsonl" in text and "\x1b" not in text.replace("\r\x1b[K", "")


def test_names_in_tables_cannot_move_the_cursor(ufm):
    name = "t\x1b[2J\n.jsonl"
    (ufm.folder / name).write_text('{"layer":0,"token":0,"experts":[0]}\n')
    for more in ([], ["--wide"]):
        text = ufm("replay", name, "--capacity", "1", "--policy", "lru", *more).stdout
        assert "t?[2J?.jsonl" in text and "\x1b" not in text
