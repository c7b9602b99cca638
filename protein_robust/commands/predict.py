"""The commands that use a trained network: predict, export."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import IO

import pyarrow as pa

from protein_robust.classifier import VERDICTS, Classifier
from protein_robust.classifier.folder import find_model
from protein_robust.classifier.judging import Criteria, make_criteria
from protein_robust.classifier.stream import Tally, classify_blocks, completed_rows
from protein_robust.classifier.writing import check_output, write_file, write_tsv
from protein_robust.console import ReadingProgress, errors, output
from protein_robust.errors import InputError
from protein_robust.ingest import STDIN, IngestOptions, Source
from protein_robust.ingest.readers.files import check_is_file
from protein_robust.ingest.readers.headers import NO_LABELS
from protein_robust.ingest.records import BadRecords, CleanBlock, clean_block
from protein_robust.ingest.sources import Reading, read_source

NUM_SHOWN = 20
"""Skipped records that are listed one by one."""


def predict_fasta(parsed: argparse.Namespace) -> int:
    """Classify the sequences of a FASTA file."""
    started = time.perf_counter()
    target = None if parsed.output in (None, STDIN) else Path(parsed.output)
    if parsed.fasta != STDIN:
        check_is_file(parsed.fasta)
    if target is not None:
        check_output(target)
    classifier = _load(parsed)
    criteria = make_criteria(classifier.thresholds, parsed.tolerated_error, parsed.unknown_level)
    bad, tally = BadRecords(parsed.on_bad_record), Tally()
    try:
        # Beside the output, where there is room for as much.
        with tempfile.TemporaryFile(dir=None if target is None else target.parent) as file:
            _classify(classifier, parsed.fasta, criteria, file=file, tally=tally, bad=bad)
            day = parsed.date or date.today()
            _write(target, completed_rows(file, tally, model=classifier.name, day=day))
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError("room for the answers, here and beside the output", reason) from error
    _say(tally, bad, seconds=time.perf_counter() - started)
    return 0


def export_model(parsed: argparse.Namespace) -> int:
    """Write a model's network as ONNX."""
    from protein_robust.classifier.onnx_export import export_onnx

    if parsed.output.suffix != ".onnx":
        raise InputError("an output that ends with .onnx", repr(parsed.output.name))
    if not parsed.output.parent.is_dir():
        folder = parsed.output.parent
        raise InputError("an existing folder for the output", "none there", path=folder)
    classifier = Classifier.load(_find(parsed.model))
    difference = export_onnx(classifier, parsed.output)
    output.print(f"{parsed.output}:", markup=False, soft_wrap=True)
    output.print(f"  logits differ from PyTorch's by at most {difference:.1e}", markup=False)
    return 0


def _find(model: str) -> Path:
    """The folder of a model on this machine; MLflow's are fetched."""
    if model.startswith(("models:/", "runs:/")):
        from protein_robust.tracking import fetch_model

        return Path(fetch_model(model))
    return find_model(Path(model))


def _load(parsed: argparse.Namespace) -> Classifier:
    import torch

    if parsed.threads is not None:
        torch.set_num_threads(parsed.threads)
    has_gpu = torch.cuda.is_available()
    if parsed.device == "cuda" and not has_gpu:
        raise InputError("`--device cuda` on a machine with a GPU that PyTorch can use", "none")
    device = "cuda" if has_gpu and parsed.device != "cpu" else "cpu"
    return Classifier.load(_find(parsed.model)).on(device)


def _classify(
    classifier: Classifier,
    path: str,
    criteria: Criteria,
    *,
    file: IO[bytes],
    tally: Tally,
    bad: BadRecords,
) -> None:
    """Read, classify and keep everything, and show how far it is."""
    num_read = 0
    total = 0 if path == STDIN else Path(path).stat().st_size

    def cleaned() -> Iterator[CleanBlock]:
        nonlocal num_read
        reading = Reading(IngestOptions(format="fasta"), NO_LABELS, bad)
        # As a path: the word `example` is no file to `Source`.
        source = Source(path if path == STDIN else Path(path))
        for block, num_bytes in read_source(source, reading, identity={}):
            num_read = num_bytes
            clean = clean_block(block, bad)
            if clean is not None:
                yield clean

    with ReadingProgress("classifying") as progress:
        for num_done in classify_blocks(classifier, cleaned(), criteria, file=file, tally=tally):
            progress(num_done, min(num_read, total), total)


def _write(target: Path | None, rows: Iterator[pa.Table]) -> None:
    """Write to a file, or to standard output as much as somebody reads."""
    if target is not None:
        write_file(target, rows)
        return
    try:
        write_tsv(sys.stdout.buffer, rows)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # such as of `| head`
        # What is left is written when Python ends, and must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(tally: Tally, bad: BadRecords, *, seconds: float) -> None:
    """What was done, on standard error, since standard output may hold the table."""
    number = tally.num_sequences
    counts = ", ".join(f"{tally.verdicts[verdict]:,} {verdict}" for verdict in VERDICTS)
    lines = [f"{number:,} sequences in {seconds:.1f} s ({number / seconds:,.0f}/s): {counts}"]
    cleaned = ", ".join(f"{count:,} {name}" for name, count in tally.letters.items() if count)
    if cleaned:
        lines.append(f"letters: {cleaned.replace('_', ' ')}")
    if bad.skipped:
        lines.append(f"skipped: {sum(record.num_rows for record in bad.skipped):,} records")
        for record in bad.skipped[:NUM_SHOWN]:
            line = "" if record.line is None else f":{record.line}"
            lines.append(f"  {record.path}{line}: {record.reason}")
        if len(bad.skipped) > NUM_SHOWN:
            lines.append(f"  and {len(bad.skipped) - NUM_SHOWN:,} more")
    for line in lines:
        errors.print(line, markup=False, soft_wrap=True)
