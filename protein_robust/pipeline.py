"""The command line: `python -m protein_robust.pipeline COMMAND ...`.

Only the parser is built at import time, so that `--help` is quick; each command imports what it
needs. Exit codes: 0; 1 where something went wrong on our side or a training failed; 2 for a mistake
in what was asked, with one message and no traceback; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

DESCRIPTION = """\
Train protein family classifiers on labels that cannot be fully trusted, and compare robust losses.

A study is one YAML file: data, noise, network, training, a list of losses, seeds. See pipelines/.
"""

EXAMPLES = """\
examples:
  # the talk's table on the embedded synthetic example, in a few minutes
  python -m protein_robust.pipeline run pipelines/example.yaml
  # the same with another noise rate, and three seeds
  python -m protein_robust.pipeline run pipelines/example.yaml \\
      --set noise.1.label.rate=0.2 --set 'seeds=[0,1,2]'
  # own data: a table with the columns `sequence` and `family_accession`
  python -m protein_robust.pipeline ingest mine.csv --output data/processed/mine
  python -m protein_robust.pipeline run pipelines/example.yaml \\
      --set name=mine --set data.source=mine.csv

exit codes: 0 success, 1 a training failed, 2 a mistake in the request, 130 interrupted with Ctrl-C
(the same command goes on where it stopped).
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m protein_robust.pipeline",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_ingest(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_compare(commands)
    _add_ui(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command.

    Args:
        arguments: words of the command line; those of this process if not given.

    Returns:
        The exit code.
    """
    parsed = build_parser().parse_args(arguments)
    if arguments is None:
        _behave_as_a_process()
    # Before MLflow is imported anywhere: no usage data leave this machine.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from protein_robust.console import errors
    from protein_robust.errors import ConfigError, InputError, ProteinRobustError

    try:
        from protein_robust import commands

        code: int = getattr(commands, parsed.action)(parsed)
    except (InputError, ConfigError) as error:
        errors.print(f"error: {error}", markup=False, soft_wrap=True)
        return 2
    except ProteinRobustError as error:
        errors.print(f"error: {error}", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        goes_on = "; the same command goes on where it stopped"
        hint = goes_on if parsed.command in ("run", "train") else ""
        errors.print(f"interrupted{hint}", markup=False)
        return 130
    return code


def _behave_as_a_process() -> None:
    """End on SIGTERM as on an exception, so that workers end too; warnings without source lines."""

    def terminate(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, terminate)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"


Commands = argparse._SubParsersAction  # argparse has no public name for it


def _add_run(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="a whole study: ingest, noise, train, evaluate, table",
        description="Carry out a study and print its table. What is done already with the same "
        "inputs is not done again; after Ctrl-C the same command goes on.",
    )
    _add_study_arguments(parser)
    parser.add_argument("--jobs", type=_count, metavar="N", help=JOBS_HELP)
    parser.set_defaults(action="run_study")


def _add_ingest(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "ingest",
        help="files to a dataset folder: read, check, split",
        description="Read sequences with their families and write a dataset folder (Parquet and "
        "manifest.json). SOURCE is a CSV, TSV or Parquet table with a sequence and a family "
        "column, a Pfam-A.seed Stockholm file (each also .gz), the word `example`, or a study's "
        "YAML, whose `data` section is then used.",
    )
    parser.add_argument("source", nargs="*", metavar="SOURCE", help="one file or several")
    for split in ("train", "valid", "test"):
        parser.add_argument(f"--{split}", metavar="FILE", help=f"the {split} split, kept as it is")
    parser.add_argument("--output", type=Path, metavar="DIR", help="the dataset folder")
    parser.add_argument("--format", choices=["auto", "table", "stockholm"], help="else found out")
    for column in ("sequence", "family", "name", "split"):
        parser.add_argument(f"--{column}-column", metavar="NAME", help="of a table")
    parser.add_argument("--valid-fraction", type=float, metavar="F", help="of each family (0.1)")
    parser.add_argument("--test-fraction", type=float, metavar="F", help="of each family (0.1)")
    parser.add_argument("--num-families", type=int, metavar="N", help="draw N families at random")
    parser.add_argument("--seed", type=int, metavar="N", help="of split and drawn families (0)")
    _add_overrides(parser)
    parser.set_defaults(action="ingest_files")


def _add_train(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "train",
        help="some trainings of a study, without evaluating them",
        description="Train those runs of a study that match all of --loss, --noise and --seed. "
        "`run` or `evaluate` goes on from there.",
    )
    _add_study_arguments(parser)
    parser.add_argument("--loss", action="append", metavar="LABEL", help="may be given repeatedly")
    parser.add_argument("--noise", action="append", metavar="NAME", help="may be given repeatedly")
    parser.add_argument("--seed", action="append", type=int, metavar="N", help="repeatable")
    parser.add_argument("--jobs", type=_count, metavar="N", help=JOBS_HELP)
    parser.set_defaults(action="train_study")


def _add_evaluate(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="a trained run again: predictions.parquet, metrics.json",
        description="Evaluate the last and the best-validation network of trained runs.",
    )
    parser.add_argument("run", nargs="+", type=Path, metavar="RUN_DIR", help="folder of a run")
    parser.set_defaults(action="evaluate_runs")


def _add_compare(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "compare",
        help="the table of finished runs, of one study or several",
        description="Print the table of finished runs, and write it as CSV, Markdown and Parquet "
        "together with the figures.",
    )
    parser.add_argument("folder", nargs="+", type=Path, metavar="DIR", help="of a study or a run")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write; else nowhere")
    parser.set_defaults(action="compare_folders")


def _add_ui(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "ui",
        help="MLflow's pages on this machine, with links to each study",
        description="Start MLflow's pages on 127.0.0.1 in their light form, without telemetry, and "
        "print the links that open each study's charts.",
    )
    parser.add_argument("--uri", help="else $MLFLOW_TRACKING_URI, else mlflow.db of this folder")
    parser.add_argument("--port", type=_port, default=5000, help="5000 if not given")
    parser.set_defaults(action="open_ui")


JOBS_HELP = "trainings at a time; one for each processor if not given, one on a GPU"


def _add_study_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", type=Path, metavar="STUDY.yaml", help="see pipelines/")
    _add_overrides(parser)
    parser.add_argument(
        "--print-config", action="store_true", help="print the complete study and stop"
    )


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="replace an entry of the study: training.epochs=5, losses.0.epsilon=0.2, seeds=[0,1]",
    )


def _port(text: str) -> int:
    """A port number of an option."""
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text!r}")
    return int(text)


def _count(text: str) -> int:
    """A positive number of an option."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
