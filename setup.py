"""What pyproject.toml cannot say: the configs in a wheel, and project URLs from the one variable that a fork sets."""

import os
import pathlib
import re
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = pathlib.Path(__file__).parent
REPOSITORY = (
    os.environ.get("MTJAX_REPOSITORY")
    or re.search(r'^REPOSITORY = "(.*)"', (ROOT / "mtjax" / "__init__.py").read_text(), re.MULTILINE)[1]
)


class WithConfigs(build_py):
    """Adds configs/ as mtjax/configs/, where `mtjax.io.config_file.shipped` finds them outside of a checkout."""

    def run(self):
        super().run()
        if not self.editable_mode:
            shutil.copytree(
                ROOT / "configs", pathlib.Path(self.build_lib) / "mtjax" / "configs",
                ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True,
            )  # fmt: skip


setup(
    cmdclass={"build_py": WithConfigs},
    project_urls={
        "Repository": REPOSITORY,
        "Documentation": f"{REPOSITORY}/blob/main/docs/index.md",
        "Issues": f"{REPOSITORY}/issues",
    } if REPOSITORY else {},
)  # fmt: skip
