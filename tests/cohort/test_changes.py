"""Change over sessions: calls, pairs, times, categories and rates on cases with known answers."""

import dataclasses
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson
from statsmodels.stats.rates import confint_poisson

from cmburden.cohort import changes
from cmburden.core import config
from cmburden.core.rows import grouped
from cmburden.core.tables import (
    CHANGES,
    FOLLOWED_SESSIONS,
    PAIRS,
    PARTICIPANTS,
    SCANS,
    TRACKS,
)
from cmburden.stats import intervals
from cmburden.summary import changes as changes_summary
from cmburden.summary.cohort import Cohort

pytestmark = pytest.mark.slow

SETTINGS = config.load()["longitudinal"]
GRE = {
    "contrast": "GRE",
    "field_strength_t": 3.0,
    "echo_time_s": 0.02,
    "slice_mm": 4.0,
    "voxel_x_mm": 0.9,
}
NAME = "sub-1"
COMMON = {
    "y_mm": 0.0,
    "z_mm": 0.0,
    "middle_y_mm": 0.0,
    "middle_z_mm": 0.0,
    "region": "frontal",
    "group": "lobar",
    "hemisphere": "left",
}


def scan_id(session: int, participant: str = NAME) -> str:
    return f"{participant}_ses-{session}_T2starw"


def track(
    number: int,
    *there: bool,
    p: float = 0.0,
    in_view: bool = True,
    label: str = "definite",
    participant: str = NAME,
) -> list[dict]:
    """Rows of TRACKS: for each session True where found, else False."""
    rows = []
    for k, found in enumerate(there, start=1):
        presence = {
            "participant_id": participant,
            "track_id": number,
            "scan_id": scan_id(k, participant),
            "session_id": f"ses-{k}",
            "found": found,
            "x_mm": 10.0 * number,
            "middle_x_mm": 10.0 * number + k / 10,
        }
        if found:
            presence |= {"lesion_id": number, "label": label, "probability": 0.9}
            presence |= {"in_view": True, "p_there": 1.0}
        else:
            presence |= {"candidate_probability": 0.03, "candidate_mm": 1.0}
            presence |= {"in_view": in_view, "p_there": p}
        rows.append(COMMON | presence)
    return rows


def visits(number: int, participant: str = NAME) -> list[dict]:
    return [
        {
            "participant_id": participant,
            "session_id": f"ses-{k}",
            "scan_id": scan_id(k, participant),
            "status": "followed",
        }
        for k in range(1, number + 1)
    ]


def made(
    tracks: list[dict],
    followed: list[dict],
    sequences: dict[str, dict] | None = None,
    phenotypes: list[dict] | None = None,
    large: list[tuple[str, int]] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(pairs, changes) as frames of their contracts."""
    scans = []
    for row in followed:
        scan = {"scan_id": row["scan_id"], "participant_id": row["participant_id"]}
        sequence = GRE | (sequences or {}).get(row["session_id"], {})
        scans.append(scan | {"cohort": "c", "status": "ok"} | sequence)
    lesions = pd.DataFrame(
        [{"scan_id": s, "lesion_id": n, "macrohaemorrhage": True} for s, n in large or []],
        columns=["scan_id", "lesion_id", "macrohaemorrhage"],
    )
    pairs, rows = changes.of_cohort(
        TRACKS.frame(tracks),
        FOLLOWED_SESSIONS.frame(followed),
        SCANS.frame(scans),
        lesions,
        pd.DataFrame(phenotypes or []),
        SETTINGS,
    )
    return PAIRS.frame(pairs), CHANGES.frame(rows)


def calls(rows: pd.DataFrame, one: int, other: int) -> dict[int, tuple[str, str]]:
    own = rows[(rows["scan_id_1"] == scan_id(one)) & (rows["scan_id_2"] == scan_id(other))]
    return {r["track_id"]: (r["change"], r["why"]) for r in own.to_dict("records")}


def test_every_combination_has_its_call():
    one_of_two = product(
        ((True, False), (False, True)), (changes.BETWEEN, changes.SCORE, None), (True, False)
    )
    keys = {(first, second, held, view) for (first, second), held, view in one_of_two}
    assert set(changes.CALLS) == keys | {(True, True, None, None)}
    assert changes.CALLS[True, True, None, None] == ("persisting", "found in both")
    why_held = {changes.BETWEEN: "found before and after", changes.SCORE: "score"}
    for first, second, held, in_view in keys:
        if held:  # in view or not
            expected = ("persisting", why_held[held])
        elif not in_view:
            expected = ("not comparable", "not in view")
        else:
            expected = ("new" if second else "lost", "not found")
        assert changes.CALLS[first, second, held, in_view] == expected


def test_rows_have_the_columns_of_their_tables():
    for row, table in ((changes.Change, CHANGES), (changes.Pair, PAIRS)):
        assert [field.name for field in dataclasses.fields(row)] == table.names


def test_why_a_lesion_is_held_to_be_present():
    rows = [
        *track(1, True, False, True, p=0.9),
        *track(2, False, True, False, p=0.5),
        *track(3, False, True, False, p=0.49),
        *track(4, False, False, False, p=0.9),  # found in none: no lesion
        *track(5, True, True),  # of a run over two sessions
    ]
    lesions = changes.presences(rows, [scan_id(k) for k in (1, 2, 3)], missed_from=0.5)
    assert [[presence.held for presence in lesion] for lesion in lesions] == [
        [None, "between", None],
        ["score", None, "score"],
        [None, None, None],
    ]


def test_every_call():
    tracks = [
        *track(1, True, True),
        *track(2, False, True),
        *track(3, True, False),
        *track(4, False, True, p=0.7),
        *track(5, True, False, p=0.7),
        *track(6, False, True, in_view=False),
        *track(7, True, False, in_view=False),
    ]
    pairs, rows = made(tracks, visits(2))
    assert calls(rows, 1, 2) == {
        1: ("persisting", "found in both"),
        2: ("new", "not found"),
        3: ("lost", "not found"),
        4: ("persisting", "score"),
        5: ("persisting", "score"),
        6: ("not comparable", "not in view"),
        7: ("not comparable", "not in view"),
    }
    pair = pairs.iloc[0]
    counted = ["n_new", "n_persisting", "n_found_once", "n_lost", "n_not_comparable"]
    assert pair[counted].tolist() == [1, 3, 2, 1, 2]
    # The new one with p_missed 0, and 0.3 of the one held to be missed.
    assert pair["expected_new"] == pytest.approx(1.3)
    assert rows["p_missed"].tolist() == [pd.NA, 0.0, 0.0, 0.7, 0.7, 0.0, 0.0]
    assert rows["distance_mm"].iloc[0] == pytest.approx(0.1)


def test_found_before_and_after_is_neither_lost_nor_new():
    pairs, rows = made(track(1, True, False, True), visits(3))
    assert calls(rows, 1, 2) == {1: ("persisting", "found before and after")}
    assert calls(rows, 2, 3) == {1: ("persisting", "found before and after")}
    assert pairs["expected_new"].sum() == 0


def test_pairs_are_the_next_and_since_baseline():
    pairs, _ = made(track(1, True, True, True), visits(3))
    found = list(zip(pairs["session_id_1"], pairs["session_id_2"], strict=True))
    assert found == [("ses-1", "ses-2"), ("ses-1", "ses-3"), ("ses-2", "ses-3")]
    assert pairs["consecutive"].tolist() == [True, False, True]
    assert pairs["since_baseline"].tolist() == [True, True, False]
    assert pairs["last"].tolist() == [False, True, True]


def times(*rows) -> list[dict]:
    return [
        {"participant_id": NAME, "session_id": f"ses-{k}", "acq_time": when, "age": age}
        for k, when, age in rows
    ]


def test_dates_say_which_session_is_earlier_not_labels():
    dates = times((1, "2020-06-01", None), (2, "2018-06-01", None))
    pairs, rows = made(track(1, True, False), visits(2), phenotypes=dates)
    assert rows["change"].tolist() == ["new"]
    columns = ["session_id_1", "order_from", "years_from"]
    assert pairs[columns].iloc[0].tolist() == ["ses-2", "acq_time", "acq_time"]
    assert pairs["years"].iloc[0] == pytest.approx(731 / 365.25, abs=1e-4)


@pytest.mark.parametrize(
    ("rows", "years", "source"),
    [
        (times((1, None, 70.0), (2, None, 72.5)), 2.5, "age"),
        (times((1, "2018-06-01", 70.0), (2, None, 72.5)), 2.5, "age"),
        (times((1, None, 70.0), (2, None, None)), None, None),
        (times((1, None, 70.0), (2, None, 70.0)), None, None),
        ([], None, None),
    ],
)
def test_without_dates_ages_and_without_either_no_rate(rows, years, source):
    pairs, _ = made(track(1, True, True), visits(2), phenotypes=rows)
    pair = pairs.iloc[0]
    assert (None if pd.isna(pair["years"]) else pair["years"]) == years
    assert (None if pd.isna(pair["years_from"]) else pair["years_from"]) == source


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"contrast": "SWI"}, "contrast GRE, SWI"),
        ({"field_strength_t": 1.5}, "field strength 3, 1.5 T"),
        ({"echo_time_s": 0.03}, "echo time 20, 30 ms"),
        ({"slice_mm": 2.0}, "slice thickness 4, 2 mm"),
    ],
)
def test_other_sequences_are_flagged_and_in_no_count(other, words):
    tracks, followed = track(1, False, True), visits(2)
    pairs, rows = made(tracks, followed, {"ses-2": other})
    assert pairs["difference"].tolist() == [words]
    assert not pairs["comparable"].iloc[0] and not rows["comparable"].iloc[0]
    assert pd.isna(pairs["aria_h_style"].iloc[0])
    summary = estimates(pairs, followed)
    assert summary["lesions new"]["n"] == 0
    assert summary["session pairs of another sequence, not compared"]["n"] == 1


def test_what_is_not_known_is_said():
    pairs, _ = made(track(1, True, True), visits(2), {"ses-2": {"echo_time_s": None}})
    assert pairs["comparable"].iloc[0]
    assert pairs["not_known"].tolist() == ["echo time"]


@pytest.mark.parametrize(
    ("new", "label"),
    [(0, "0"), (1, "1 to 4"), (4, "1 to 4"), (5, "5 to 9"), (9, "5 to 9"), (10, ">=10")],
)
def test_categories(new, label):
    tracks = [row for k in range(1, new + 1) for row in track(k, False, True)]
    pairs, _ = made([*tracks, *track(99, True, True)], visits(2))
    assert pairs["aria_h_style"].tolist() == [label]


def test_possible_and_large_ones_are_not_counted():
    tracks = [*track(1, False, True, label="possible"), *track(2, False, True)]
    pairs, rows = made(tracks, visits(2), large=[(scan_id(2), 2)])
    assert pairs[["n_new", "n_new_possible"]].iloc[0].tolist() == [0, 1]
    assert rows["macrohaemorrhage"].tolist() == [False, True]


def test_a_pair_without_lesions_is_a_row_with_zeros():
    pairs, rows = made([], visits(2))
    assert pairs["n_new"].tolist() == [0] and pairs["aria_h_style"].tolist() == ["0"]
    assert rows.empty


def test_rows_in_any_order_give_equal_bytes(tmp_path):
    tracks = [*track(1, True, True, False), *track(2, False, True, True)]
    followed = visits(3)
    for name, rows, sessions in (("a", tracks, followed), ("b", tracks[::-1], followed[::-1])):
        pairs, changed = made(rows, sessions)
        PAIRS.write(tmp_path / name / "pairs", pairs)
        CHANGES.write(tmp_path / name / "changes", changed)
    for table in ("pairs", "changes"):
        assert (tmp_path / "a" / table).read_bytes() == (tmp_path / "b" / table).read_bytes()


# --- estimates ---


def estimates(pairs, followed, stratum="all") -> dict[str, dict]:
    names = sorted({row["participant_id"] for row in followed})
    people = [
        {"participant_id": name, "cohort": "c", "contrast": "GRE", "n_scans": 2} for name in names
    ]
    return estimates_of(pairs, followed, people, stratum=stratum)


def estimates_of(pairs, followed, people, changed=(), stratum="all") -> dict[str, dict]:
    """Rows of a stratum by measure; ``people``: rows of participants."""
    scans = [
        {"scan_id": row["scan_id"] or row["session_id"], "cohort": "c", "status": "ok", "path": "p"}
        | {name: row[name] for name in ("participant_id", "session_id")}
        for row in followed
    ]
    frame = pd.DataFrame()
    cohort = Cohort(
        scans=SCANS.frame(scans),
        lesions=frame,
        participants=PARTICIPANTS.frame(people),
        rejected=frame,
        pairs=pairs,
        changes=CHANGES.frame(list(changed)) if isinstance(changed, tuple | list) else changed,
        followed=FOLLOWED_SESSIONS.frame(followed),
    )
    rows = changes_summary.estimates(cohort, config.load())
    for row in rows:
        nothing = row["estimate"] is None
        assert nothing == row["method"].startswith("not estimated: "), row
        assert row["ci_low"] is None or row["ci_low"] < row["ci_high"], row
    return {row["measure"]: row for row in rows if row["stratum"] == stratum}


def test_rates_and_shares():
    tracks, followed, phenotypes = [], [], []
    for k, new in enumerate((0, 3, 1), start=1):
        name = f"sub-{k}"
        followed += visits(2, name)
        for n in range(1, new + 1):
            tracks += track(n, False, True, participant=name)
        if k < 3:
            phenotypes += [
                {"participant_id": name, "session_id": "ses-1", "acq_time": None, "age": 70.0},
                {"participant_id": name, "session_id": "ses-2", "acq_time": None, "age": 72.0},
            ]
    pairs, _ = made(tracks, followed, phenotypes=phenotypes)
    found = estimates(pairs, followed)
    assert found["lesions new"]["n"] == 4
    assert found["participants with a new lesion"]["estimate"] == pytest.approx(2 / 3)
    # The third has no time between its sessions: 3 lesions in 4 person-years.
    rate = found["new lesions per person-year"]
    assert rate["estimate"] == pytest.approx(0.75)
    assert found["session pairs without a time between"]["n"] == 1
    # Garwood's interval: 2.5 % in each tail at its ends.
    assert 1 - poisson.cdf(2, rate["ci_low"] * 4) == pytest.approx(0.025)
    assert poisson.cdf(3, rate["ci_high"] * 4) == pytest.approx(0.025)
    clustered = found["new lesions per person-year, clustered"]
    assert clustered["ci_low"] < rate["ci_low"] and clustered["ci_high"] > rate["ci_high"]
    shares = [
        found[f"aria-h-style new={label}"]["n"] for label in ("0", "1 to 4", "5 to 9", ">=10")
    ]
    assert shares == [1, 2, 0, 0]


def people_of(number: int, *new: int, contrast="GRE", first: int = 1, years: float = 2.0):
    """Tracks, visits, ages and participants: ``number`` people, the first of whom have ``new``."""
    tracks, followed, phenotypes, people = [], [], [], []
    for k in range(number):
        name = f"sub-{first + k}"
        followed += visits(2, name)
        for n in range(1, (new[k] if k < len(new) else 0) + 1):
            tracks += track(n, False, True, participant=name)
        for session, age in ((1, 60.0 + k % 20), (2, 60.0 + k % 20 + years)):
            row = {"participant_id": name, "session_id": f"ses-{session}", "acq_time": None}
            phenotypes.append(row | {"age": age})
        person = {"participant_id": name, "cohort": "c", "contrast": contrast, "n_scans": 2}
        people.append(person | {"age": 60.0 + k % 20, "sex": "FM"[k % 2]})
    return tracks, followed, phenotypes, people


def test_gre_and_swi_are_not_pooled():
    """Audit A10: `all` had the rate of both contrasts together."""
    gre = people_of(10, 1, 2)
    swi = people_of(10, 4, 2, 3, contrast="SWI", first=20)
    followed, people = gre[1] + swi[1], gre[3] + swi[3]
    one, changed_one = made(gre[0], gre[1], phenotypes=gre[2])
    sequence = {key: {"contrast": "SWI"} for key in ("ses-1", "ses-2")}
    other, changed_other = made(swi[0], swi[1], sequence, phenotypes=swi[2])
    pairs, changed = pd.concat([one, other]), pd.concat([changed_one, changed_other])
    # The contrast is that of the pair: all chosen scans are GRE here.
    chosen = [person | {"contrast": "GRE"} for person in people]
    found = estimates_of(pairs, followed, chosen, changed)
    assert found["lesions new"]["n"] == 12 and found["session pairs"]["n"] == 20
    assert found["participants compared"]["n"] == 20
    for measure in (
        "new lesions per person-year",
        "new lesions per person-year, clustered",
        "new lesions per person-year group=lobar",
        "new lesions per person-year at 0.01 false new lesions a pair",
        "participants with a new lesion",
        "aria-h-style new=1 to 4",
        "cumulative incidence at 1 years",
    ):
        row = found[measure]
        assert row["estimate"] is None and row["ci_high"] is None, measure
        assert row["method"].startswith("not estimated: holds GRE and SWI"), measure
    rates = [
        estimates_of(pairs, followed, chosen, changed, f"contrast={contrast}")
        for contrast in ("GRE", "SWI")
    ]
    expected = [pytest.approx(3 / 20), pytest.approx(9 / 20)]
    assert [rate["new lesions per person-year"]["estimate"] for rate in rates] == expected


@pytest.mark.parametrize("number", [1, 12])
def test_no_event_has_an_interval_of_a_width(number):
    """Audit B1: lesions lost 0.0 (0.0-0.0); C: no interval of how many were compared."""
    tracks, followed, phenotypes, people = people_of(number)
    pairs, changed = made(tracks, followed, phenotypes=phenotypes)
    found = estimates_of(pairs, followed, people, changed)
    for change in ("lost", "new"):
        exact = found[f"{change} lesions per person-year"]
        row = found[f"{change} lesions per person-year, clustered"]
        assert (row["estimate"], row["ci_low"]) == (0, 0)
        # -ln(0.025) events in the person-years.
        assert row["ci_high"] == exact["ci_high"] == pytest.approx(3.689 / (2 * number), rel=1e-3)
    compared = found["participants compared"]
    assert (compared["estimate"], compared["ci_low"]) == (1, None)
    cumulative = found["cumulative incidence at 2 years"]
    assert cumulative["estimate"] == 0
    assert cumulative["ci_high"] == pytest.approx(intervals.wilson(0, number)[1])


def test_rate_without_the_false_new_ones():
    """Audit section 4, 14: incidence corrected for false new lesions, by readers or assumption."""
    tracks, followed, phenotypes, people = people_of(40, 1, 1, 2, 1, 3, 1, 1)
    pairs, changed = made(tracks, followed, phenotypes=phenotypes)
    found = estimates_of(pairs, followed, people, changed)
    unread = found["new lesions per person-year, confirmed by readers"]
    assert unread["estimate"] is None and "no reader judged" in unread["method"]
    at = "new lesions per person-year at {} false new lesions a pair".format
    assert found[at("0.1")]["estimate"] == pytest.approx((10 - 4) / 80)
    assert found[at("0.1")]["ci_low"] >= 0
    few = estimates_of(*(pairs.assign(n_new=[4] + [0] * 39), followed, people), changed)
    assert few[at("0.1")]["estimate"] is None
    assert "4 lesions are called new in 40 pairs" in few[at("0.1")]["method"]
    places = pd.DataFrame(
        {
            "scan_id": changed["scan_id_2"],
            "lesion_id": changed["lesion_id_2"],
            "microbleed": [True] * 8 + [False, None],
        }
    )
    judged = changes.with_verdicts(changed.to_dict("records"), places)
    found = estimates_of(pairs, followed, people, CHANGES.frame(judged))
    row = found["new lesions per person-year, confirmed by readers"]
    assert row["estimate"] == pytest.approx(10 / 80 * 8 / 9) and (row["n"], row["denominator"]) == (
        8,
        9,
    )
    assert 0 < row["ci_low"] < row["estimate"] < row["ci_high"]


def test_by_group_cumulative_and_attrition():
    tracks, followed, phenotypes, people = people_of(20, 1, 2)
    for row in tracks[:2]:
        row["group"] = "deep"
    extra = [visits(1, "sub-99")[0], visits(2, "sub-99")[1] | {"status": "not registered"}]
    pairs, changed = made(tracks, [*followed, *extra], phenotypes=phenotypes)
    outsider = people[0] | {"participant_id": "sub-99"}
    found = estimates_of(pairs, [*followed, *extra], [*people, outsider], changed)
    assert found["new lesions per person-year group=deep"]["estimate"] == pytest.approx(1 / 40)
    assert found["new lesions per person-year group=lobar"]["n"] == 2
    assert found["new lesions per person-year group=infratentorial"]["ci_high"] > 0
    assert found["cumulative incidence at 1 years"]["estimate"] == 0  # dated at the session
    assert found["cumulative incidence at 2 years"]["estimate"] == pytest.approx(2 / 20)
    assert found["cumulative incidence at 3 years"]["estimate"] is None
    assert found["participants with sessions>=2"]["n"] == 21
    assert found["participants not compared reason=sessions not registered"]["n"] == 1


def test_a_visit_may_come_early():
    """Visits after 1.95 years say what happened by 2 years, also where all had the event."""
    tracks, followed, phenotypes, people = people_of(4, 1, 1, 1, 1, years=1.95)
    pairs, changed = made(tracks, followed, phenotypes=phenotypes)
    found = estimates_of(pairs, followed, people, changed)
    row = found["cumulative incidence at 2 years"]
    assert (row["estimate"], row["n"], row["denominator"]) == (1, 4, 4)
    assert row["ci_low"] == pytest.approx(intervals.wilson(4, 4)[0]) and row["ci_high"] == 1
    assert found["cumulative incidence at 3 years"]["estimate"] is None


def test_ratios_of_rates_are_those_of_two_groups():
    """Without other differences the ratio is that of the two crude rates."""
    new = [1, 3, 1, 3, 1, 3, 0, 2, 2, 4]  # women 5, men 15
    tracks, followed, phenotypes, people = people_of(10, *new)
    pairs, changed = made(tracks, followed, phenotypes=phenotypes)
    same = [person | {"age": 70.0} for person in people]
    found = estimates_of(pairs, followed, same, changed)
    row = found["rate ratio new lesions: sex=M against F"]
    assert row["estimate"] == pytest.approx(3.0)
    age = found["rate ratio new lesions: age per decade"]
    assert age["estimate"] is None and "one value" in age["method"]
    few = estimates_of(pairs.assign(n_new=0), followed, people, changed)
    assert (
        "0 participants have a new lesion"
        in few["rate ratio new lesions: age per decade"]["method"]
    )


@pytest.mark.parametrize("number", [0, 1, 7, 200])
def test_poisson_interval_agrees_with_statsmodels(number):
    assert intervals.poisson_interval(number, 3.7) == pytest.approx(
        confint_poisson(number, 3.7, method="exact-c"), rel=1e-9
    )


def test_no_times_no_rate():
    pairs, _ = made(track(1, False, True), visits(2))
    found = estimates(pairs, visits(2))
    assert found["new lesions per person-year"]["estimate"] is None
    assert found["person-years"]["estimate"] is None


def test_nobody_with_sessions_no_rows():
    assert estimates(PAIRS.frame([]), []) == {}


def test_sessions_not_read_are_counted():
    followed = [*visits(1), visits(2)[1] | {"scan_id": None, "status": "not read"}]
    pairs, _ = made([], followed[:1])
    assert pairs.empty
    found = estimates(pairs, followed)
    assert found["sessions status=not read"]["n"] == 1
    assert np.isclose(found["participants compared"]["estimate"], 0)


def test_grouped_rows_are_plain():
    frame = TRACKS.frame(track(1, True, False))
    assert grouped(frame, "participant_id")[NAME][1]["lesion_id"] is None
