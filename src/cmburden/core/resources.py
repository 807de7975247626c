"""Where Snakefile, workflow, config and models lie: the checkout, or the wheel's own copy."""

from __future__ import annotations

from pathlib import Path


def root() -> Path:
    """The folder that holds ``Snakefile``; relative paths of the configuration start there."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent.parent
    return checkout if (checkout / "Snakefile").exists() else package / "bundled"
