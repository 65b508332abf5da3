# SPDX-License-Identifier: MIT
"""tools/check_abi turns red for what breaks programs, and for nothing else."""
import pathlib
import platform
import shutil
import subprocess

import pytest

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "check_abi"

HEADER = """
#include <stddef.h>
typedef struct ufm_part { int rows, cols; } ufm_part;
typedef struct ufm_config {
	size_t struct_size;
	unsigned tokens;
	ufm_part part;
	double rate;
} ufm_config;
typedef struct ufm_info { unsigned slots; long bytes; } ufm_info;
typedef enum ufm_status { UFM_OK = 0, UFM_EINVAL = -1 } ufm_status;
typedef struct ufm_engine ufm_engine;
ufm_status ufm_open(const ufm_config *config, ufm_engine **out);
void ufm_get(const ufm_engine *engine, ufm_info *info);
"""
SOURCE = """
#include "ufm.h"
struct ufm_engine { int used; };
static struct ufm_engine one;
ufm_status ufm_open(const ufm_config *config, ufm_engine **out)
{
	one.used = config->rate > 0;
	*out = &one;
	return UFM_OK;
}
void ufm_get(const ufm_engine *engine, ufm_info *info)
{
	info->slots = (unsigned)engine->used;
}
"""


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """A small library whose ABI is described."""
    for program in ("abidw", "abidiff"):
        if shutil.which(program) is None:
            pytest.skip(f"not installed: {program}")
    tree = tmp_path_factory.mktemp("described")
    (tree / "include" / "ufm").mkdir(parents=True)
    (tree / "tests" / "abi").mkdir(parents=True)
    build(tree)
    renewed = check(tree, "--renew")
    assert renewed.returncode == 0 and renewed.stdout.startswith("ok ")
    assert check(tree).stdout == "ok abi\n"
    return tree


@pytest.fixture
def tree(described, tmp_path):
    return shutil.copytree(described, tmp_path / "tree")


def build(tree, header=HEADER, source=SOURCE, soname="libufm.so.0", debug="-g"):
    (tree / "include" / "ufm" / "ufm.h").write_text(header)
    (tree / "ufm.c").write_text(source)
    subprocess.run(["cc", debug, "-O2", "-fPIC", "-shared", f"-Wl,-soname,{soname}", "-Iinclude/ufm",
                    "ufm.c", "-o", "libufm.so"], cwd=tree, check=True)


def check(tree, *options):
    return subprocess.run([TOOL, *options, tree, tree], capture_output=True, text=True)


@pytest.mark.parametrize("old, new, report", [
    ("\tdouble rate;\n", "\tdouble rate;\n\tlong more;\n\tufm_part most;\n",
     "added: ufm_config.more, ufm_config.most"),
    ("void ufm_get(", "int ufm_more(void);\nvoid ufm_get(", "added: ufm_more"),
    ("UFM_EINVAL = -1", "UFM_EINVAL = -1, UFM_EMORE = -2", ""),
    ("UFM_OK = 0", "UFM_OK", ""),
    ("const ufm_config *config,", "const ufm_config *other,", ""),
    ("struct ufm_engine {", "struct ufm_engine { long more;", ""),
])
def test_what_is_allowed(tree, old, new, report):
    source = SOURCE.replace(old, new, 1)
    if "ufm_more" in new:
        source = SOURCE + "int ufm_more(void)\n{\n\treturn 1;\n}\n"
    elif "config" in old:
        source = SOURCE
    build(tree, HEADER.replace(old, new, 1), source)
    ended = check(tree)
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[-1] == "ok abi" and report in ended.stdout
    assert ("added" in ended.stdout) == bool(report)


@pytest.mark.parametrize("old, new", [
    ("\tunsigned tokens;\n", "\tunsigned tokens;\n\tlong more;\n"),
    ("\tdouble rate;\n", "\tfloat rate;\n"),
    ("\tdouble rate;\n", ""),
    ("\tsize_t struct_size;\n\tunsigned tokens;\n", "\tunsigned tokens;\n\tsize_t struct_size;\n"),
    ("int rows, cols;", "int rows, cols, more;"),
    ("long bytes;", "long bytes, more;"),
    ("UFM_EINVAL = -1", "UFM_EINVAL = -2"),
    ("void ufm_get(const ufm_engine *engine, ufm_info *info);", ""),
    ("ufm_engine **out);", "ufm_engine **out, int more);"),
])
def test_what_breaks_programs(tree, old, new):
    assert HEADER.count(old) == 1
    source = SOURCE
    if "rate" in old and not new:
        source = SOURCE.replace("config->rate", "config->tokens")
    elif "ufm_get" in old:
        source = SOURCE.replace("void ufm_get", "static inline void ufm_get")
    elif "more)" in new:
        source = SOURCE.replace("ufm_engine **out)", "ufm_engine **out, int more)")
    build(tree, HEADER.replace(old, new), source)
    ended = check(tree)
    assert ended.returncode == 1
    last = ended.stdout.splitlines()[-1]
    assert last.startswith("not ok abi: libufm.so.0 breaks") and "ufm_soversion" in last
    assert "--renew" in last


def test_another_soname_asks_for_another_description(tree):
    build(tree, HEADER.replace("\tdouble rate;\n", "\tfloat rate;\n"), soname="libufm.so.1")
    ended = check(tree)
    assert ended.returncode == 1 and "makes libufm.so.1: run tools/check_abi --renew" in ended.stdout
    assert check(tree, "--renew").returncode == 0
    assert check(tree).stdout == "ok abi\n"


def test_a_build_without_debug_information(tree):
    build(tree, debug="-g0")
    assert check(tree).stdout.startswith("skip abi: not installed: debug-information")
    renewed = check(tree, "--renew")
    assert renewed.returncode == 1 and "no debug information" in renewed.stdout


def test_another_machine(tree):
    description = tree / "tests" / "abi" / "libufm.abi"
    text = description.read_text()
    assert "architecture='elf-" in text
    begin, end = text.split("architecture='elf-")[0], text.split("architecture='elf-")[1]
    description.write_text(begin + "architecture='elf-other" + end[end.index("'"):])
    assert check(tree).stdout == (f"skip abi: no ABI description for {platform.machine()}, "
                                  "only other\n")


@pytest.mark.parametrize("text, complaint", [(None, "No such file"), ("<abi", "not ok abi: ")])
def test_a_description_that_cannot_be_read(tree, text, complaint):
    description = tree / "tests" / "abi" / "libufm.abi"
    description.unlink()
    if text:
        description.write_text(text)
    ended = check(tree)
    assert ended.returncode == 1 and complaint in ended.stdout
    assert ended.stdout.count("\n") == 1
