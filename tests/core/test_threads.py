"""Threads are bounded in a process that has loaded its numeric libraries already."""

import os
import subprocess
import sys

import pytest

#: NumPy is loaded before the bound, as in a job; torch before or after.
PROGRAM = """
import sys
import numpy as np
{before}
from cmburden.core.threads import bound_threads
import threadpoolctl
np.ones((64, 64)) @ np.ones((64, 64))
bound_threads({number})
import torch
pools = threadpoolctl.threadpool_info()
assert any(pool["user_api"] == "blas" for pool in pools), pools
print({{pool["num_threads"] for pool in pools}} | {{torch.get_num_threads()}})
"""


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "import torch"])
def test_blas_openmp_and_torch_obey(before):
    program = PROGRAM.format(before=before, number=1)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "{1}", done.stdout + done.stderr


@pytest.mark.slow
def test_a_job_bounds_its_process(tmp_path):
    program = f"""
import numpy as np
from cmburden.run import jobs
import threadpoolctl
with jobs.logged({str(tmp_path / "log")!r}, 1):
    pools = threadpoolctl.threadpool_info()
blas = [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]
assert blas and set(blas) == {{1}}, pools
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr
