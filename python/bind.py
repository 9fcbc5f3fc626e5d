"""Writes the C source of the binding from the public header: bind.py HEADER OUTPUT."""
import re
import sys

import cffi

CALLBACKS = """
extern "Python" int pquant_on_progress(void *, const char *, size_t, size_t, const char *);
extern "Python" void pquant_on_change(void *, const char *, const char *, const char *);
int setenv(const char *, const char *, int);
"""


def declarations(header: str) -> str:
    """What cffi reads: no comments, no preprocessor, no linkage."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    text = re.sub(r"^#.*?(?<!\\)$", "", text, flags=re.S | re.M)
    text = re.sub(r'extern "C" \{|^\}$', "", text, flags=re.M)
    return text.replace("PQUANT_API ", "")


def main() -> None:
    header, output = sys.argv[1:]
    ffi = cffi.FFI()
    with open(header, encoding="utf-8") as file:
        ffi.cdef(declarations(file.read()) + CALLBACKS)
    ffi.set_source("pquant._native", '#include <pquant.h>\n#include <stdlib.h>\n', py_limited_api=True)
    ffi.emit_c_code(output)


main()
