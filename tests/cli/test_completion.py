# SPDX-License-Identifier: MIT
"""ufm completion: scripts that complete commands, options and values."""
import re
import shutil
import subprocess

import pytest

# What bash does on a tab; words are split at '=' as it does.
PROBE = """
source ./script
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
compopt() { :; }
$(complete -p ufm | sed -n 's/.*-F \\([^ ]*\\).*/\\1/p')
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(ufm):
    ended = ufm("completion", "bash")
    assert (ended.returncode, ended.stderr) == (0, "")
    (ufm.folder / "script").write_text(ended.stdout)

    def run(*words):
        ended = subprocess.run(["bash", "-uc", PROBE, "bash", "ufm", *words], cwd=ufm.folder,
                               capture_output=True, text=True)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout.split("\n")[:-1] if ended.stdout != "\n" else []
    return run


def options_of(ufm, command):
    return re.findall(r"(?m)^  (?:-\w, )?(--[\w-]+)(?: (\S+))?$", ufm(command, "--help").stdout)


def commands(ufm):
    listed = re.search(r"Commands:\n(.*?)\n\n", ufm("--help").stdout, re.S).group(1)
    return re.findall(r"(?m)^  ([\w-]+) ", listed)


def test_commands(ufm, complete):
    names = commands(ufm)
    assert sorted(complete("")) == sorted([*names, "help", "--help", "--version"])
    assert complete("help", "") == names
    assert complete("ben") == ["bench"]
    assert complete("no-such", "") == []


def test_every_option_of_every_command(ufm, complete):
    for command in commands(ufm):
        names = [name for name, _ in options_of(ufm, command)]
        assert sorted(complete(command, "--")) == sorted(names)
        for name in names:
            assert name in complete(command, name)


def test_every_choice(ufm, complete):
    found = 0
    for command in commands(ufm):
        shown = re.sub(r"\s+", " ", ufm(command, "--help").stdout)
        for name, choices in re.findall(r"(--[\w-]+) [A-Z]+ (?:(?! --).)*? One (?:or more )?of "
                                        r"([\w/-]+)\.", shown):
            assert complete(command, name, "") == choices.split("/")
            found += 1
    assert found >= 5


@pytest.mark.parametrize("words, expected", [
    (["bench", "--kind", "mlp"], ["mlp", "mlp-bias"]),
    (["bench", "--kind", "=", "g"], ["gated"]),
    (["bench", "--kind", "="], ["mlp", "mlp-bias", "gated"]),
    (["bench", "--kind=g"], ["--kind=gated"]),
    (["bench", "-o", "js"], ["json", "jsonl"]),
    (["bench", "--modes", "baseline,"], ["baseline,naive_offload", "baseline,ufm"]),
    (["bench", "--modes", "ufm,baseline,n"], ["ufm,baseline,naive_offload"]),
    (["bench", "--modes=ufm,b"], ["--modes=ufm,baseline"]),
    (["bench", "--vram-limit", "o"], ["off"]),
    (["bench", "--policy", ""], ["cycle", "freq", "lru", "fifo", "lfu", "s3fifo", "sieve", "cost"]),
    (["bench", "--steps", ""], []),
    (["bench", "--quick", "--no-f"], ["--no-figures"]),
    (["bench", ""], []),
    (["completion", ""], ["bash", "zsh", "fish"]),
])
def test_values(complete, words, expected):
    assert complete(*words) == expected


def test_folders(ufm, complete):
    (ufm.folder / "a folder").mkdir()
    (ufm.folder / "a file").write_text("")
    for words in (["plot"], ["bench", "--out"], ["bench", "--out", "="]):
        assert complete(*words, "a") == ["a folder"]


@pytest.mark.parametrize("shell, check", [("zsh", ["-n"]), ("fish", ["--no-execute"])])
def test_the_other_shells_read_their_script(ufm, shell, check):
    ended = ufm("completion", shell)
    assert (ended.returncode, ended.stderr) == (0, "")
    for command in commands(ufm):
        for name, _ in options_of(ufm, command):
            assert name in ended.stdout or f" -l {name[2:]} " in ended.stdout
    if shutil.which(shell) is None:
        pytest.skip(f"not installed: {shell}")
    (ufm.folder / "script").write_text(ended.stdout)
    read = subprocess.run([shell, *check, "script"], cwd=ufm.folder, capture_output=True, text=True)
    assert (read.returncode, read.stderr) == (0, "")


def test_fish_completes(ufm):
    if shutil.which("fish") is None:
        pytest.skip("not installed: fish")
    (ufm.folder / "script").write_text(ufm("completion", "fish").stdout)

    def complete(line):
        shown = subprocess.run(["fish", "-c", f"source script; complete -C '{line}'"],
                               cwd=ufm.folder, capture_output=True, text=True, check=True).stdout
        return sorted(each.split("\t")[0] for each in shown.splitlines())
    assert complete("ufm ") == sorted([*commands(ufm), "help"])
    assert complete("ufm bench --kind ") == ["gated", "mlp", "mlp-bias"]
    assert complete("ufm bench --modes baseline,u") == ["baseline,ufm"]
    assert complete("ufm bench --no-f") == ["--no-figures"]


@pytest.mark.parametrize("arguments, expected", [
    ([], "found no shell"), (["tcsh"], "'tcsh'"), (["bash", "zsh"], "'zsh'"),
])
def test_wrong_usage(ufm, arguments, expected):
    ended = ufm("completion", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1 and expected in ended.stderr
