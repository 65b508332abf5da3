# SPDX-License-Identifier: MIT
"""The program in the README compiles against the public header and runs."""
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("UFM_BUILD_DIR", ROOT / "build")).resolve()


def test_the_embedding_program(tmp_path):
    programs = re.findall(r"```c\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(programs) == 1
    source, program = tmp_path / "embed.c", tmp_path / "embed"
    source.write_text(programs[0])
    subprocess.run(["cc", "-std=c17", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/include", source,
                    f"-L{BUILD}", f"-Wl,-rpath,{BUILD}", "-lufm", "-o", program], check=True)
    result = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert re.search(r"experts streamed: [1-9]", result.stdout)
