"""Marks by folder: who adds a test to a folder need not remember the mark."""

from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).resolve().parent
#: Marks of all tests in a folder beside this file (pyproject.toml says what each means).
MARKS = {"browser": ("browser",), "slurm": ("slurm", "slow"), "workflow": ("slow",)}

# `make quick` asks each property a quarter as often as `make test`.
settings.register_profile("quick", max_examples=25)

# Doctests are collected from every module, and the folders' conftest.py have one module name.
collect_ignore = ["conftest.py"]
#: Folders whose tests share what only one process may have: a cluster with its ports.
TOGETHER = ("slurm",)


# Before pytest-xdist's own, which reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the marks of its folder, and the group of tests that one process runs."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        for mark in MARKS.get(folder, ()):
            item.add_marker(mark)
        # A module's fixtures, such as a cohort that was run, are made once.
        name = folder if folder in TOGETHER else str(item.path)
        item.add_marker(pytest.mark.xdist_group(name))
