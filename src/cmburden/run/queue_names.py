"""Keeps participants' ids out of what a cluster shows of a job to its other users.

Snakemake's executor for SLURM writes a job's wildcards, a scan's id among them, into the job's
comment (``squeue -o %k``) and into the path of its log (``scontrol show job``). It has no option
against that.
"""

from __future__ import annotations

import sys
from typing import Any

#: The executor's module, and its function that turns a job's wildcards into text.
PLUGIN, FUNCTION = "snakemake_executor_plugin_slurm", "get_job_wildcards"


def hide_ids() -> None:
    """Let comments and logs name the rule alone: ``rule_preprocess``, ``rule_preprocess/17.log``.

    Snakemake prints which SLURM job does which scan. Without the executor nothing is to do.

    Raises
    ------
    AttributeError
        Where the executor builds these names in another way than version 2.8.0 does.
    """
    plugin = sys.modules.get(PLUGIN)
    if plugin is not None:
        getattr(plugin, FUNCTION)
        setattr(plugin, FUNCTION, _without_wildcards)


def _without_wildcards(job: Any) -> str:
    return ""
