"""Arguments of `cmburden run`, which are those of a BIDS-App and a few more.

Imports the standard library and small modules only.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from cmburden import __version__
from cmburden.run import options

LEVELS = ("participant", "group")
_MB = {"": 1, "m": 1, "mb": 1, "mib": 1, "g": 1024, "gb": 1024, "gib": 1024, "t": 1024**2}


def megabytes(text: str) -> int:
    """Memory in MB: a number of MB, or one with a unit.

    >>> megabytes("8000"), megabytes("8GB"), megabytes("1.5g")
    (8000, 8192, 1536)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in _MB or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: write MB, or a unit, such as 16000 or 16GB")
    return max(int(float(match[1]) * _MB[match[2]]), 1)


def gigabytes(text: str) -> int:
    """Memory in MB of a number of GB."""
    return megabytes(f"{text}g")


def at_least_one(text: str) -> int:
    """A number of processors."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number of at least 1")
    return int(text)


def add(parser: argparse.ArgumentParser) -> None:
    """Add all arguments of `cmburden run`."""
    parser.add_argument("bids_dir", type=Path, help="the BIDS dataset; it is never written to")
    parser.add_argument(
        "output_dir",
        type=Path,
        help="folder for the results, a BIDS derivative dataset; the same one goes on where it was",
    )
    parser.add_argument(
        "analysis_level",
        choices=LEVELS,
        help="participant: process the scans, then make tables and report; group: make tables and "
        "report of all scans processed so far",
    )
    _add_selection(parser.add_argument_group("which scans"))
    _add_settings(parser.add_argument_group("settings"))
    _add_machine(parser.add_argument_group("where, and how much at a time"))
    _add_course(parser.add_argument_group("the run"))
    _add_accepted(parser.add_argument_group("of other BIDS-Apps, without effect here"))
    parser.epilog = (
        "Options after -- go to Snakemake, for example: cmburden run BIDS OUT participant -- "
        "--forceall. Exit codes: 0 done, 1 the run did not reach its end, 2 a mistake in the "
        "command, 3 (with --strict) done but scans failed, 130 stopped by you."
    )


def _add_selection(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--participant-label",
        "--participant_label",
        nargs="+",
        metavar="LABEL",
        help="only these participants, with or without sub-; tables and report of more people "
        "stay as they are until the group level is run",
    )
    group.add_argument(
        "--exclude-participant-label",
        "--exclude_participant_label",
        nargs="+",
        metavar="LABEL",
        help="all participants but these, with or without sub-",
    )
    group.add_argument(
        "--session-label",
        "--session_label",
        "--session-id",
        nargs="+",
        metavar="LABEL",
        help="only these sessions, with or without ses-",
    )
    group.add_argument(
        "--bids-filter-file",
        "--bids_filter_file",
        type=Path,
        metavar="JSON",
        help='only images with these entities: {"t2starw": {"acquisition": "highres"}}',
    )
    group.add_argument(
        "--skip-bids-validation",
        "--skip_bids_validation",
        action="store_true",
        help="accept a folder without a valid dataset_description.json",
    )


def _add_settings(group: argparse._ArgumentGroup) -> None:
    options.add_settings(group)
    options.add_arguments(group)


def _add_machine(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--profile",
        default="local",
        metavar="{local,slurm,FOLDER}",
        help="place of the jobs; FOLDER holds your cluster's config.yaml (config/README.md)",
    )
    group.add_argument(
        "--cores",
        "--nprocs",
        "--nthreads",
        "--n-cpus",
        "--n_cpus",
        type=at_least_one,
        default=os.cpu_count(),
        metavar="N",
        help="processors of this machine to use (all)",
    )
    group.add_argument(
        "--omp-nthreads",
        type=at_least_one,
        metavar="N",
        help="threads of a job of the networks: the key `threads` of the configuration",
    )
    memory = group.add_mutually_exclusive_group()
    memory.add_argument(
        "--mem",
        "--mem-mb",
        "--mem_mb",
        type=megabytes,
        metavar="MB",
        help="memory of this machine to use, in MB or as 16GB; jobs wait for it (no limit)",
    )
    memory.add_argument(
        "--mem-gb", "--mem_gb", type=gigabytes, dest="mem", metavar="GB", help="the same in GB"
    )
    group.add_argument(
        "-w",
        "--work-dir",
        "--work_dir",
        type=Path,
        metavar="FOLDER",
        help="put intermediate results here, such as on a disk of this node, with a link to them "
        "at OUTPUT_DIR/work; a cluster's nodes must all see it",
    )


def _add_course(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-n", "--dry-run", action="store_true", help="print the jobs that would run; run none"
    )
    group.add_argument(
        "--strict", action="store_true", help="end with code 3 if a scan failed (not: was excluded)"
    )
    group.add_argument(
        "--stop-on-first-crash",
        action="store_true",
        help="end the run at the first scan that fails; the next run goes on after it",
    )
    group.add_argument(
        "--reports-only",
        action="store_true",
        help="make the pages again from the tables of OUTPUT_DIR; process nothing",
    )
    group.add_argument(
        "-v", "--verbose", action="count", default=0, help="print Snakemake's own messages"
    )
    group.add_argument("--version", action="version", version=f"CMBurden {__version__}")


def _add_accepted(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--bids-database-dir",
        type=Path,
        metavar="FOLDER",
        help="accepted: the dataset is indexed in seconds, and no database is read or written",
    )
    group.add_argument(
        "--notrack", action="store_true", help="accepted: nothing is ever sent anywhere"
    )
