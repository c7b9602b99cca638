"""The options of predict and export; nothing heavy is imported, so that `--help` is quick."""

from __future__ import annotations

import argparse
from pathlib import Path

from protein_robust.commands.option_types import count, day, fraction_or_none

Commands = argparse._SubParsersAction  # argparse has no public name for it

PREDICT_DESCRIPTION = """\
Classify every sequence of a FASTA file; each is seen as one region. Its verdict is the first of
these that applies:
  too-short   fewer residues than the shortest training example
  unknown     too many shuffled sequences of its length look as familiar (--unknown-level)
  accept      the family is sure enough (--tolerated-error)
  clan-only   only the clan is sure enough
  unknown     neither is
"""

PREDICT_EXAMPLES = """\
examples:
  predict --model results/example/runs/RUN proteins.fasta.gz --output families.tsv
  predict --model models:/example@champion proteins.fasta --output families.parquet
  zcat proteins.fasta.gz | predict --model RUN - --tolerated-error 0.01 > families.tsv

The table has one row a sequence, in the order of the file, and the names of its columns in the
first line. Columns 1 to 11 are InterProScan's; missing values are `-`. The date is the one column
that changes from day to day: give --date for the same bytes each time.
"""


def add_predict(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add `predict` to the parser."""
    parser = commands.add_parser(
        "predict",
        help="the families of the sequences of a FASTA, with confidence and verdict",
        description=PREDICT_DESCRIPTION,
        epilog=PREDICT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("fasta", metavar="FASTA", help="also .gz or .zst; - for standard input")
    _add_model(parser)
    out = ".tsv, .parquet or .gff3; - or nothing: TSV to standard output"
    parser.add_argument("--output", metavar="FILE", help=out)
    error = "fraction of wrong ones among the accepted: 0.01, 0.02, 0.05 (default), 0.1, 0.2; none"
    parser.add_argument(
        "--tolerated-error", type=fraction_or_none, default=0.05, metavar="E", help=error
    )
    level = "empirical p value above which a sequence is unknown (0.05)"
    parser.add_argument("--unknown-level", type=float, default=0.05, metavar="P", help=level)
    broken = "stop at a broken record (default), or pass over it and list it"
    parser.add_argument("--on-bad-record", choices=["error", "skip"], default="error", help=broken)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=count, metavar="N", help="CPU threads; else all")
    parser.add_argument("--date", type=day, metavar="YYYY-MM-DD", help="of the run; else today")
    parser.set_defaults(action=("predict", "predict_fasta"))


def add_export(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add `export` to the parser."""
    parser = commands.add_parser(
        "export",
        help="the network of a model as ONNX",
        description="Write the network as ONNX: tokens (B, L) and mask (B, L) to logits (B, K), "
        "with B and L of any size. The file is checked against PyTorch before it takes its name. "
        "Needs the extra `onnx`: pip install 'protein-robust[onnx]'.",
    )
    _add_model(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.onnx")
    parser.set_defaults(action=("predict", "export_model"))


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = (
        "the folder of an evaluated run or of its model, models:/NAME@champion, or runs:/ID/PATH"
    )
    parser.add_argument("--model", required=True, metavar="MODEL", help=model)
