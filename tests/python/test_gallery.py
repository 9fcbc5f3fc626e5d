"""The gallery runs, and its plots are those of docs/images."""
import os
import re
import subprocess
import sys

from conftest import ROOT

import pquant

PLOTS = ["gallery_btag.png", "gallery_low_rank.png", "gallery_sweep.png"]


def test_the_gallery_draws_what_the_page_shows(tmp_path):
    from PIL import Image
    done = subprocess.run([sys.executable, os.path.join(ROOT, "examples", "gallery.py"), str(tmp_path)], capture_output=True,
                          text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(os.listdir(tmp_path)) == PLOTS
    with open(os.path.join(ROOT, "docs", "python.md"), encoding="utf-8") as file:
        page = file.read()
    for name in PLOTS:
        assert f"(images/{name})" in page
        with Image.open(tmp_path / name) as made, Image.open(os.path.join(ROOT, "docs", "images", name)) as shown:
            assert made.size == shown.size and len(made.convert("L").getcolors()) > 10
    told = re.search(r"^original: .* rejection of light (\d+) at 70 %", done.stdout, re.M)
    model = pquant.load(os.path.join(ROOT, "datasets", "models", "btag-mlp.h5"))
    due = pquant.evaluate_model(model, os.path.join(ROOT, "datasets", "jets-btag.h5") + ":test")
    assert abs(int(told[1]) - due["btag.70.rejection_light"]) < 1
