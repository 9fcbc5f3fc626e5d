#!/usr/bin/env python3
"""Files as C arrays: embed.py OUT FILE…; page.css becomes `static const char page_css[]`, with a NUL behind."""
import os
import sys

with open(sys.argv[1], "w", encoding="ascii") as out:
    for path in sys.argv[2:]:
        with open(path, "rb") as file:
            data = file.read() + b"\0"
        out.write(f"static const char {os.path.basename(path).replace('.', '_')}[] = {{\n")
        for i in range(0, len(data), 24):
            out.write(",".join(str(b if b < 128 else b - 256) for b in data[i:i + 24]) + ",\n")
        out.write("};\n")
