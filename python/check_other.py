"""Fails where CERN's PQuantML, which installs a package of the same import name, is in the environment."""
import sys
from importlib import metadata

try:
    found = metadata.version("pquant-ml")
except metadata.PackageNotFoundError:
    sys.exit(0)
sys.exit(f"pquant-ml {found} is installed here and has a package 'pquant' too: one would overwrite the other; "
         "uninstall it, or use another virtual environment")
