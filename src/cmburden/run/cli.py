"""The command line. A user's mistake ends in one sentence and code 2, never in a traceback."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from cmburden import RESEARCH_USE_ONLY, __version__
from cmburden.core.errors import told
from cmburden.core.paths import Layout
from cmburden.run.participants import _run
from cmburden.run.retry import _retry

#: Commands whose module gives ``add_arguments`` and ``main``; imported only when chosen.
ELSEWHERE = {
    "demo": "four simulated cohorts, the whole way",
    "simulate": "write a simulated BIDS cohort with known microbleeds",
    "train": "train the networks",
    "evaluate": "compare a run with known microbleeds",
    "review": "show the candidates to a reader in the browser; the next run counts with it",
    "pilot": "run some scans, then say what all of them will cost",
    "timings": "seconds a scan by stage, and bytes a scan by kind of file",
}


def main(arguments: list[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((a for a in arguments if not a.startswith("-")), None)

    def call() -> int:
        args = _parser(chosen).parse_args(*_split(arguments))
        return args.call(args)

    try:
        return told(call, "cmburden: ", arguments)
    except KeyboardInterrupt:
        print("cmburden: stopped; run the same command again to go on", file=sys.stderr)
        return 130


def _split(arguments: list[str]):
    """Arguments, and a namespace that carries what follows ``--`` on to Snakemake."""
    namespace = argparse.Namespace(further=[])
    if "--" in arguments:
        cut = arguments.index("--")
        namespace.further = arguments[cut + 1 :]
        arguments = arguments[:cut]
    return arguments, namespace


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cmburden",
        description=f"Cerebral microbleed burden of BIDS cohorts. {RESEARCH_USE_ONLY}",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser("run", help="detect microbleeds and make the cohort's tables")
    run.add_argument("bids_dir", type=Path)
    run.add_argument("output_dir", type=Path)
    run.add_argument("analysis_level", choices=("participant", "group"))
    run.add_argument("--participant-label", "--participant_label", nargs="+", metavar="LABEL")
    run.add_argument("--session-label", "--session_label", "--session-id", nargs="+")
    run.add_argument("--bids-filter-file", type=Path, metavar="JSON")
    run.add_argument("--skip-bids-validation", "--skip_bids_validation", action="store_true")
    run.add_argument("--config-file", type=Path, metavar="YAML")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one key of the configuration, such as verify.thresholds.definite=0.7",
    )
    run.add_argument(
        "--profile",
        default="local",
        metavar="{local,slurm,FOLDER}",
        help="where jobs run; FOLDER holds your cluster's config.yaml (config/README.md)",
    )
    run.add_argument("--cores", "--n_cpus", "--nprocs", type=int, default=os.cpu_count())
    run.add_argument("-n", "--dry-run", action="store_true")
    run.set_defaults(call=_run)

    status = commands.add_parser("status", help="scans by stage and reason, from the records")
    status.add_argument("output_dir", type=Path)
    status.set_defaults(call=_status)

    retry = commands.add_parser("retry", help="forget failed scans, so that they run again")
    retry.add_argument("output_dir", type=Path)
    retry.add_argument("--scan", nargs="+", default=[], help="these scans, failed or not")
    retry.set_defaults(call=_retry)

    for name, text in ELSEWHERE.items():
        sub = commands.add_parser(name, help=text)
        if name == chosen:
            at = {"simulate": "simulate.command"}.get(name, name)
            module = importlib.import_module(f"cmburden.{at}")
            module.add_arguments(sub)
            sub.set_defaults(call=module.main)
    return parser


def _status(args: argparse.Namespace) -> int:
    from cmburden.run import status as progress

    print(progress.said(progress.of(Layout(args.output_dir))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
