"""The command line. A user's mistake ends the command with one sentence and exit code 2."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmburden import RESEARCH_USE_ONLY, __version__
from cmburden.core.errors import exit_code
from cmburden.core.paths import Layout
from cmburden.run import options
from cmburden.run.environment import begin_again_in_utf8

#: Exit code of a command whose output nobody reads to its end: 128 and the number of SIGPIPE.
_BROKEN_PIPE = 141


def main(arguments: list[str] | None = None) -> int | None:
    """Run a command and return its exit code; without ``arguments``, that of this process."""
    if arguments is None:
        begin_again_in_utf8()
        arguments = sys.argv[1:]
    chosen = next((a for a in arguments if not a.startswith("-")), None)

    def call() -> int:
        args = _parser(chosen).parse_args(*_split(arguments))
        return args.call(args)

    try:
        code = exit_code(call, "cmburden: ", arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has enough, as `head` has. Nothing may be written when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        print("cmburden: stopped; run the same command again to go on", file=sys.stderr)
        return 130


def _split(arguments: list[str]) -> tuple[list[str], argparse.Namespace]:
    """The arguments before ``--``, and a namespace with those after, which go to Snakemake."""
    namespace = argparse.Namespace(further=[])
    if "--" in arguments:
        cut = arguments.index("--")
        namespace.further = arguments[cut + 1 :]
        arguments = arguments[:cut]
    return arguments, namespace


# --- modules of commands, with ``add_arguments`` and ``main``; imported for the chosen command ---


def _demo() -> Any:
    from cmburden.run import demo

    return demo


def _simulate() -> Any:
    from cmburden.simulate import command

    return command


def _train() -> Any:
    from cmburden.train import command

    return command


def _tune() -> Any:
    from cmburden.train.tuning import command

    return command


def _evaluate() -> Any:
    from cmburden.evaluate import command

    return command


def _operating_point() -> Any:
    from cmburden.review import operating_point

    return operating_point


def _review() -> Any:
    from cmburden.review import command

    return command


def _pilot() -> Any:
    from cmburden.run import pilot

    return pilot


def _timings() -> Any:
    from cmburden.run import timings

    return timings


def _check() -> Any:
    from cmburden.run import check

    return check


def _forget() -> Any:
    from cmburden.run import forget

    return forget


def _insert() -> Any:
    from cmburden.run import insert

    return insert


def _export() -> Any:
    from cmburden.run import export

    return export


def _report() -> Any:
    from cmburden.run import report

    return report


def _onboard() -> Any:
    from cmburden.run import onboard

    return onboard


#: Name of a command -> its help, and the function that imports its module.
COMMANDS: dict[str, tuple[str, Callable[[], Any]]] = {
    "check": ("say what a run would do with a scan, a folder or a BIDS folder, in seconds", _check),
    "demo": ("simulate four small cohorts and run the whole pipeline on them", _demo),
    "onboard": ("turn a cohort as it is downloaded into BIDS and the readers' truth", _onboard),
    "simulate": ("write a simulated BIDS cohort with known microbleeds", _simulate),
    "train": ("train the networks", _train),
    "tune": ("tune the networks on labelled scans of a run, measured on people not seen", _tune),
    "evaluate": ("compare a run with known microbleeds", _evaluate),
    "review": (
        "show the candidates to a reader in the browser; the next run uses the decisions",
        _review,
    ),
    "operating-point": (
        "say from reviewed candidates what to expect at each threshold, and recommend one",
        _operating_point,
    ),
    "insert": (
        "say how many microbleeds of known size it detects, drawn into copies of the scans",
        _insert,
    ),
    "report": ("make the pages again, or one to share: no ids, no small numbers", _report),
    "export": ("write tables, codebook and figures for R, Stata, REDCap and papers", _export),
    "pilot": ("run some scans, then estimate the cost of all scans", _pilot),
    "forget": ("remove a participant who has withdrawn from the output folder", _forget),
    "timings": ("show seconds a scan by stage, and bytes a scan by kind of file", _timings),
}


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cmburden",
        description=f"Cerebral microbleed burden of BIDS cohorts. {RESEARCH_USE_ONLY}",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_run(commands.add_parser("run", help="detect microbleeds and make the cohort's tables"))

    status = commands.add_parser("status", help="count scans by stage and reason, from the records")
    status.add_argument("output_dir", type=Path)
    status.set_defaults(call=_status)

    retry = commands.add_parser(
        "retry", help="forget failed scans, so that the next run repeats them"
    )
    retry.add_argument("output_dir", type=Path)
    retry.add_argument(
        "--scan", nargs="+", default=[], help="ids of scans to repeat, failed or not"
    )
    retry.add_argument(
        "-n", "--dry-run", action="store_true", help="list what would run again; remove nothing"
    )
    retry.set_defaults(call=_retry)

    for name, (text, module_of) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name == chosen:
            module = module_of()
            module.add_arguments(command)
            command.set_defaults(call=module.main)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("analysis_level", choices=("participant", "group"))
    parser.add_argument("--participant-label", "--participant_label", nargs="+", metavar="LABEL")
    parser.add_argument("--session-label", "--session_label", "--session-id", nargs="+")
    parser.add_argument("--bids-filter-file", type=Path, metavar="JSON")
    parser.add_argument("--skip-bids-validation", "--skip_bids_validation", action="store_true")
    parser.add_argument("--config-file", type=Path, metavar="YAML")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set one key of the configuration, such as verify.thresholds.definite=0.7",
    )
    parser.add_argument(
        "--profile",
        default="local",
        metavar="{local,slurm,FOLDER}",
        help="place of the jobs; FOLDER holds your cluster's config.yaml (config/README.md)",
    )
    parser.add_argument("--cores", "--n_cpus", "--nprocs", type=int, default=os.cpu_count())
    parser.add_argument("-n", "--dry-run", action="store_true")
    options.add_arguments(parser)
    parser.set_defaults(call=_run)


def _run(args: argparse.Namespace) -> int:
    from cmburden.run.participants import Request, run

    return run(
        Request(
            bids_dir=args.bids_dir,
            output_dir=args.output_dir,
            analysis_level=args.analysis_level,
            participant_label=args.participant_label or (),
            session_label=args.session_label or (),
            bids_filter_file=args.bids_filter_file,
            skip_bids_validation=args.skip_bids_validation,
            config_file=args.config_file,
            settings=args.set,
            profile=args.profile,
            cores=args.cores,
            dry_run=args.dry_run,
            further=args.further,
            forget_settings=args.forget_settings,
            other_bids_dir=args.other_bids_dir,
        )
    )


def _status(args: argparse.Namespace) -> int:
    from cmburden.run import status

    layout = Layout(args.output_dir)
    status.expected(layout)
    print(status.as_text(status.of(layout)))
    return 0


def _retry(args: argparse.Namespace) -> int:
    from cmburden.run.retry import retry

    return retry(Layout(args.output_dir), args.scan, dry_run=args.dry_run)


if __name__ == "__main__":
    raise SystemExit(main())
