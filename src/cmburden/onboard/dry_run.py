"""What an onboarding would do, without a row of a table: for who may not show the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cmburden.onboard import cohorts, downloads, rules, stage
from cmburden.onboard.names import Labelled
from cmburden.onboard.parts import Passed, Request

#: Reasons that are printed; the others are counted together.
_MOST_REASONS = 40


def lines(request: Request) -> list[str]:
    """Lines on tables and series; nothing is written.

    Raises
    ------
    CMBurdenError
        For a mistake in the request.
    """
    stage.check(request)
    cohort = cohorts.module_of(request.cohort)
    wanted, passed = stage.decided(request, cohort, rules.load(request.rules))
    overview = getattr(cohort, "overview", downloads.overview)
    return ["Tables", *(f"  {line}" for line in overview(request)), *_series(wanted, passed)]


def _series(wanted: Sequence[Labelled], passed: Sequence[Passed]) -> list[str]:
    people = {one.participant for one in wanted}
    visits = {one.visit for one in wanted}
    made = Counter((one.decision.rule or "", one.decision.suffix or "") for one in wanted)
    kinds = Counter(_described(one) for one in wanted)
    reasons = Counter((one.rule or "", _general(one)) for one in passed)
    rows = [
        f"Series to convert: {len(wanted)} of {len(people)} participants, {len(visits)} sessions",
        *(f"  {number:>6}  {rule} -> {suffix}" for (rule, suffix), number in sorted(made.items())),
        "Slices, echo times in ms, slice thickness in mm, scanner of series to convert",
        *(f"  {number:>6}  {kind}" for kind, number in sorted(kinds.items())),
        f"Series and files that are left out: {len(passed)}",
    ]
    shown = reasons.most_common(_MOST_REASONS)
    rows += [f"  {number:>6}  {reason}" for (_, reason), number in sorted(shown)]
    others = len(passed) - sum(number for _, number in shown)
    return rows + ([f"  {others:>6}  other reasons"] if others else [])


def _described(one: Labelled) -> str:
    """The acquisition of a series in a few words that tell of nobody."""
    header = one.source.header
    echoes = [h.get("EchoTime", "?") for h in one.source.variants or (header,)]
    scanner = f"{header.get('Manufacturer', '?')} {header.get('ManufacturerModelName', '')}"
    return (
        f"{one.decision.suffix}: {one.source.n_slices or '?'} slices, "
        f"TE {' '.join(map(_short, echoes))}, {_short(header.get('SliceThickness', '?'))} mm, "
        f"{scanner.rstrip()}"
    )


def _short(value: object) -> str:
    """A number of a header with four digits; other values as they are.

    >>> _short("3.9999999208353"), _short("?")
    ('4', '?')
    """
    try:
        return f"{float(str(value)):.4g}"
    except ValueError:
        return str(value)


def _general(one: Passed) -> str:
    """The reason, without what names one series."""
    reason = one.reason.split(" (")[0].split(":")[0].split(";")[0]
    return reason if one.rule is None or reason == one.rule else f"{one.rule}: {reason}"
