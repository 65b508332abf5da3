# SPDX-License-Identifier: MIT
"""The built libufm.so in this process."""
import ctypes
import os

import pytest


def load():
    path = os.path.abspath(os.path.join(os.environ.get("UFM_BUILD_DIR", "build"), "libufm.so"))
    with open(path, "rb") as file:
        content = file.read()
    if b"__asan_init" in content or b"__tsan_init" in content:
        pytest.skip("not under a sanitizer, which python is not linked with")
    library = ctypes.CDLL(path)
    library.ufm_last_error.restype = ctypes.c_char_p
    library.ufm_bank_close.argtypes = [ctypes.c_void_p]
    return library
