"""Marks by folder: who adds a test to a folder need not remember the mark."""

from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).resolve().parent
#: Marks of all tests in a folder beside this file (pyproject.toml says what each means).
MARKS = {"browser": ("browser",), "slurm": ("slurm", "long"), "workflow": ("slow",)}

# `make quick` asks each property a quarter as often as `make test`.
settings.register_profile("quick", max_examples=25)

# Doctests are collected from every module, and the folders' conftest.py have one module name.
collect_ignore = ["conftest.py"]


#: Folders whose files take minutes each: they begin first, so that no process waits at the end.
LONGEST = ("workflow", "slurm")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the marks of its folder, and put the longest files first."""
    folders = [HERE / name for name in LONGEST]
    items.sort(key=lambda item: not any(item.path.is_relative_to(folder) for folder in folders))
    for item in items:
        if item.path.is_relative_to(HERE):
            for mark in MARKS.get(item.path.relative_to(HERE).parts[0], ()):
                item.add_marker(mark)
