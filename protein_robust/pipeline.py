"""The command line: `python -m protein_robust.pipeline COMMAND ...`.

Only the parser is built at import time, so that `--help` is quick; each command imports what it
needs. Exit codes: 0; 1 where something went wrong on our side or a training failed; 2 for a mistake
in what was asked, with one message and no traceback; 128 + the signal that asked to stop.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from protein_robust.commands.option_types import count, names_or_count, port
from protein_robust.commands.predict_options import add_export, add_predict

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
  # a Pfam release
  python -m protein_robust.pipeline ingest Pfam-A.seed.gz --output data/processed/pfam
  # own data: a table with the columns `sequence` and `family_accession`
  python -m protein_robust.pipeline ingest mine.csv --output data/processed/mine
  python -m protein_robust.pipeline run pipelines/example.yaml \\
      --set name=mine --set data.source=mine.csv

exit codes: 0 success, 1 a training failed, 2 a mistake in the request, 130 Ctrl-C, 143 SIGTERM,
138 SIGUSR1 (after these three the same command goes on where it stopped).
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
    _add_download(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_compare(commands)
    add_predict(commands)
    add_export(commands)
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
        _behave_as_a_process(parsed.command)
    # Before MLflow is imported anywhere: no usage data leave this machine.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from protein_robust.console import errors
    from protein_robust.errors import ConfigError, InputError, ProteinRobustError

    try:
        room, action = parsed.action
        module = importlib.import_module(f"protein_robust.commands.{room}")
        code: int = getattr(module, action)(parsed)
    except (InputError, ConfigError) as error:
        errors.print(f"error: {error}", markup=False, soft_wrap=True)
        return 2
    except ProteinRobustError as error:
        errors.print(f"error: {error}", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt as stop:
        goes_on = "; the same command goes on where it stopped"
        hint = goes_on if parsed.command in ("run", "train", "download") else ""
        errors.print(f"interrupted{hint}", markup=False)
        return 128 + getattr(stop, "signal_number", signal.SIGINT)
    return code


def _behave_as_a_process(command: str) -> None:
    """End on SIGTERM as on an exception, so that workers end too; warnings without source lines."""

    def terminate(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    if command in ("run", "train"):  # a training writes a checkpoint first
        from protein_robust.training import stopping

        stopping.install()
    else:
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
    parser.set_defaults(action=("studies", "run_study"))


def _add_ingest(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "ingest",
        help="files to a dataset folder: read, check, split, data card",
        description="Read sequences with their families and write a dataset folder (Parquet, "
        "data_card.md, manifest.json). SOURCE is a Pfam-A.seed Stockholm file, a FASTA file, a "
        "CSV, TSV or Parquet table with a sequence and a family column (each also .gz or .zst), a "
        "folder of such tables in shards, - for standard input, the word `example`, or a "
        "study's YAML, whose `data` section is then used (so also for images).",
    )
    parser.add_argument("source", nargs="*", metavar="SOURCE", help="one file or several")
    for split in ("train", "valid", "test"):
        parser.add_argument(f"--{split}", metavar="FILE", help=f"the {split} split, kept as it is")
    parser.add_argument("--output", type=Path, metavar="DIR", help="the dataset folder")
    _add_reading_options(parser.add_argument_group("how to read"))
    _add_split_options(parser.add_argument_group("how to divide"))
    _add_overrides(parser)
    parser.add_argument("--track", action="store_true", help="data card and figures into MLflow")
    parser.set_defaults(action=("data", "ingest_files"))


def _add_reading_options(group: argparse._ArgumentGroup) -> None:
    formats = ["auto", "table", "stockholm", "fasta"]
    group.add_argument("--format", choices=formats, help="found out if not given")
    broken = "stop at a broken record (default), or pass over it and list it"
    group.add_argument("--on-bad-record", choices=["error", "skip"], help=broken)
    for column in ("sequence", "family", "name", "split"):
        group.add_argument(f"--{column}-column", metavar="NAME", help="of a table")
    finds = "finds (?P<family>...) in each FASTA header"
    group.add_argument("--label-pattern", metavar="REGEX", help=finds)
    group.add_argument("--labels", metavar="TABLE", help="families of the names of a FASTA file")
    preset = "deeploc: known FASTA headers; of a study's YAML: one of its presets"
    group.add_argument("--preset", metavar="NAME", help=preset)
    group.add_argument("--unknown", metavar="WORD", help="stands for a family that is not known")
    group.add_argument("--clans", metavar="FILE", help="Pfam-A.hmm.dat or Pfam-A.clans.tsv")


def _add_split_options(group: argparse._ArgumentGroup) -> None:
    rules = ["auto", "random", "existing", "clustered"]
    auto = "auto (default): existing where the sources name splits, else random"
    group.add_argument("--split", choices=rules, help=auto)
    for part in ("--valid-fraction", "--test-fraction"):
        group.add_argument(part, type=float, metavar="F", help="of each family (0.1)")
    identity = "clustered: of a test with a training sequence of its family (0.25)"
    group.add_argument("--max-identity", type=float, metavar="F", help=identity)
    for what in ("families", "clans"):
        option, out = (
            f"--hold-out-{what}",
            f"{what} that are no classes: how many to draw, or which",
        )
        group.add_argument(option, type=names_or_count, metavar="N|A,B", help=out)
    conflicts = "sequences of several families (keep)"
    group.add_argument("--conflicts", choices=["keep", "drop"], help=conflicts)
    group.add_argument("--num-families", type=int, metavar="N", help="draw N families at random")
    group.add_argument("--seed", type=int, metavar="N", help="of all that is drawn (0)")


def _add_download(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "download",
        help="a named data set from its official address",
        description="Fetch pfam-seed, pfam-hmm-dat, pfam-clans, deeploc, cifar10 or cifar100. What "
        "is interrupted goes on with the same command; the file has its name only once its "
        "checksum is right.",
    )
    names = "pfam-seed, pfam-hmm-dat, pfam-clans, deeploc, cifar10, cifar100"
    parser.add_argument("name", metavar="NAME", help=names)
    releases = "37.4, current; deeploc: 1.0; cifar10, cifar100: python"
    parser.add_argument("--release", required=True, metavar="R", help=releases)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where to put it")
    parser.add_argument("--sha256", metavar="HEX", help="instead of the known MD5 sum")
    parser.add_argument("--mirror", metavar="URL", help="of the same folders as the official one")
    parser.set_defaults(action=("data", "download_file"))


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
    parser.set_defaults(action=("studies", "train_study"))


def _add_evaluate(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="a trained run again: predictions.parquet, metrics.json",
        description="Evaluate the last and the best-validation network of trained runs, and write "
        "the classifier for `predict`. MLflow hears of it with the next `run` of the study.",
    )
    parser.add_argument("run", nargs="+", type=Path, metavar="RUN_DIR", help="folder of a run")
    parser.set_defaults(action=("results", "evaluate_runs"))


def _add_compare(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "compare",
        help="the table of finished runs, of one study or several",
        description="Print the table of finished runs; write it as CSV, Markdown and Parquet.",
    )
    parser.add_argument("folder", nargs="+", type=Path, metavar="DIR", help="of a study or a run")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write; else nowhere")
    parser.set_defaults(action=("results", "compare_folders"))


def _add_ui(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "ui",
        help="MLflow's pages on this machine, with links to each study",
        description="Start MLflow's pages on 127.0.0.1 in their light form, without telemetry, and "
        "print the links that open each study's charts.",
    )
    parser.add_argument("--uri", help="else $MLFLOW_TRACKING_URI, else mlflow.db of this folder")
    parser.add_argument("--port", type=port, default=5000, help="5000 if not given")
    parser.set_defaults(action=("pages", "open_ui"))


ENGINE = "local: processes of this machine (default); slurm: a job each; ray: a task each"
ENGINE_OPTION = (
    "slurm: time (minutes; 60), cpus, gpus, memory (GB), partition, any other of submitit's, or "
    "cluster=local; ray: address=auto, HOST:6379 or ray://HOST:10001, else one of this machine"
)
JOBS = "at a time; else one for each GPU or processor of this machine, and on others all at once"


def _add_study_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", type=Path, metavar="STUDY.yaml", help="see pipelines/")
    _add_overrides(parser)
    preset = "of the study's `presets`, such as laptop: what is different then"
    parser.add_argument("--preset", metavar="NAME", help=preset)
    parser.add_argument("--print-config", action="store_true", help="print all of it and stop")
    where = parser.add_argument_group("where the trainings run")
    where.add_argument("--engine", choices=["local", "slurm", "ray"], default="local", help=ENGINE)
    where.add_argument(
        "--engine-option", action="append", default=[], metavar="KEY=VALUE", help=ENGINE_OPTION
    )
    where.add_argument("--jobs", type=count, metavar="N", help=JOBS)


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    entry = "replace an entry of the study: training.epochs=5, losses.0.epsilon=0.2, seeds=[0,1]"
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help=entry
    )


if __name__ == "__main__":
    sys.exit(main())
