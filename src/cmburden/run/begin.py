"""Begins a run: checks the models, indexes the tree, exports decisions, describes the dataset.

The Snakefile imports this module in every job. Slow libraries are therefore imported where a
function needs them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from cmburden.core import config as configuration
from cmburden.core import dataset, resources
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.run import queue_names
from cmburden.run.plan import Plan, raise_gc_thresholds

#: Environment variable of the Snakemake process that the command line starts. The variable says
#: that the run has begun.
BEGUN = "CMBURDEN_BEGUN"


def check_models(config: dict[str, Any]) -> None:
    """Raise CMBurdenError if a stage cannot use the model that ``config`` names for it.

    The thresholds of ``config`` are checked as merged with those of the verifier's contract.
    """
    from cmburden.detect.contract import of_detector
    from cmburden.verify.contract import of_verifier, thresholds_of

    of_detector(resources.root() / config["detect"]["model"])
    thresholds_of(of_verifier(resources.root() / config["verify"]["model"]), config["verify"])


def begin(bids: Path, layout: Layout, config: dict[str, Any]) -> list[Scan]:
    """Index the tree, export the readers' decisions, describe the dataset; return the scans.

    A file is written only if its content changed, so that no job runs again without need.
    """
    from cmburden.index import stage as index
    from cmburden.review import store

    scans = index.run(bids, layout, config)
    store.export(layout)
    for problem in store.problems_of(layout):
        print(f"cmburden: warning: {problem}", file=sys.stderr, flush=True)
    dataset.write_description(layout, bids)
    return scans


def plan_for_snakemake(overrides: dict[str, Any], *, main: bool) -> Plan:
    """The plan for Snakemake's configuration ``overrides``.

    The main process checks the configuration and begins the run, unless the command line has begun
    it. A job (``main`` is false) takes configuration and manifest as they are.
    """
    if not main:
        return Plan(configuration.merge(configuration.defaults(), overrides))
    raise_gc_thresholds()
    queue_names.hide_ids()
    config = configuration.load(dict(overrides))
    if config["bids_dir"] and not os.environ.get(BEGUN):
        check_models(config)
        begin(Path(config["bids_dir"]), Layout(config["output_dir"] or "derivatives"), config)
    return Plan(config)
