"""Participants by the counts of the readers, and the part of them that readers read free-hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cmburden.cohort.patterns import boston_column, pattern_of
from cmburden.cohort.places import POSSIBLE, definite
from cmburden.cohort.verdicts import Verdicts
from cmburden.core.keys import seed_of
from cmburden.core.paths import Layout
from cmburden.core.tables import FREE_HAND_SAMPLE, PARTICIPANTS
from cmburden.space.regions import UNKNOWN
from cmburden.summary import bins, reading
from cmburden.summary.cohort import ByReaders


def with_pattern(participants: pd.DataFrame, verdicts: Verdicts) -> pd.DataFrame:
    """`participants` with ``pattern_reviewed``, null where the count is not settled."""
    groups = _groups(verdicts)
    settled = participants["n_cmb_reviewed"].notna()
    pattern = [
        pattern_of(groups.get(scan_id, [])) if is_settled else None
        for scan_id, is_settled in zip(participants["scan_id"], settled, strict=True)
    ]
    return participants.assign(pattern_reviewed=pd.Series(pattern, participants.index, object))


def by_readers(
    participants: pd.DataFrame,
    lesions: pd.DataFrame,
    verdicts: Verdicts,
    sample: pd.DataFrame,
    config: dict[str, Any],
) -> ByReaders | None:
    """The cohort by the readers' counts; None where no participant's count is settled.

    ``participants`` with ``pattern_reviewed``, and ``lesions``, of their contracts; ``sample`` of
    `free_hand_sample`.
    """
    people = _people(participants, verdicts, config)
    if not people["scan_id"].notna().any():
        return None
    return ByReaders(
        PARTICIPANTS.frame(people),
        _microbleeds(verdicts, lesions),
        _part(participants, lesions, verdicts, sample),
    )


def _people(participants: pd.DataFrame, verdicts: Verdicts, config: dict[str, Any]) -> pd.DataFrame:
    """`participants` with the readers' counts as counts; the others have no usable scan."""
    places = verdicts.places
    large = possible = pd.Series(dtype=int)
    if len(places):
        large = places[places["reviewed_class"] == "haemorrhage"].groupby("scan_id").size()
        possible = places[places["reviewed_class"] == POSSIBLE].groupby("scan_id").size()
    settled = participants["n_cmb_reviewed"].notna()
    usable = participants["scan_id"].notna()
    open_ = participants["n_review_open"].fillna(0) > 0
    # Its scan is sound: what is missing is the readers' word.
    reason = participants["missing_reason"].astype(object)
    reason = reason.mask(usable & ~settled & open_, "count_not_settled")
    reason = reason.mask(usable & ~settled & ~open_, "not_read")
    scan_id = participants["scan_id"]
    counts = participants["n_cmb_reviewed"]
    edges = config["report"]["bins"]
    people = participants.assign(
        n_cmb=counts,
        n_possible=scan_id.map(possible).fillna(0).astype("Int64").where(settled),
        n_macrohaemorrhage=scan_id.map(large).fillna(0).astype("Int64").where(settled),
        pattern=participants["pattern_reviewed"],
        cmb_bin=bins.binned(counts, edges, bins.bin_labels(edges)),
        missing_reason=reason,
    )
    people = people.assign(scan_id=scan_id.where(settled))
    return people.assign(boston_imaging=boston_column(people, _haemorrhagic(verdicts)))


def _groups(verdicts: Verdicts) -> dict[str, list[str]]:
    """Groups of the readers' microbleeds of each scan."""
    places = verdicts.places
    if not len(places):
        return {}
    real = places[definite(places)]
    groups: dict[str, list[str]] = (
        real["group"].fillna(UNKNOWN.group).groupby(real["scan_id"]).agg(list).to_dict()
    )
    return groups


def _haemorrhagic(verdicts: Verdicts) -> pd.DataFrame:
    """Places of the readers' microbleeds and larger haemorrhages, with a region."""
    places = verdicts.places
    if not len(places):
        return pd.DataFrame(columns=["scan_id", "label", "region"])
    real = definite(places) | (places["reviewed_class"] == "haemorrhage")
    region = places.loc[real, "region"].fillna(UNKNOWN.name)
    return places.loc[real, ["scan_id"]].assign(label="definite", region=region)


def _microbleeds(verdicts: Verdicts, lesions: pd.DataFrame) -> pd.DataFrame:
    """The readers' microbleeds as rows of `lesions`, as far as the estimates read these.

    The place in MNI152 is the software's; a lesion that readers added has none.
    """
    places = verdicts.places[verdicts.places["microbleed"].eq(True)]
    keys = ["scan_id", "lesion_id"]
    where = lesions[[*keys, "mni_x", "mni_y", "mni_z"]]
    merged = places.astype({"lesion_id": "Int64"}).merge(
        where.astype({"lesion_id": "Int64"}), on=keys, how="left"
    )
    return merged.assign(
        label=merged["reviewed_class"].eq(POSSIBLE).map({True: "possible", False: "definite"}),
        macrohaemorrhage=False,
        region=merged["region"].fillna(UNKNOWN.name),
        group=merged["group"].fillna(UNKNOWN.group),
        hemisphere=merged["hemisphere"].fillna("unknown"),
    )


# --- the part that was read ---


def read_sample(layout: Layout) -> pd.DataFrame:
    """`free_hand_sample` of the output folder; empty where none was drawn."""
    path = layout.free_hand_sample
    return FREE_HAND_SAMPLE.read(path) if path.exists() else FREE_HAND_SAMPLE.frame([])


def frame_of(
    participants: pd.DataFrame,
    lesions: pd.DataFrame,
    verdicts: Verdicts,
    seed: int,
    sample: pd.DataFrame,
) -> pd.DataFrame:
    """`free_hand_sample` of the participants' chosen scans; rows of ``sample`` stay as they are.

    ``participants`` and ``lesions`` (scan_id, probability of definite and possible ones). The
    class is by the software's probabilities, or, where the readers settled all lesions of all
    these scans, by what they upheld.
    """
    usable = participants[participants["scan_id"].notna()]
    usable = usable[~usable["scan_id"].isin(sample["scan_id"])].sort_values("scan_id")
    ids = list(usable["scan_id"])
    of_scan = lesions[lesions["scan_id"].isin(ids)]
    expected = _expected(ids, of_scan, verdicts)
    rows = pd.DataFrame(
        {
            "scan_id": ids,
            "participant_id": list(usable["participant_id"]),
            "contrast": list(usable["contrast"]),
            "reading_class": reading.class_of(expected),
            "expected": expected,
            "number": [_random_number(seed, scan_id) for scan_id in ids],
        }
    )
    both = [part for part in (sample, rows) if len(part)]
    whole = pd.concat(both, ignore_index=True) if both else rows
    return FREE_HAND_SAMPLE.frame(whole.sort_values("scan_id", ignore_index=True))


def _random_number(seed: int, scan_id: str) -> float:
    return float(np.random.default_rng(seed_of("free-hand", seed, scan_id)).random())


def _expected(ids: list[str], lesions: pd.DataFrame, verdicts: Verdicts) -> np.ndarray:
    """Probability that each scan has a microbleed, float (ids,)."""
    place = pd.Series(range(len(ids)), index=ids, dtype=int)
    upheld = _upheld(lesions, verdicts)
    probability = lesions["probability"] if upheld is None else upheld
    scan = place.reindex(lesions["scan_id"]).to_numpy(int)
    return reading.any_of(scan, probability.to_numpy(float), len(ids))


def _upheld(lesions: pd.DataFrame, verdicts: Verdicts) -> pd.Series | None:
    """1.0 for each lesion that readers hold for a microbleed, else 0.0; None where not all of them
    are settled: classes of a part would depend on who was read."""
    places = verdicts.places
    if not len(places) or not len(lesions):
        return None
    of_software = places[places["lesion_id"].notna() & places["microbleed"].notna()]
    keys = ["scan_id", "lesion_id"]
    verdict = {
        (scan, int(number)): float(is_one)
        for scan, number, is_one in of_software[[*keys, "microbleed"]].itertuples(index=False)
    }
    wanted = [(scan, int(number)) for scan, number in lesions[keys].itertuples(index=False)]
    if any(key not in verdict for key in wanted):
        return None
    return pd.Series([verdict[key] for key in wanted], index=lesions.index)


def _part(
    participants: pd.DataFrame, lesions: pd.DataFrame, verdicts: Verdicts, sample: pd.DataFrame
) -> pd.DataFrame:
    """Usable participants by id, with ``reading_class``, ``expected`` and ``read``."""
    frame = frame_of(participants, lesions, verdicts, 0, sample).set_index("scan_id")
    usable = participants[participants["scan_id"].notna()].set_index("participant_id")
    settled = usable["n_cmb_reviewed"].notna()
    hand = read_free_hand(verdicts.readings)
    chosen = frame.loc[usable["scan_id"]]
    return pd.DataFrame(
        {
            "contrast": usable["contrast"],
            "reading_class": chosen["reading_class"].to_numpy(int),
            "expected": reading.expected_of(chosen["expected"].to_numpy(float)),
            "read": usable["scan_id"].isin(hand) & settled,
            "stratified": len(sample) > 0,
        },
        index=usable.index,
    )


def read_free_hand(readings: pd.DataFrame) -> set[str]:
    """Scans that a reader read free-hand; ``readings`` as in ``verdicts.Verdicts``."""
    return set(readings.loc[readings["free_hand"].astype(bool), "scan_id"])
