"""Results of networks on people that they have not seen, as tables of a run; the calibrations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.cohort.candidates import lesions_of
from cmburden.cohort.scans import with_counts
from cmburden.core import table_set
from cmburden.core.config import read_yaml
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import read_json, write_json
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.tables import CANDIDATES, LESIONS, RUNS, SCANS
from cmburden.train import calibrate
from cmburden.train.tuning import scored
from cmburden.train.tuning.network import labelled_scans
from cmburden.train.tuning.places import EVERYBODY, Places, name_of
from cmburden.train.tuning.plan import Plan


def calibrated(places: Places, plan: Plan, left_out: tuple[int, ...]) -> dict[str, Any]:
    """Probability and thresholds for the networks that leave out ``left_out`` (a fold, or none).

    They are fitted on the people of every other fold j, as scored by the networks without
    ``left_out`` and j.
    """
    name = name_of(left_out)
    if places.fitted(name).exists():
        content: dict[str, Any] = read_json(places.fitted(name))
        return content
    judged = []
    for scan in labelled_scans(plan, places):
        fold = plan.fold[scan.participant_id]
        if fold not in left_out:
            source = places.network(name_of({*left_out, fold})) / "scored"
            judged.append((scan, scored.load(source, scan.scan_id)[0]))
    layout = places.unseen(f"calibration-{name}")
    write_run(layout, plan, judged, {})
    try:
        fitted = calibrate.fit(*calibrate.load_run([layout.root], [places.truth]))
    except ValueError as error:
        raise CMBurdenError(
            f"the probability of {name} cannot be fitted: the tuned networks find too few "
            f"microbleeds among its people ({error}); give fewer --folds or more labelled scans"
        ) from error
    write_json(places.fitted(name), fitted)
    return fitted


def out_of_fold(places: Places, plan: Plan) -> Layout:
    """Everybody's results by the networks and the probability that have not seen them."""
    judged, models = [], {}
    folds = plan.schedule.folds
    in_use = {k: scored.in_use(calibrated(places, plan, (k,))) for k in range(folds)}
    for scan in labelled_scans(plan, places):
        fold = plan.fold[scan.participant_id]
        rows, extents = scored.load(places.network(name_of([fold])) / "scored", scan.scan_id)
        rows = scored.by_probability(rows, extents, scan, plan.layout, in_use[fold])
        judged.append((scan, rows))
        models[scan.scan_id] = f"fold-{fold}"
    layout = places.unseen(EVERYBODY)
    write_run(layout, plan, judged, models)
    return layout


def write_run(
    layout: Layout,
    plan: Plan,
    judged: Iterable[tuple[Scan, pd.DataFrame]],
    models: Mapping[str, str],
) -> None:
    """Write the tables of the output folder of a run that evaluation and calibration read.

    ``judged`` are candidates by scan, ``models`` the id of the models by scan_id.
    """
    of_scan = {scan.scan_id: rows for scan, rows in judged}
    candidates = CANDIDATES.frame(pd.concat(list(of_scan.values()), ignore_index=True))
    base = SCANS.read(plan.layout.table("scans"))
    base = base[base["scan_id"].isin(of_scan)].reset_index(drop=True)
    kept = candidates[candidates["kept"].fillna(False).astype(bool)].reset_index(drop=True)
    lesions = LESIONS.frame(lesions_of(kept, base, plan.macrohaemorrhage_mm))
    ids = base["scan_id"].map(lambda name: models.get(name))
    scans = with_counts(base, lesions).assign(detector_id=ids, verifier_id=ids)
    CANDIDATES.write(layout.candidates, candidates)
    for table, rows in ((SCANS, SCANS.frame(scans)), (LESIONS, lesions), (RUNS, [])):
        table.write(layout.table(table.name), rows)
    # An evaluation reads the scanners from the sidecars of that folder.
    write_json(layout.config, {"bids_dir": _bids_dir(plan)})
    table_set.seal(layout)


def _bids_dir(plan: Plan) -> str | None:
    folder = read_yaml(plan.layout.config).get("bids_dir")
    return str(Path(folder).absolute()) if folder else None
