"""Pythia 8's wheel, imported from the generator's folder: when it starts it runs a file of the working folder,
python/meson.build, as a program, and that may be anybody's."""
import os

_before = os.getcwd()
os.chdir(os.path.dirname(os.path.abspath(__file__)))
try:
    import pythia8mc
finally:
    os.chdir(_before)

__all__ = ["pythia8mc"]
