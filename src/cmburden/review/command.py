"""The command ``cmburden review``: serves the review to readers, or exports settled labels."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from cmburden.cohort.second_readings import AGAIN, is_second
from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.tables import CONSENSUS, ORDERS
from cmburden.review import export_labels, readers, sample, server, store
from cmburden.review.pictures import Pictures
from cmburden.review.reader_file import NotKept
from cmburden.review.session import Sitting
from cmburden.review.worklist import Options, Study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show the candidates of a run to readers in the browser, by default on this machine only. "
        "Each decision is saved at once. The same command resumes the review where it ended. The "
        "next cmburden run uses the decisions. See docs/review.md."
    )
    parser.add_argument("output_dir", type=Path, help="output folder of `cmburden run`")
    parser.add_argument(
        "--reader",
        metavar="ID[,ID...]",
        help="letters and digits; 'consensus' settles the places that the readers dispute; of "
        "several readers, joined by commas, each gets an address",
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
    _add_several(parser)
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


def _add_several(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--each",
        type=int,
        metavar="K",
        help="give each scan to K of the readers, evenly (without it: all scans to all readers)",
    )
    parser.add_argument(
        "--worklists",
        type=Path,
        metavar="FILE",
        help="table with the columns reader and scan_id, separated by tabs: who is given what",
    )
    parser.add_argument(
        "--host",
        default=server.HOSTS[0],
        help="name of this machine under which other machines reach the review; needs TLS",
    )
    parser.add_argument(
        "--tls-certificate", type=Path, metavar="FILE", help="certificate for --host (PEM)"
    )
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key (PEM)")


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
    place = server.Place(args.host, args.tls_certificate, args.tls_key)
    names = _names(args)
    study = Study.read(layout)
    given = _worklists(args, list(names), study)
    pictures = Pictures(layout, study.scans)
    with contextlib.ExitStack() as stack:
        sittings = []
        for name, kept_as in names.items():
            stack.enter_context(store.alone(layout, kept_as))
            own = dataclasses.replace(options, scans=given.get(name))
            sittings.append(Sitting(study, kept_as, own, pictures))
        return serve(sittings, args.port, place)


def _names(args: argparse.Namespace) -> dict[str, str]:
    """The name that each reader's decisions are kept under, by the reader."""
    given = args.reader.split(",")
    if len(set(given)) < len(given):
        raise CMBurdenError(f"--reader {args.reader}: name each reader once")
    if CONSENSUS in given and len(given) > 1:
        raise CMBurdenError(
            f"--reader {args.reader}: start the consensus alone, when the readers have ended"
        )
    return {name: _reader(name, again=args.again) for name in given}


def _worklists(args: argparse.Namespace, names: Sequence[str], study: Study) -> readers.Worklists:
    """The scans that each reader is given; of a reader without an entry, all."""
    if args.worklists is not None and args.each is not None:
        raise CMBurdenError("--each and --worklists: give one of them")
    if args.worklists is not None:
        return readers.read(args.worklists, names, study.scans)
    if args.each is not None:
        return readers.shared_out(study.scans, names, args.each, args.seed)
    return {}


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


def serve(sittings: Sequence[Sitting], port: int, place: server.Place) -> int:
    """Serve until Ctrl-C, then write the decisions of all readers; returns the exit status."""
    layout, pictures = sittings[0].study.layout, sittings[0].pictures
    for sitting in sittings:
        _refuse_empty(sitting)
    tokens = {secrets.token_urlsafe(32): sitting for sitting in sittings}
    bound = server.listening(port, place.host)
    for sitting in sittings:
        sitting.prepare()
    print(f"Review of {layout.root}. Open", end=" ")
    print("on this machine" if place.host in server.HOSTS else "in a browser")
    for token, sitting in tokens.items():
        left = f"{sitting.n_open} of {len(sitting.items)} left to see"
        print(f"  {sitting.store.reader}, {left}:")
        print(f"  {place.address(bound.getsockname()[1], token)}")
    print("and end with Ctrl-C: every decision is saved as it is made.", flush=True)
    lost = False
    try:
        server.serve(tokens, bound, place)
    except KeyboardInterrupt:
        pass
    finally:
        pictures.stop()
        bound.close()
        for sitting in sittings:
            try:
                sitting.store.close()
            except NotKept as error:
                lost = True
                print(f"cmburden: {error}", file=sys.stderr)
    print()
    for sitting in sittings:
        print(f"{sitting.store.reader}: {sitting.summary()}.")
    print(f"{_exported(layout)} Next: cmburden run, which counts with them.")
    return 2 if lost else 0


def _refuse_empty(sitting: Sitting) -> None:
    """Raise CMBurdenError where a reader has nothing to see."""
    root, reader = sitting.study.layout.root, sitting.store.reader
    if sitting.items:
        return
    if reader == CONSENSUS:
        raise CMBurdenError(f"{root}: nothing is in dispute")
    if sitting.options.scans is not None:
        raise CMBurdenError(f"{root}: the scans of --reader {reader} hold no lesion to see")
    raise CMBurdenError(
        f"{root}: holds no definite or possible lesion; read scans with --free-hand"
    )


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
