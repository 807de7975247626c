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
from cmburden.core import dataset, remake, resources, table_set
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import whole_file
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.run import lock, settings
from cmburden.run.plan import Plan, raise_gc_thresholds

#: Environment variable of the Snakemake process that the command line starts. The variable says
#: that the run has begun.
BEGUN = "CMBURDEN_BEGUN"
#: Snakemake's options for a run that does nothing. A Snakefile cannot ask for them otherwise.
_DRY_RUN = {"-n", "--dry-run", "--dryrun"}


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

    A file is written only if its content changed, so that no job runs again without need. Tables
    that a killed run left torn are given up, so that this run makes them again.
    """
    from cmburden.review import store
    from cmburden.run import part

    scans = part.index(bids, layout, config)
    store.export(layout)
    for problem in store.problems_of(layout):
        print(f"cmburden: warning: {problem}", file=sys.stderr, flush=True)
    if warned := _unlike_adapted(layout, config):
        print(f"cmburden: warning: {warned}", file=sys.stderr, flush=True)
    dataset.write_description(layout, bids)
    _write_region_names(layout)
    table_set.give_up_if_torn(layout)
    return scans


def _unlike_adapted(layout: Layout, config: dict[str, Any]) -> str | None:
    """A sentence where the scans are unlike those that a model of ``config`` was adapted to."""
    from cmburden.core.tables import MANIFEST
    from cmburden.models import adapted
    from cmburden.models.contract import contract_of

    contracts = [contract_of(config, stage) for stage in ("verify", "detect")]
    chosen = next((one for one in contracts if one and one.get("adapted_to")), None)
    manifest = layout.part if config["analysis_level"] == "part" else layout.manifest
    if chosen is None or not manifest.exists():
        return None
    return adapted.warning(chosen, MANIFEST.read(manifest))


def _write_region_names(layout: Layout) -> None:
    """Write names and colours of the regions' values, which all scans share."""
    from cmburden.space import lookup

    names = lookup.of_regions()
    texts = {
        "tsv": lookup.as_tsv(names, ("group", "hemisphere")),
        "itksnap.txt": lookup.as_itksnap(names),
    }
    for ending, text in texts.items():
        path = layout.region_names(ending)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            with whole_file(path) as temporary:
                temporary.write_text(text, encoding="utf-8")


def with_level(layout: Layout, config: dict[str, Any]) -> dict[str, Any]:
    """``config`` with the level ``part`` where the tables are of more than it asks for."""
    from cmburden.run import part

    if config["analysis_level"] != "group" and part.is_part(layout, config):
        return config | {"analysis_level": "part"}
    return config


def remember(layout: Layout, chosen: settings.Settings, config: dict[str, Any]) -> None:
    """Write the configuration of the run, and, unless it is of a part, the folder's settings."""
    configuration.write(config, layout.run_config)
    if config["analysis_level"] != "part":
        configuration.write(chosen.kept(), layout.config)


def remake_damaged(layout: Layout, config: dict[str, Any], *, dry_run: bool = False) -> None:
    """Have Snakemake make those scans anew of which a file was damaged when the last run read it.

    A dry run says so and removes nothing.
    """
    marked = remake.marked(layout) if dry_run else remake.forget_marked(layout, config["buckets"])
    if marked:
        print(f"{len(marked)} scans are made anew, since a file of theirs was damaged: {marked[0]}")


def plan_for_snakemake(overrides: dict[str, Any], *, main: bool) -> Plan:
    """The plan for Snakemake's configuration ``overrides``.

    The main process begins the run, unless the command line has begun it: with the folder's
    settings and its lock, as the command line does. A job (``main`` is false) takes the
    configuration of the run and the manifest as they are.
    """
    layout = Layout(overrides.get("output_dir") or "derivatives")
    if not main:
        base = configuration.defaults()
        if layout.run_config.exists():
            base = configuration.merge(base, configuration.read_yaml(layout.run_config))
        return Plan(configuration.merge(base, overrides))
    raise_gc_thresholds()
    if os.environ.get(BEGUN):
        return Plan(configuration.load(dict(overrides)))
    try:
        return _begun_by_snakemake(dict(overrides), layout)
    except CMBurdenError as error:
        print(f"cmburden: {error}", file=sys.stderr)
        sys.exit(2)


def _begun_by_snakemake(overrides: dict[str, Any], layout: Layout) -> Plan:
    """Begin a run that Snakemake started, as `cmburden run` would."""
    chosen = settings.of(layout, overrides)
    config = chosen.config
    if not config["bids_dir"]:
        return Plan(config)
    if config["analysis_level"] == "group":
        raise CMBurdenError(
            f"analysis_level group: use cmburden run {config['bids_dir']} {layout.root} group"
        )
    lock.hold(layout)
    notes = chosen.notes()
    moved = settings.check_bids_dir(layout, chosen)
    for note in [*notes, *([moved] if moved else [])]:
        print(f"cmburden: {note}", file=sys.stderr)
    config = with_level(layout, config)
    check_models(config)
    begin(Path(config["bids_dir"]), layout, config)
    if _DRY_RUN.intersection(sys.argv):
        configuration.write(config, layout.run_config)
    else:
        remember(layout, chosen, config)
    return Plan(config)
