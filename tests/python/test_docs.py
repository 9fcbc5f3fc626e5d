"""Every block of docs/python.md runs, one after the other."""
import os
import re

from conftest import ROOT


def test_every_block_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with open(os.path.join(ROOT, "docs", "python.md"), encoding="utf-8") as file:
        text = file.read()
    blocks, names = list(re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S)), {"__name__": "docs"}
    assert len(blocks) >= 7
    for block in blocks:
        line = text[:block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], os.path.join(ROOT, "docs", "python.md"), "exec"), names)  # noqa: S102
    out = capsys.readouterr().out
    assert "did you mean 'low_rank'" in out and os.path.exists("compressed.h5")
