"""One cluster for all tests here; none where packages or root are missing."""

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import cluster as slurm_cluster


@pytest.fixture(scope="session")
def cluster():
    reason = slurm_cluster.missing()
    if reason:
        pytest.skip(f"no SLURM here: {reason}")
    with slurm_cluster.cluster() as one, pytest.MonkeyPatch.context() as patch:
        for key, value in one.environment.items():
            patch.setenv(key, value)
        # A CI that runs out of time sends SIGTERM: jobs, which are no children of ours, are to end.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        yield one
        signal.signal(signal.SIGTERM, before)
