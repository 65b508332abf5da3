# SPDX-License-Identifier: MIT
"""Manual pages: one for every command, every option in it, and the library's page against its header."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("UFM_BUILD_DIR", ROOT / "build")).resolve()
MAN = BUILD / "man"


@pytest.fixture(autouse=True)
def pages():
    if re.search(r"(?m)^UFM_SANITIZE:\w+=.", (BUILD / "CMakeCache.txt").read_text()):
        pytest.skip("not under a sanitizer: pages are made by running what was built")


def plain(page):
    """The page's source without fonts and escapes."""
    text = (MAN / page).read_text()
    return re.sub(r"\\f[BIR]|\\&", "", text).replace(r"\-", "-").replace(r"\e", "\\")


def section(text, name):
    return re.search(rf"(?ms)^\.SH {name}\n(.*?)(?=^\.SH |\Z)", text).group(1)


def commands(ufm):
    listed = re.search(r"Commands:\n(.*?)\n\n", ufm("--help").stdout, re.S).group(1)
    return re.findall(r"(?m)^  ([\w-]+) ", listed)


def test_every_command_has_a_page_and_nothing_else_has(ufm):
    wanted = {"ufm.1", "libufm.3"} | {f"ufm-{name}.1" for name in commands(ufm)}
    assert {path.name for path in MAN.iterdir()} == wanted


def test_a_page_says_what_help_says(ufm):
    for name in commands(ufm):
        page, shown = plain(f"ufm-{name}.1"), ufm(name, "--help").stdout
        options = re.findall(r"(?m)^  ((?:-\w, )?--[\w-]+.*)$", shown)
        assert options == re.findall(r"(?m)^\.TP\n((?:-\w, )?--[\w-]+.*)$", section(page, "OPTIONS"))
        for default in re.findall(r"Default:\s+(\S+)\.\s", shown):
            assert f"Default: {default}." in page
        for code, words in re.findall(r"(?m)^  (\d+) +(.*)$", shown):
            assert f".TP\n.B {code}\n{words}\n" in section(page, "EXIT STATUS")
        assert re.search(r"(?m)^ufm-%s - \S" % name, section(page, "NAME"))


def test_the_main_page_lists_commands_and_environment(ufm):
    page, shown = plain("ufm.1"), ufm("--help").stdout
    for name in commands(ufm):
        assert f".BR ufm-{name} (1)\n" in section(page, "COMMANDS")
    names = re.findall(r"(?m)^  ([A-Z_]+) ", shown.split("Environment:")[1])
    assert names and names == re.findall(r"(?m)^\.B ([A-Z_]+)$", section(page, "ENVIRONMENT"))
    assert ufm("--version").stdout.split()[1] in page


def declarations(text):
    """Every declaration of a public function, blanks made equal."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    found = re.findall(r"(?ms)^(?:UFM_API )?((?:const )?\w+ \*?ufm_\w+\([^;{]*\));", text)
    return sorted(" ".join(each.split()) for each in found)


def test_the_library_page_declares_what_the_headers_do():
    header = declarations("".join((ROOT / "include" / "ufm" / name).read_text()
                                  for name in ("ufm.h", "plan.h")))
    assert len(header) == (ROOT / "src" / "libufm.map").read_text().count("\tufm_")
    page = declarations(plain("libufm.3"))
    assert [each for each in header if each not in page] == [], "missing in docs/man/libufm.3.in"
    assert [each for each in page if each not in header] == [], "only in docs/man/libufm.3.in"


def test_the_library_page_names_every_status():
    header = (ROOT / "include" / "ufm" / "ufm.h").read_text()
    names = re.findall(r"(?m)^\t(UFM_(?:OK|E\w+)) = ", header.split("} ufm_status")[0])
    assert names
    page = section(plain("libufm.3"), "RETURN VALUE")
    assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []


def test_pages_are_well_formed():
    if shutil.which("mandoc") is None:
        pytest.skip("not installed: mandoc")
    ended = subprocess.run(["mandoc", "-Tlint", "-Wwarning", *sorted(map(str, MAN.iterdir()))],
                           capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("template, complaint", [
    ("@NO_SUCH_WORD@\n", "ufm.1.in: found @NO_SUCH_WORD@"),
    ("@OPTIONS@\n", "ufm.1.in: found @OPTIONS@"),
    (None, "ufm.1.in: No such file"),
])
def test_a_wrong_template_fails_the_build(tmp_path, template, complaint):
    if template:
        (tmp_path / "ufm.1.in").write_text(template)
    ended = subprocess.run([BUILD / "ufm_man", tmp_path, tmp_path], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1 and complaint in ended.stderr


def test_text_that_is_no_word_stays(tmp_path):
    for name in ("ufm.1.in", "libufm.3.in", "ufm-command.1.in"):
        (tmp_path / name).write_text("a@b.c @ @@ @lower@ @OPEN\n")
    subprocess.run([BUILD / "ufm_man", tmp_path, tmp_path], check=True)
    assert (tmp_path / "ufm.1").read_text() == "a@b.c @ @@ @lower@ @OPEN\n"
