"""What is learnt from: the participants' scans with drawn lesions, and simulated slabs beside.

A scan's lesions depend on the seed and on the scan alone: an adaptation that was killed goes on
with the same ones. Files that are there are whole.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmburden.adapt.judged import Known
from cmburden.adapt.parts import ADAPT
from cmburden.adapt.places import Places
from cmburden.adapt.plan import Plan, Study, Subject
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import write_json
from cmburden.core.keys import seed_of
from cmburden.core.paths import Layout
from cmburden.insert import lesions
from cmburden.insert.copies import LeftOut
from cmburden.insert.lesions import Background, Wish
from cmburden.insert.transplant import Donor
from cmburden.train import slabs
from cmburden.train.slabs import FAINT, MICROBLEED, Slab, Spheres
from cmburden.train.tuning.network import link
from cmburden.train.tuning.places import finished
from cmburden.verify.stage import ScanAnatomy

#: Height of simulated slabs, mm, as `cmburden train dataset` has it.
_EXTENT_MM = (32.0, 56.0)
#: Every so many simulated slabs one is held out, and most of them.
_HELD_OUT_EVERY, _MOST_HELD_OUT = 6, 12
#: Least share of the scans to adapt to that have room for lesions. By choice.
_LEAST_WITH_ROOM = 0.5


def draw(
    subject: Subject,
    anatomy: ScanAnatomy,
    renderers: Collection[str],
    library: Sequence[Donor],
    wish: Wish,
    *words: Any,
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The prepared volume with lesions of some renderers, and their rows as those of `inserted`.

    ``words`` name the draw. Raises LeftOut where there is no room.
    """
    background = Background(
        subject.scan,
        subject.acquisition,
        subject.avoided,
        anatomy.prepared,
        anatomy.regions,
        anatomy.transform,
    )
    rng = np.random.default_rng(seed_of("adapt", wish.seed, subject.scan.scan_id, *words))
    return lesions.into_prepared(background, library, wish, renderers, rng)


def slab_of(
    subject: Subject, anatomy: ScanAnatomy, volume: np.ndarray, rows: list[dict[str, Any]]
) -> Slab:
    """The training slab of a copy: drawn lesions, and what is known of the scan's detections.

    Drawn lesions that no reader would see are left out, as faint ones of the simulator are.
    """
    # The module loads the simulator, which takes seconds.
    from cmburden.train.dataset import About, make_slab

    drawn = [
        Known(
            (row["x_mm"], row["y_mm"], row["z_mm"]),
            row["diameter_mm"] / 2,
            MICROBLEED if row["visible"] else FAINT,
        )
        for row in rows
    ]
    sources = [*drawn, *subject.known]
    scan, prepared = subject.scan, anatomy.prepared
    return make_slab(
        volume,
        prepared.mask,
        prepared.affine,
        Spheres(
            np.array([one.at for one in sources], dtype=float).reshape(-1, 3),
            np.array([one.radius_mm for one in sources], dtype=float),
        ),
        [one.kind for one in sources],
        About(scan.cohort, scan.contrast, scan.participant_id),
    )


def make(places: Places, plan: Plan, study: Study) -> None:
    """Write and link all slabs that are learnt from, and those that are held out."""
    _make_own(places, plan, study)
    folder = places.simulated if plan.slabs is None else Path(plan.slabs)
    if plan.slabs is None:
        _simulate(places, plan.schedule.simulated, plan.schedule.seed)
    held_out = 0
    for number, path in enumerate(slabs.slab_files(folder)):
        name = path.name.replace("slab-", "slab-simulated-", 1)
        if number % _HELD_OUT_EVERY == 0 and held_out < _MOST_HELD_OUT:
            held_out += 1
            link(path, places.held_out, name)
        else:
            link(path, places.network / "slabs", name)
    for path in slabs.slab_files(places.slabs):
        link(path, places.network / "slabs")


def _make_own(places: Places, plan: Plan, study: Study) -> None:
    """Write slabs of the scans to adapt to.

    Raises CMBurdenError where few of them have room for lesions.
    """
    if finished(places.slabs).exists():
        return
    subjects, schedule = study.of(ADAPT), plan.schedule
    full = []
    for subject in subjects:
        if not _slabs_of(subject, places, plan):
            full.append(subject.scan.scan_id)
    if len(subjects) - len(full) < _LEAST_WITH_ROOM * len(subjects):
        raise CMBurdenError(
            f"{plan.layout.root}: {len(full)} of {len(subjects)} scans to adapt to have no room "
            f"for a lesion, such as {full[0]}: lesions and candidates lie near every place; adapt "
            "to more scans, or tune on labelled ones (cmburden tune)"
        )
    write_json(finished(places.slabs), {"without_room": full, "draws": schedule.draws})


def _slabs_of(subject: Subject, places: Places, plan: Plan) -> int:
    """Write the slabs of a scan; how many there are."""
    schedule, scan_id = plan.schedule, subject.scan.scan_id
    paths = [slabs.slab_path(places.slabs, f"{scan_id}-{draw}") for draw in range(schedule.draws)]
    if all(path.exists() for path in paths):
        return len(paths)
    anatomy = anatomy_of(subject, plan.layout)
    wish = Wish(schedule.seed, schedule.lesions)
    written = 0
    for number, path in enumerate(paths):
        if not path.exists():
            try:
                volume, rows = draw(
                    subject, anatomy, [schedule.renderer], (), wish, "learn", number
                )
            except LeftOut as reason:
                print(f"{scan_id}: left out. {reason}", flush=True)
                return 0
            slabs.save(path, slab_of(subject, anatomy, volume, rows))
            print(f"{path.name}: {len(rows)} lesions drawn", flush=True)
        written += 1
    return written


def anatomy_of(subject: Subject, layout: Layout) -> ScanAnatomy:
    """What the run made of a scan; CMBurdenError where it cannot be read."""
    from cmburden.core.errors import ScanError

    try:
        return ScanAnatomy.read(subject.scan, layout)
    except ScanError as error:
        raise CMBurdenError(f"{subject.scan.scan_id}: cannot be adapted to: {error}") from error


def _simulate(places: Places, number: int, seed: int) -> None:
    """Simulate slabs of the training's acquisitions over the template's anatomy."""
    if finished(places.simulated).exists():
        return
    from cmburden.simulate import anatomy as an
    from cmburden.train.dataset import Choice, training_slab

    for count in range(number):
        path = slabs.slab_path(places.simulated, count)
        if not path.exists():
            slab = training_slab(an.load(None), seed_of("adapt", seed, count), Choice(_EXTENT_MM))
            slabs.save(path, slab)
            print(f"{path.name}: simulated, {count + 1} of {number}", flush=True)
    write_json(finished(places.simulated), {"slabs": number})
