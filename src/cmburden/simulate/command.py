"""The command ``cmburden simulate``: a BIDS cohort with known microbleeds, of one or more sessions.

The simulator is imported by :func:`main` alone: ``cmburden simulate --help`` answers at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmburden.core.errors import CMBurdenError
from cmburden.simulate.acquisition import PRESETS, RANDOM
from cmburden.simulate.mimics import MANY, POPULATION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to ``parser``."""
    add = parser.add_argument
    add("out", type=Path, help="new BIDS folder; the truth goes beside it")
    add(
        "--presets",
        nargs="+",
        default=list(PRESETS),
        metavar="NAME",
        help=f"acquisitions like those of {', '.join(PRESETS)}, or "
        f"{RANDOM} for one unlike them, drawn anew each time",
    )
    add("--participants", type=int, default=4, help="participants of each preset (default 4)")
    add("--anatomy", type=Path, help="folder of label maps; none: MNI152 template")
    add("--people", help="label maps to use, first-last from 1")
    add("--positive-share", type=float, help="share with microbleeds (default: by age)")
    add("--t1w-share", type=float, default=0.5, help="share with a T1w")
    add(
        "--painted",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the microbleeds drawn as dark ellipsoids, without physics: "
        "to calibrate on (default 0)",
    )
    add(
        "--phase-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the scans with a phase image, of either vendor's sign and any scale "
        "(default 0)",
    )
    add(
        "--mimics",
        choices=[MANY, POPULATION],
        default=MANY,
        help="calcium, cavernomas and the like: many, as networks need them, or as rare and as "
        f"frequent as in a population of the participants' age (default {MANY})",
    )
    add("--seed", type=int, default=0, help="equal seeds give equal scans (default 0)")
    add("--jobs", type=int, default=2, help="participants made side by side (default 2)")
    add(
        "--sessions",
        type=int,
        default=1,
        help="of each participant, with microbleeds that stay, come and go (default 1)",
    )


def main(args: argparse.Namespace) -> int:
    """Write the cohort that ``args`` name, and say how many scans and microbleeds it holds."""
    from cmburden.simulate import cohort
    from cmburden.simulate import courses as longitudinal

    if args.sessions != 1 and args.mimics != MANY:
        raise CMBurdenError(
            f"--mimics {args.mimics}: is for one session; leave out --sessions {args.sessions}"
        )
    if args.sessions != 1 and args.phase_share:
        raise CMBurdenError(
            f"--phase-share {args.phase_share:g}: is for one session; leave out "
            f"--sessions {args.sessions}"
        )
    shared = {
        "presets": args.presets,
        "participants": args.participants,
        "seed": args.seed,
        "anatomy": args.anatomy,
        "people": args.people,
        "jobs": args.jobs,
    }
    if args.sessions == 1:
        truth = cohort.run(
            args.out,
            **shared,
            positive_share=args.positive_share,
            t1w_share=args.t1w_share,
            painted=args.painted,
            mimics=args.mimics,
            phase_share=args.phase_share,
        )
        number = f"{(truth['kind'] == 'microbleed').sum()} microbleeds"
    else:
        truth = longitudinal.run(args.out, **shared, sessions=args.sessions)
        bleeds = truth[truth["kind"] == "microbleed"]
        tracks = bleeds[["participant_id", "track_id"]].drop_duplicates()
        number = f"{len(tracks)} microbleeds followed"
    print(f"{args.out}: {truth['scan_id'].nunique()} scans, {number}")
    return 0


def simulate_as(
    prog: str,
    presets: list[str],
    participants: int,
    write: Callable[..., list[dict[str, Any]]],
    arguments: list[str] | None,
) -> int:
    """Command of a simulator that is no ``cmburden simulate``: ``write`` makes a participant.

    ``write`` takes the plan and the BIDS folder, and returns rows of the truth. 60 % have
    microbleeds, nobody has a T1w. ``participants`` of each preset are the default.
    """
    from cmburden.core import tables
    from cmburden.simulate import cohort

    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("out", type=Path, help="new BIDS folder; the truth goes beside it")
    parser.add_argument("--anatomy", type=Path, help="folder of label maps; none: MNI152 template")
    parser.add_argument("--people", help="label maps to use, first-last from 1")
    parser.add_argument(
        "--presets",
        nargs="+",
        choices=presets,
        default=presets,
        metavar="NAME",
        help=f"of {', '.join(presets)} (default all)",
    )
    parser.add_argument(
        "--participants",
        type=int,
        default=participants,
        help=f"of a preset (default {participants})",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args(arguments)
    plans = cohort.prepared(
        args.out,
        args.presets,
        args.participants,
        args.seed,
        anatomy=args.anatomy,
        people=args.people,
        positive_share=0.6,
        t1w_share=0.0,
    )
    work = [(plan, args.out) for plan in plans]
    truth = cohort.write_all(write, work, args.out, tables.TRUTH, args.jobs)
    bleeds = truth[truth["kind"] == "microbleed"]
    print(f"{args.out}: {truth['scan_id'].nunique()} scans, {len(bleeds)} microbleeds")
    return 0
