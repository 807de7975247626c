"""What is said to be cheap to import loads none of the slow libraries."""

import subprocess
import sys

import pytest

SLOW = {"pandas", "numpy", "torch", "ants", "scipy", "pyarrow"}


@pytest.mark.parametrize(
    ("module", "slow"),
    [
        ("cmburden.core.text", SLOW),
        ("cmburden.follow.sessions", SLOW),
        ("cmburden.run.plan", {"torch", "ants"}),
        ("cmburden.models.contract", {"torch", "ants"}),
    ],
)
def test_a_cheap_module_loads_no_slow_library(module, slow):
    program = f"import sys, {module}; print(*sorted({slow!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
