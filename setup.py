"""Lists the packages: pyproject.toml can map folders to import names, but cannot look for packages below them."""

import tomllib
from pathlib import Path

from setuptools import find_packages, setup

folders = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]
inner = [f"{name}.{package}" for name, folder in folders.items() for package in find_packages(folder)]
setup(packages=[*folders, *inner])
