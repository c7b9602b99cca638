"""The text of a synthetic Pfam-A.seed around its residues: features, names, structures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

CLAN_RATE = 0.4
NUM_CLANS = 650
STRUCTURE_RATE = 0.03
"""Rows with known structures; they have four on average."""

TYPES = (b"Family",) * 60 + (b"Domain",) * 35 + (b"Repeat",) * 3 + (b"Coiled-coil", b"Motif")
SPECIES = (
    b"HUMAN MOUSE RAT BOVIN CHICK DANRE XENLA DROME CAEEL YEAST SCHPO ARATH ORYSJ MAIZE ECOLI BACSU"
    b" PSEAE MYCTU HELPY SYNY3 METJA ARCFU PYRHO THEAC SULSO HALSA PLAF7 TRYB2 LEIMA DICDI NEUCR"
    b" ASPFU CANAL USTMA NEMVE STRPU CIOIN BRAFL MONBE TETTS"
).split()
WORDS = (
    b"protein domain family binding found in this is the of conserved region that contains and to a"
    b" bacterial eukaryotic membrane kinase receptor subunit terminal transcription factor enzyme"
    b" catalytic activity residues structure function unknown putative proteins which are involved"
    b" synthesis transport complex DNA RNA ATP zinc iron sulfur repeat helical beta-sheet motif"
    b" archaea viruses plants fungi"
).split()
RADICES = (
    (b"OPQ", 466_560 * 10),
    (b"0123456789", 466_560),
    (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 12_960),
    (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 360),
    (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 10),
    (b"0123456789", 1),
)
"""Letters of each place of an accession such as Q1AB23, and what one step there counts."""
NUM_ACCESSIONS = 3 * 4_665_600
STRIDE = 7_654_321
"""Prime to the number of accessions: neighbours in the file are not neighbours in the alphabet."""


def family_features(number: int, num_rows: int, *, rng: np.random.Generator) -> bytes:
    """The first line and the ``#=GF`` lines of a family, in Pfam's order.

    Args:
        number: of the family, from 0.
        num_rows: of its alignment.
        rng: where the words come from.
    """
    words = [WORDS[i] for i in rng.integers(0, len(WORDS), 200)]
    numbers = rng.integers(1000, 30_000_000, 20).tolist()
    score = 20 + numbers[0] % 150 / 10
    lines = [
        b"ID   %s_%d" % (words[0][:8], number + 1),
        b"AC   PF%05d.%d" % (number + 1, 1 + numbers[1] % 30),
        b"DE   %s" % b" ".join(words[1:6]).capitalize(),
        b"AU   Bateman A;0000-0002-6982-4660",
        b"SE   Pfam-B_%d (release 20.0)" % numbers[2],
        b"GA   %.2f %.2f;" % (score, score),
        b"TC   %.2f %.2f;" % (score + 0.1, score + 0.1),
        b"NC   %.2f %.2f;" % (score - 0.1, score - 0.1),
        b"BM   hmmbuild HMM.ann SEED.ann",
        b"SM   hmmsearch -Z 61295632 -E 1000 --cpu 4 HMM pfamseq",
        b"TP   %s" % TYPES[numbers[3] % len(TYPES)],
    ]
    if numbers[4] % 4 == 0:
        lines.append(b"WK   %s" % words[6].capitalize())
    if rng.random() < CLAN_RATE:
        lines.append(b"CL   CL%04d" % (1 + numbers[5] % NUM_CLANS))
    for place in range(numbers[6] % 3):
        begin = 7 + 20 * place
        lines += [
            b"RN   [%d]" % (place + 1),
            b"RM   %d" % numbers[7 + place],
            b"RT   %s" % b" ".join(words[begin : begin + 8]).capitalize(),
            b"RT   %s." % b" ".join(words[begin + 8 : begin + 14]),
            b"RA   Finn RD, Mistry J, Bateman A;",
            b"RL   J Mol Biol %d;%d:%d-%d." % (1985 + place, 200 + number % 99, 11, 29),
        ]
    lines.append(b"DR   INTERPRO; IPR%06d;" % (number + 1))
    lines.append(b"DR   SO; 0100021; polypeptide_conserved_region;")
    for begin in range(60, 60 + 10 * (1 + numbers[10] % 8), 10):
        lines.append(b"CC   %s" % b" ".join(words[begin : begin + 10]))
    lines.append(b"SQ   %d" % num_rows)
    return b"# STOCKHOLM 1.0\n" + b"".join(b"#=GF %s\n" % line for line in lines)


def name_rows(
    row_residues: NDArray[np.int64], *, first: int, rng: np.random.Generator
) -> list[tuple[bytes, bytes]]:
    """Name and accession of each row, such as ``Q1AB23_YEAST/12-98`` and ``Q1AB23``.

    Args:
        row_residues: of each row, which the coordinates tell, shape (N,), int64.
        first: rows that were named before; no accession comes twice.
        rng: where the rest comes from.
    """
    size = len(row_residues)
    codes = (first + np.arange(size)) * STRIDE % NUM_ACCESSIONS
    places = [
        np.frombuffer(letters, np.uint8)[codes // step % len(letters)] for letters, step in RADICES
    ]
    joined = np.stack(places, axis=1).tobytes()
    starts = rng.integers(1, 900, size)
    ends = (starts + row_residues - 1).tolist()
    species = rng.integers(0, 2 * len(SPECIES), size).tolist()
    named = []
    for row, (start, end, kind) in enumerate(zip(starts.tolist(), ends, species, strict=True)):
        accession = joined[6 * row : 6 * row + 6]
        if kind >= len(SPECIES):  # half are in the longer form
            accession = b"A0A0" + accession
        name = b"%s_%s/%d-%d" % (accession, SPECIES[kind % len(SPECIES)], start, end)
        named.append((name, accession))
    return named


def structure_lines(
    cells: Bytes, names: list[tuple[bytes, bytes]], *, consensus: bytes, rng: np.random.Generator
) -> bytes:
    """The ``#=GS`` lines, the rows, and the ``#=GR`` and ``#=GC`` lines of a family.

    Args:
        cells: aligned residues, shape (N, w), uint8.
        names: what `name_rows` gave.
        consensus: of the columns, w letters.
        rng: where the structures come from.
    """
    width = cells.shape[1]
    pad = max(len(name) for name, _ in names)
    num_structures = rng.geometric(0.25, len(names)) * (rng.random(len(names)) < STRUCTURE_RATE)
    is_known = num_structures > 0
    margin = 12 if is_known.any() else 1  # room for what stands before and after a name
    folds = np.repeat(rng.choice(np.frombuffer(b"HHEE-TS", np.uint8), width // 6 + 1), 6)[:width]
    text = cells.tobytes()
    accessions, rows = [], []
    for row, (name, accession) in enumerate(names):
        accessions.append(b"#=GS %s AC %s.1\n" % (name.ljust(pad), accession))
        rows.append(b"%s %s\n" % (name.ljust(pad + margin), text[row * width : (row + 1) * width]))
        if is_known[row]:
            accessions += _structures(name, int(num_structures[row]), pad=pad)
            seen = np.where(cells[row] >= ord("A"), folds, ord(".")).astype(np.uint8)
            rows.append(b"#=GR %s SS %s\n" % (name.ljust(pad + margin - 8), seen.tobytes()))
    if is_known.any():
        rows.append(b"%s %s\n" % (b"#=GC SS_cons".ljust(pad + margin), folds.tobytes()))
    rows.append(b"%s %s\n" % (b"#=GC seq_cons".ljust(pad + margin), consensus))
    return b"".join(accessions) + b"".join(rows)


def _structures(name: bytes, count: int, *, pad: int) -> list[bytes]:
    """The ``#=GS`` lines of a row's structures."""
    region = name.rpartition(b"/")[2]
    return [
        b"#=GS %s DR PDB; %d%s %c; %s;\n"
        % (name.ljust(pad), 1 + place % 9, name[1:4], 65 + place % 26, region)
        for place in range(count)
    ]
