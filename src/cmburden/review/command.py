"""The command ``cmburden review``: serves the review to one reader, or exports settled labels."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

from cmburden.cohort.second_readings import AGAIN, is_second
from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.tables import CONSENSUS, ORDERS
from cmburden.review import export_labels, sample, server, store
from cmburden.review.reader_file import NotKept
from cmburden.review.session import Sitting
from cmburden.review.worklist import Options, Study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show the candidates of a run to a reader in the browser, on this machine only. Each "
        "decision is saved at once. The same command resumes the review where it ended. The next "
        "cmburden run uses the decisions. See docs/review.md."
    )
    parser.add_argument("output_dir", type=Path, help="output folder of `cmburden run`")
    parser.add_argument(
        "--reader",
        metavar="ID",
        help="letters and digits; 'consensus' settles the places that the readers dispute",
    )
    parser.add_argument(
        "--order",
        default="useful",
        choices=ORDERS,
        help="useful: nearest to the threshold first; random: seeded, for a sample; scan: by scan",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the order and of the sample (0)"
    )
    parser.add_argument(
        "--near-misses",
        type=int,
        default=0,
        metavar="N",
        help="also show the N rejected candidates with the highest probability",
    )
    parser.add_argument(
        "--free-hand",
        type=int,
        default=0,
        metavar="N",
        help="first show N scans without detections, drawn by class of the software: for the "
        "prevalence by double sampling, and for what was missed",
    )
    _add_plan(parser)
    parser.add_argument(
        "--blind", action="store_true", help="hide the software's label, scores and size"
    )
    parser.add_argument(
        "--port", type=int, default=0, help="port on this machine; 0 takes a free one (default)"
    )
    parser.add_argument(
        "--export-labels",
        type=Path,
        metavar="FOLDER",
        help="write the settled lesions as labels for cmburden train labels, and end",
    )


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plan",
        type=float,
        metavar="WIDTH",
        help="say how many scans to read free-hand for a 95 %% interval of the prevalence so wide "
        "(0.10 is 10 percentage points), and end",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="read a second time: the decisions are kept apart and only say how the reader agrees "
        "with the first reading",
    )


def main(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status.

    Raises
    ------
    CMBurdenError
        If an option cannot be used, the run is not complete, or there is nothing to show.
    """
    layout = Layout(args.output_dir)
    if args.export_labels:
        return export_labels.main(Study.read(layout), args.export_labels)
    if args.plan is not None:
        print("\n".join(sample.plan(Study.read(layout), args.plan)))
        return 0
    if not args.reader:
        raise CMBurdenError("review: give --reader ID, such as initials, or --export-labels FOLDER")
    if args.near_misses < 0 or args.free_hand < 0:
        raise CMBurdenError("review: --near-misses and --free-hand are numbers from 0")
    options = Options(args.order, args.seed, args.near_misses, args.free_hand, args.blind)
    reader = _reader(args.reader, again=args.again)
    study = Study.read(layout)
    with store.alone(layout, reader):
        return serve(Sitting(study, reader, options), args.port)


def _reader(name: str, *, again: bool) -> str:
    """The name that decisions are kept under."""
    store.checked_reader(name)
    if is_second(name):
        raise CMBurdenError(
            f"--reader {name}: names that end with {AGAIN} are those of second readings; give "
            f"--reader {name.removesuffix(AGAIN)} --again"
        )
    if not again:
        return name
    if name == CONSENSUS:
        raise CMBurdenError("--again: the consensus has no second reading; name a reader")
    return store.checked_reader(name + AGAIN)


def serve(sitting: Sitting, port: int) -> int:
    """Serve until Ctrl-C, then write the decisions of all readers; returns the exit status."""
    layout, reader = sitting.study.layout, sitting.store.reader
    if not sitting.items:
        raise CMBurdenError(
            f"{layout.root}: nothing is in dispute"
            if reader == CONSENSUS
            else f"{layout.root}: holds no definite or possible lesion; read scans with --free-hand"
        )
    token = secrets.token_urlsafe(32)
    bound = server.listening(port)
    sitting.prepare()
    left = f"{sitting.n_open} of {len(sitting.items)} left to see"
    print(f"Review of {layout.root} by {reader}: {left}. Open on this machine")
    print(f"  http://127.0.0.1:{bound.getsockname()[1]}/?token={token}")
    print("and end with Ctrl-C: every decision is saved as it is made.", flush=True)
    lost = ""
    try:
        server.serve(sitting, bound, token)
    except KeyboardInterrupt:
        pass
    finally:
        sitting.pictures.stop()
        bound.close()
        try:
            sitting.store.close()
        except NotKept as error:
            lost = str(error)
            print(f"cmburden: {lost}", file=sys.stderr)
    print(f"\n{sitting.summary()}.")
    print(f"{_exported(layout)} Next: cmburden run, which counts with them.")
    return 2 if lost else 0


def _exported(layout: Layout) -> str:
    """Export the decisions of all readers; a sentence that says where they are."""
    try:
        path = store.export(layout)
    except OSError as error:
        # Another user's folder: the next run exports them.
        folder = layout.reader_file("x").parent
        return f"Decisions are in {folder}; {layout.reviews} is not written ({error.strerror})."
    for problem in store.problems_of(layout):
        print(f"cmburden: {problem}", file=sys.stderr)
    return f"Decisions of all readers are in {path}."
