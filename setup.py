"""Puts the folders that lie beside the packages into the wheel; all else is in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BESIDE = ("templates", "demo/pagoda-demo", "demo/pagoda-demo-draft", "demo/adapters")


class BuildWithFolders(build_py):
    """`inference_site/paths.py` finds them beside the packages or, installed, inside."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for folder in filter(Path.is_dir, map(Path, BESIDE)):
            target = Path(self.build_lib) / "inference_site" / folder
            shutil.copytree(folder, target, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithFolders})
