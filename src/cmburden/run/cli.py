"""The command line. A user's mistake ends the command with one sentence and exit code 2."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmburden import RESEARCH_USE_ONLY, __version__
from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.paths import Layout
from cmburden.run import arguments as run_arguments
from cmburden.run import options, parsing, work_folder
from cmburden.run.arguments import LEVELS
from cmburden.run.environment import begin_again_in_utf8

#: Exit code of a command whose output nobody reads to its end: 128 and the number of SIGPIPE.
_BROKEN_PIPE = 141


def main(arguments: list[str] | None = None) -> int | None:
    """Run a command and return its exit code; without ``arguments``, that of this process."""
    if arguments is None:
        begin_again_in_utf8()
        arguments = sys.argv[1:]
    words = as_command(arguments)

    def call() -> int:
        args = parsed(words)
        if (output := getattr(args, "output_dir", None)) is not None:
            work_folder.check(Layout(output), getattr(args, "work_dir", None))
        return args.call(args)

    try:
        code = exit_code(call, "cmburden: ", words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has enough, as `head` has. Nothing may be written when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        print("cmburden: stopped; run the same command again to go on", file=sys.stderr)
        return 130


def as_command(arguments: list[str]) -> list[str]:
    """``arguments`` with the command ``run`` before those of a BIDS-App's call.

    >>> as_command(["bids", "out", "participant"])
    ['run', 'bids', 'out', 'participant']
    >>> as_command(["status", "out"])
    ['status', 'out']
    """
    before = _split(arguments)[0]
    if _first_word(before) in names() or not set(LEVELS).intersection(before):
        return arguments
    return ["run", *arguments]


def names() -> list[str]:
    """Names of all commands."""
    return ["run", "status", "retry", "completion", *COMMANDS]


def _first_word(arguments: list[str]) -> str | None:
    return next((word for word in arguments if not word.startswith("-")), None)


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The arguments of the chosen command.

    Raises
    ------
    CMBurdenError
        If the first word is no command.
    SystemExit
        After the usage of the command, if its arguments are wrong.
    """
    before, namespace = _split(arguments)
    chosen = _first_word(before)
    if chosen is not None and chosen not in names():
        if Path(chosen).is_dir():
            raise CMBurdenError(
                f"{chosen}: write participant or group after the two folders: "
                f"cmburden {chosen} OUTPUT_DIR participant"
            )
        raise CMBurdenError(parsing.unknown_command(chosen, names()))
    parser, commands = make_parser(chosen)
    args, further = parser.parse_known_args(before, namespace)
    if further:
        command = commands[chosen] if chosen else parser
        command.error(parsing.unknown(further, parsing.flags(command)))
    return args


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


def _adapt() -> Any:
    from cmburden.adapt import command

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


def _dicom() -> Any:
    from cmburden.run import dicom

    return dicom


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
    "adapt": (
        "adapt the networks to scans without labels, checked on participants not seen",
        _adapt,
    ),
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
    "dicom": ("write a scan's microbleeds as DICOM SEG and SR for a PACS", _dicom),
    "pilot": ("run some scans, then estimate the cost of all scans", _pilot),
    "forget": ("remove a participant who has withdrawn from the output folder", _forget),
    "timings": ("show seconds a scan by stage, and bytes a scan by kind of file", _timings),
}


def make_parser(
    chosen: str | None, *, whole: bool = False
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser, and those of the commands by name.

    Only the ``chosen`` command has its arguments: the modules of others are not imported, unless
    the ``whole`` is asked for.
    """
    parser = argparse.ArgumentParser(
        prog="cmburden",
        usage="cmburden BIDS_DIR OUTPUT_DIR {participant,group} [options]\n"
        "       cmburden COMMAND ...",
        description=f"Cerebral microbleed burden of BIDS cohorts. {RESEARCH_USE_ONLY}",
        epilog="cmburden run --help lists the options of BIDS_DIR OUTPUT_DIR participant.",
    )
    parser.add_argument("--version", action="version", version=f"CMBurden {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, prog=f"cmburden {name}")

    run = command("run", "detect microbleeds, make tables and report (may be left out)")
    run_arguments.add(run)
    run.set_defaults(call=_run)
    status = command("status", "count scans by stage and reason, from the records")
    options.add_output_dir(status)
    status.set_defaults(call=_status)
    _add_retry(command("retry", "clear failed scans, so that the next run tries them again"))
    for name, (text, module_of) in COMMANDS.items():
        one = command(name, text)
        if whole or name == chosen:
            module = module_of()
            module.add_arguments(one)
            one.set_defaults(call=module.main)
    _add_completion(command("completion", "print the completion of commands and flags for a shell"))
    return parser, dict(commands.choices)


def _add_retry(parser: argparse.ArgumentParser) -> None:
    options.add_output_dir(parser)
    parser.add_argument(
        "--scan", nargs="+", default=[], metavar="ID", help="scans to repeat, failed or not"
    )
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="list what would run again; remove nothing"
    )
    parser.set_defaults(call=_retry)


def _add_completion(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print a script for your shell. bash: cmburden completion bash > "
        "~/.local/share/bash-completion/completions/cmburden; zsh: into a folder of $fpath as "
        "_cmburden; tcsh: source it."
    )
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="your shell")
    parser.set_defaults(call=_completion)


def _run(args: argparse.Namespace) -> int:
    if args.bids_database_dir is not None:
        print("--bids-database-dir: not used; the dataset is indexed in seconds")
    if args.reports_only:
        from cmburden.run import report

        return report.make_again(Layout(args.output_dir))
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
            exclude_participant_label=args.exclude_participant_label or (),
            threads=args.omp_nthreads,
            memory_mb=args.mem,
            work_dir=args.work_dir,
            strict=args.strict,
            stop_at_first_failure=args.stop_on_first_crash,
            verbose=bool(args.verbose),
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


def _completion(args: argparse.Namespace) -> int:
    from cmburden.run import completion

    print(completion.script(make_parser(None, whole=True)[0], args.shell))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
