# What pyproject.toml cannot say of a wheel: its configs, and project URLs from the one variable that a fork sets.
#
# Needs:    setuptools 77 or newer, which pip installs for the build.
# Command:  pip install .      or, for a wheel under dist/:  pip wheel --no-deps --wheel-dir dist .
#           Setuptools finds the two classes by `tool.setuptools.cmdclass` in pyproject.toml; nobody runs this file.
#           MTJAX_REPOSITORY=https://... puts the URLs of a fork into the metadata.
# Expect:   Successfully installed mtjax-...; the wheel holds configs/ as mtjax/configs/.

"""The build commands of the wheel: `project_urls`, `WithUrls`, `WithConfigs`."""

import os
import pathlib
import re
import shutil

from setuptools.command.build_py import build_py
from setuptools.command.egg_info import egg_info

ROOT = pathlib.Path(__file__).parents[1]


def project_urls() -> dict[str, str]:
    """URLs of the project: of `MTJAX_REPOSITORY`, else of `REPOSITORY` in mtjax/__init__.py; none if that is empty."""
    own = re.search(r'^REPOSITORY = "(.*)"', (ROOT / "mtjax" / "__init__.py").read_text(), re.MULTILINE)
    repository = os.environ.get("MTJAX_REPOSITORY") or (own[1] if own else "")
    pages = {"Repository": "", "Documentation": "/blob/main/docs/index.md", "Issues": "/issues"}
    return {name: repository + page for name, page in pages.items()} if repository else {}


class WithUrls(egg_info):
    """Puts the project's URLs into the metadata, and what a wheel is made from into a source archive."""

    def run(self) -> None:
        self.distribution.metadata.project_urls = project_urls()
        super().run()

    def find_sources(self) -> None:
        super().find_sources()
        self.filelist.graft("configs")
        self.filelist.append("launch/wheel.py")
        self.filelist.global_exclude("*.pyc")


class WithConfigs(build_py):
    """Adds configs/ as mtjax/configs/, where `mtjax.io.config_file.shipped` finds them outside of a checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = pathlib.Path(self.build_lib) / "mtjax" / "configs"
            shutil.copytree(ROOT / "configs", target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
