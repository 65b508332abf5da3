# SPDX-License-Identifier: MIT
"""What a terminal is shown: progress that fits it, and nothing that it does not understand."""
import fcntl
import os
import pty
import struct
import subprocess
import termios

import pytest

from conftest import SMALL

RUN = ["bench", *SMALL, "--no-out", "--modes", "ufm", "--experts", "16", "-o", "json"]


def shown(ufm, command, columns=80, **env):
    """Standard error of a command that must succeed, as a terminal of that width gets it."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("TERM", "NO_COLOR")}
    with subprocess.Popen(ufm.command(*command), cwd=ufm.folder, stdin=subprocess.DEVNULL, stderr=terminal,
                          stdout=subprocess.DEVNULL, env={**environment, **env}) as process:
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
