# SPDX-License-Identifier: MIT
"""The binding is of this library: every function, struct and number of the headers; and what is refused at import."""

import ctypes
import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT
from ufm import _enums, _library, _structs

HEADERS = [(ROOT / "include" / "ufm" / name).read_text() for name in ("ufm.h", "plan.h")]
ENUMS = {
    "Status": "UFM_",
    "LogLevel": "UFM_LOG_",
    "Dtype": "UFM_",
    "Math": "UFM_MATH_",
    "Role": "UFM_ROLE_",
    "Format": "UFM_FORMAT_",
    "Activation": "UFM_ACT_",
    "ExpertKind": "UFM_EXPERT_",
    "CpuAssist": "UFM_CPU_",
    "Scoring": "UFM_SCORE_",
    "Place": "UFM_",
    "PlanBound": "UFM_PLAN_BY_",
}


def compiler():
    found = shutil.which("cc")
    if not found:
        pytest.skip("not installed: cc")
    return found


def printed(folder, lines):
    """What a C program prints that includes the headers."""
    source = folder / "print.c"
    includes = "#include <stddef.h>\n#include <stdio.h>\n#include <ufm/plan.h>\n"
    source.write_text(includes + "int main(void) {\n" + "\n".join(lines) + "\nreturn 0;\n}\n")
    program = folder / "print"
    subprocess.run([compiler(), "-I", ROOT / "include", source, "-o", program], check=True)
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()


def test_every_exported_function_is_declared():
    exported = re.findall(r"^\t(ufm_\w+);", (ROOT / "src" / "libufm.map").read_text(), re.MULTILINE)
    assert sorted(_library.PROTOTYPES) == sorted(exported)


def test_functions_take_what_the_headers_say():
    kinds = {"uint32_t": ctypes.c_uint32, "uint64_t": ctypes.c_uint64, "size_t": ctypes.c_size_t}
    kinds["ufm_devptr"] = ctypes.c_uint64
    checked = 0
    for text in HEADERS:
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        for name, arguments in re.findall(r"UFM_API [\w \*]*?(ufm_\w+)\(([^)]*)\);", text):
            declared = [] if arguments.strip() == "void" else [each.strip() for each in arguments.split(",")]
            ours = _library.PROTOTYPES[name][1]
            assert len(ours) == len(declared), name
            for argument, kind in zip(declared, ours):
                word = argument.replace("const ", "").split()[0].rstrip("*")
                if "*" in argument:
                    assert ctypes.sizeof(kind) == 8 and not issubclass(kind, ctypes.c_uint64), (name, argument)
                elif word in kinds:
                    assert kind is kinds[word], (name, argument)
            checked += 1
    assert checked == len(_library.PROTOTYPES)


def test_every_field_lies_where_the_compiler_lays_it(tmp_path):
    lines, ours = [], []
    for struct in _structs.STRUCTS:
        for field in struct._fields_:
            at = f"offsetof({struct.__name__}, {field[0]}), sizeof((({struct.__name__} *)0)->{field[0]})"
            lines.append(f'printf("{struct.__name__}.{field[0]} %zu %zu\\n", {at});')
            place = getattr(struct, field[0])
            ours.append(f"{struct.__name__}.{field[0]} {place.offset} {ctypes.sizeof(field[1])}")
    assert printed(tmp_path, lines) == ours


def test_every_field_of_the_headers_is_declared():
    for text in HEADERS:
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (ufm_\w+);", text, re.DOTALL):
            fields = []
            for statement in filter(str.strip, body.split(";")):
                function = re.search(r"\(\*(\w+)\)", statement)
                names = [function[1]] if function else re.findall(r"(\w+)(?:\[[^\]]*\])?\s*(?:,|$)", statement.strip())
                fields += names
            assert fields == [field[0] for field in getattr(_structs, name)._fields_], name


def test_enums_are_the_headers(tmp_path):
    lines, ours = [], []
    for name, prefix in ENUMS.items():
        for member in getattr(_enums, name):
            lines.append(f'printf("{name}.{member.name} %d\\n", (int){prefix}{member.name});')
            ours.append(f"{name}.{member.name} {int(member)}")
    lines.append('printf("%llu %d %g\\n", (unsigned long long)UFM_WAIT_FOREVER, UFM_PARTS_MAX, UFM_NORM_TOPK_ADDEND);')
    ours.append(f"{_enums.WAIT_FOREVER} {_enums.PARTS_MAX} {_enums.NORM_TOPK_ADDEND:g}")
    assert printed(tmp_path, lines) == ours


def test_no_enum_of_the_headers_is_left_out():
    declared = {name for text in HEADERS for name in re.findall(r"\b(UFM_[A-Z0-9_]+)\b\s*(?:=\s*-?\d+\s*)?,", text)}
    ours = {prefix + member.name for name, prefix in ENUMS.items() for member in getattr(_enums, name)}
    assert declared <= ours


def test_the_version_is_the_projects():
    import ufm

    text = (ROOT / "CMakeLists.txt").read_text()
    assert f"project(ufm VERSION {ufm.__version__} " in text
    assert f"set(ufm_soversion {_library.FILE_NAME.rpartition('.')[2]})" in text
    assert ufm.__version__.split(".")[:2] == [str(part) for part in _library.VERSION]
    assert _library.version() == ufm.__version__


# ---------------------------------------------------------------- refusals


def refusal(python, path):
    """The line with which importing ufm over that library ends."""
    ended = python("import ufm", env={"UFM_LIBRARY": str(path)})
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    return last


def make_library(folder, code):
    source = folder / "other.c"
    source.write_text("#include <stddef.h>\n#include <string.h>\n" + code)
    path = folder / "libother.so"
    subprocess.run([compiler(), "-shared", "-fPIC", source, "-o", path], check=True)
    return path


def version_function(version):
    return f'const char *ufm_version(void) {{ return "{version}"; }}\n'


def test_a_file_that_is_not_there(python, tmp_path):
    told = refusal(python, tmp_path / "absent.so")
    assert "$UFM_LIBRARY" in told and "absent.so" in told and "No such file" in told and "libufm.so.2" in told


def test_a_file_that_is_no_library(python, tmp_path):
    (tmp_path / "text.so").write_text("no library\n")
    assert "text.so cannot be loaded" in refusal(python, tmp_path / "text.so")


def test_another_library(python):
    assert "no function ufm_version, expected a libufm" in refusal(python, "libm.so.6")


@pytest.mark.parametrize("version", ["0.2.0", "1.3.0", "0.30.0", ""])
def test_another_version(python, tmp_path, version):
    path = make_library(tmp_path, version_function(version))
    expected = ".".join(str(part) for part in _library.VERSION)
    assert f"version is {version}, expected {expected}" in refusal(python, path)


def test_a_function_is_missing(python, tmp_path):
    path = make_library(tmp_path, version_function(_library.version()))
    assert "no function ufm_struct_init, expected all of ufm.h" in refusal(python, path)


def test_a_struct_of_another_size(python, tmp_path):
    real = ctypes.sizeof(_structs.ufm_moe_call)
    sizes = "".join(
        f'if (strcmp(name, "{s.__name__}") == 0) return {ctypes.sizeof(s) + (s is _structs.ufm_moe_call) * 8};\n'
        for s in _structs.STRUCTS
    )
    code = version_function(_library.version()) + "size_t ufm_sizeof(const char *name) {\n" + sizes + "return 0;\n}\n"
    rest = set(_library.PROTOTYPES) - {"ufm_version", "ufm_sizeof"}
    code += "".join(f"int {name}(void) {{ return 0; }}\n" for name in sorted(rest))
    told = refusal(python, make_library(tmp_path, code))
    assert f"struct ufm_moe_call has {real + 8} bytes there, expected {real}" in told


# ---------------------------------------------------------------- where it is found


def test_the_library_beside_the_package_is_taken(python, tmp_path):
    shutil.copytree(ROOT / "python" / "ufm", tmp_path / "ufm", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "ufm" / "lib").mkdir()
    os.symlink(_library.PATH, tmp_path / "ufm" / "lib" / _library.FILE_NAME)
    ended = python("import ufm.core; print(ufm.core.PATH)", env={"UFM_LIBRARY": "", "PYTHONPATH": str(tmp_path)})
    assert (ended.stdout.strip(), ended.stderr) == (str(tmp_path / "ufm" / "lib" / _library.FILE_NAME), "")


def test_the_systems_library_is_taken_else(python):
    folder = os.path.dirname(_library.PATH)
    env = {"UFM_LIBRARY": "", "LD_LIBRARY_PATH": folder, "PYTHONPATH": str(ROOT / "python")}
    ended = python("import ufm.core; print(ufm.core.PATH)", env=env)
    assert (ended.stdout.strip(), ended.stderr) == (_library.FILE_NAME, "")


def test_no_library_anywhere(python):
    ended = python("import ufm", env={"UFM_LIBRARY": "", "LD_LIBRARY_PATH": "", "PYTHONPATH": str(ROOT / "python")})
    if ended.returncode == 0:
        pytest.skip("no peer: this system has a libufm of its own")
    assert "ImportError: libufm: libufm.so.2 cannot be loaded" in ended.stderr


def test_importing_loads_neither_torch_nor_transformers(python):
    code = "import sys, ufm, ufm.core; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    ended = python(code)
    assert (ended.stdout.strip(), ended.stderr) == ("[]", "")
