"""meson-python, whose editable installations outlive the environment that pip builds them in.

An editable package is built again at import where its C sources have changed, by the meson that built it first. Where that
came from an isolated environment, which pip removes, it is copied beside the build.
"""
import os
import shutil
import sys
import sysconfig

import mesonpy
from mesonpy import (build_sdist, build_wheel, get_requires_for_build_editable, get_requires_for_build_sdist,
                     get_requires_for_build_wheel)

__all__ = ["build_editable", "build_sdist", "build_wheel", "get_requires_for_build_editable",
           "get_requires_for_build_sdist", "get_requires_for_build_wheel"]

_SCRIPT = """#!{python}
import sys
sys.path.insert(0, {packages!r})
from mesonbuild.mesonmain import main
sys.exit(main())
"""


def _keep_tools(folder: str) -> None:
    """Copies meson, and a ninja beside it, into the folder and puts that first in PATH."""
    import mesonbuild
    packages = os.path.dirname(os.path.dirname(os.path.abspath(mesonbuild.__file__)))
    if packages in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")) or packages.startswith("/usr/lib/"):
        return  # it stays where it is
    scripts = os.path.dirname(shutil.which("meson") or "")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(os.path.dirname(os.path.abspath(mesonbuild.__file__)), os.path.join(folder, "packages", "mesonbuild"))
    if os.path.exists(os.path.join(scripts, "ninja")):
        shutil.copy(os.path.join(scripts, "ninja"), folder)
    script = os.path.join(folder, "meson")
    with open(script, "w", encoding="utf-8") as file:
        file.write(_SCRIPT.format(python=sys.executable, packages=os.path.join(folder, "packages")))
    os.chmod(script, 0o755)
    os.environ["PATH"] = folder + os.pathsep + os.environ["PATH"]


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """As meson-python does, with tools that stay."""
    _keep_tools(os.path.abspath(os.path.join("build", "tools")))
    return mesonpy.build_editable(wheel_directory, config_settings, metadata_directory)
