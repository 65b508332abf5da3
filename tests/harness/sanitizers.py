# SPDX-License-Identifier: MIT
"""What a program that was not built with a sanitizer needs to load a library that was."""
import os
import re
import subprocess

_KIND = re.compile(r"^UFM_SANITIZE:\w+=(.*)$", re.MULTILINE)
_RUNTIME = re.compile(r"lib(?:asan|ubsan)\.so\S* => (\S+)")


def of_build(build):
    """ "", or the sanitizers that a build was configured with."""
    try:
        with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8") as cache:
            found = _KIND.search(cache.read())
    except OSError:
        return ""
    return found[1].strip() if found else ""


def preloading(library, env):
    """The environment in which any program can load the library; None where none is known.

    The runtime must come first in a process. What the interpreter itself does not free is not looked for.
    """
    listed = subprocess.run(["ldd", library], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    runtimes = _RUNTIME.findall(listed.stdout)
    if not runtimes:
        return None
    return dict(env, LD_PRELOAD=" ".join(runtimes), ASAN_OPTIONS="detect_leaks=0")
