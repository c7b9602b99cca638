import contextlib
import gzip
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protein_robust.errors import InputError
from protein_robust.ingest.readers.clans import merge_clans, merge_facts, read_clans
from protein_robust.ingest.records import NO_FACTS, FamilyFacts

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("PROTEIN_ROBUST_TEST_DATA", ROOT.parent / "shared" / "data"))
HMM_DAT = b"""\
# STOCKHOLM 1.0
#=GF ID   one
#=GF AC   PF00001.14
#=GF DE   M\xfcller domain
#=GF GA   21.1; 21.1;
#=GF TP   Domain
#=GF ML   41
//
# STOCKHOLM 1.0
#=GF ID   two
#=GF AC   PF00002.3
#=GF CL   CL0186
//

"""
TABLE = b"PF00001\t\t\tone\tM\xfcller domain\nPF00002\tCL0186\tclan\ttwo\t\\N\n\n"


def read(path: Path, content: bytes) -> dict[str, FamilyFacts]:
    path.write_bytes(content)
    return read_clans(path)


def real(name: str) -> Path:
    path = DATA / "stockholm" / name
    if not path.is_file():
        pytest.skip(f"real data not there: {path}")
    return path


def test_hmm_dat_gives_names_types_thresholds_and_clans(tmp_path: Path) -> None:
    assert read(tmp_path / "a", HMM_DAT) == {
        "PF00001": FamilyFacts("one", "Müller domain", "Domain", None, "21.1; 21.1;"),
        "PF00002": FamilyFacts("two", clan="CL0186"),
    }


def test_a_table_gives_names_and_clans(tmp_path: Path) -> None:
    assert read(tmp_path / "a", TABLE) == {
        "PF00001": FamilyFacts("one", "Müller domain"),
        "PF00002": FamilyFacts("two", clan="CL0186"),
    }


@pytest.mark.parametrize("content", [HMM_DAT, TABLE], ids=["hmm.dat", "tsv"])
def test_packing_and_windows_ends_change_nothing(tmp_path: Path, content: bytes) -> None:
    plain = read(tmp_path / "a", content)
    assert read(tmp_path / "b", gzip.compress(content)) == plain
    assert read(tmp_path / "c", content.replace(b"\n", b"\r\n")) == plain


BROKEN = {
    "no //": (HMM_DAT[:-4], r"12: Expected '//' after .* in line 9\), got the end of the file"),
    "no // between": (HMM_DAT.replace(b"//\n", b"", 1), r"8: Expected '#=GF <tag> <text>' or '//'"),
    "a stray line": (HMM_DAT.replace(b"//\n", b"//\n--\n"), "9: Expected '# STOCKHOLM 1.0', got"),
    "a row": (HMM_DAT.replace(b"//", b"a/1-2 MK\n//", 1), "8: Expected '#=GF .*, got 'a/1-2 MK'"),
    "an empty field": (HMM_DAT.replace(b"   one", b""), "2: Expected '#=GF <tag> <text>' or"),
    "a field twice": (HMM_DAT.replace(b"ML   41", b"ID   x"), "7: Expected one '#=GF ID' in each"),
    "no accession": (HMM_DAT.replace(b"AC", b"XX", 1), "1: Expected '#=GF AC' in each family, got"),
    "a family twice": (
        HMM_DAT.replace(b"PF00002.3", b"PF00001.2"),
        "13: Expected each family once, got PF00001 again",
    ),
    "a short row": (TABLE + b"PF00003\tCL1\n", r"4: Expected Pfam-A\.hmm\.dat or a row of Pfam-A"),
    "no family": (b"\tCL1\tx\ty\tz\n", r"1: Expected Pfam-A\.hmm\.dat or a row of Pfam-A\.clans"),
    "a row twice": (TABLE + TABLE, "4: Expected each family once, got PF00001 again"),
    "something else": (b"\x00\xff\xfe", "1: Expected Pfam-A.hmm.dat or a row of Pfam-A.clans.tsv"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_reported_with_its_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=rf"clans:{message}"):
        read(tmp_path / "clans", content)


def test_a_file_without_families_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="clans: Expected at least one family, got none"):
        read(tmp_path / "clans", b"\n")


def test_the_clan_is_the_clan_files_and_all_else_the_sources() -> None:
    known = FamilyFacts("a", None, "Family", "CL1", "20.00 20.00;")
    other = FamilyFacts("b", "text", "Domain", "CL2", "20; 20;")
    merged = FamilyFacts("a", "text", "Family", "CL2", "20.00 20.00;")
    assert merge_facts(known, other) == merged


def test_nothing_is_lost_where_the_clan_file_says_nothing() -> None:
    known = FamilyFacts("a", clan="CL1")
    assert merge_facts(known, NO_FACTS) == known
    assert merge_facts(NO_FACTS, known) == known


def test_differences_are_counted() -> None:
    families = {
        "PF00001.2": FamilyFacts("one", "x", "Family", "CL1", "1;"),
        "PF00002.9": FamilyFacts("two"),
        "PF00003": FamilyFacts(clan="CL3"),
        "F4": NO_FACTS,
    }
    clans = {
        "PF00001": FamilyFacts("uno", "x", "Domain", "CL2", "2;"),
        "PF00002": FamilyFacts("two", clan="CL2"),
        "PF00003": FamilyFacts("three"),
    }
    merged = merge_clans(families, clans)
    assert merged.num_missing == 1
    assert merged.changed_clans == {"PF00001.2": ("CL1", "CL2")}
    assert merged.differences == Counter(family_id=1, family_type=1, clan=1)
    assert [facts.clan for facts in merged.facts.values()] == ["CL2", "CL2", "CL3", None]
    assert list(merged.facts) == list(families)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=60), st.integers(0, 200), st.sampled_from([HMM_DAT, TABLE]))
def test_any_damage_gives_families_or_a_clear_error(
    tmp_path: Path, damage: bytes, place: int, content: bytes
) -> None:
    with contextlib.suppress(InputError):
        assert read(tmp_path / "a", content[:place] + damage + content[place:])


def test_real_families_have_types_and_clans() -> None:
    clans = read_clans(real("Pfam-A.hmm.dat.gz"))
    assert len(clans) == 24_424
    assert sum(facts.clan is not None for facts in clans.values()) == 11_425
    assert clans["PF21734"] == FamilyFacts(
        "10_blade", "10-bladed beta propeller domain", "Repeat", "CL0186", "27; 27;"
    )


def test_real_families_of_mixed_releases_differ_in_little() -> None:
    families: dict[str, FamilyFacts] = {}
    names = {b"ID": "family_id", b"DE": "description", b"TP": "family_type", b"CL": "clan"}
    for record in real("Pfam-A.seed.union").read_bytes().split(b"\n//\n")[:-1]:
        fields = {line[5:7]: line[10:] for line in record.splitlines() if line[:4] == b"#=GF"}
        said = {name: fields[tag].decode("latin-1") for tag, name in names.items() if tag in fields}
        families[fields[b"AC"].decode().strip()] = FamilyFacts(**said)
    merged = merge_clans(families, read_clans(real("Pfam-A.hmm.dat.gz")))
    assert (len(families), merged.num_missing) == (46, 0)
    assert merged.changed_clans == {"PF02294.20": ("CL0049", "CL0010")}
    assert merged.differences == Counter(family_id=3, family_type=3, description=7, clan=1)
