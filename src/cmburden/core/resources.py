"""Where files lie that are no code: of this package, and of packages that it needs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def root() -> Path:
    """The folder that holds ``Snakefile``; relative paths of the configuration start there.

    Snakefile, workflow, config and models lie in the checkout, or as a copy in the wheel.
    """
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent.parent
    return checkout if (checkout / "Snakefile").exists() else package / "bundled"


def folder_of(package: str) -> Path:
    """The folder of an installed ``package``, which is not imported.

    Raises
    ------
    ModuleNotFoundError
        Where the package is not installed.

    >>> (folder_of("numpy") / "__init__.py").exists()
    True
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}")
    return Path(spec.origin).parent
