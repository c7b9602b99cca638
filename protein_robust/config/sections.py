"""What may stand in the sections of a study that are about data and noise.

The functions that do the work take plain values; `DataConfig.sources` and its neighbours translate.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from protein_robust.errors import InputError
from protein_robust.ingest import EXAMPLE, IngestOptions, Source
from protein_robust.ingest.store import MANIFEST
from protein_robust.noise import CLASS_MAPS, CropRule, LabelRule, read_transitions
from protein_robust.noise.crops import CropKind, LengthDistribution
from protein_robust.noise.rules import LabelKind

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Name = Annotated[str, Field(min_length=1, max_length=80)]


def _number_or_names(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    is_list = isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)
    if not (is_number or is_list):
        raise ValueError(f"Expected a number of at least 0 or a list of names, got {value!r}.")
    return value


Chosen = Annotated[int | tuple[str, ...], BeforeValidator(_number_or_names)]


class Section(BaseModel):
    """Part of a study: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitFiles(Section):
    """One file for each split, kept as they are; without `valid` a part of train is valid."""

    train: str
    valid: str | None = None
    test: str


def _kind_of_source(value: Any) -> str:
    if isinstance(value, Mapping | SplitFiles):
        return "splits"
    return "files" if isinstance(value, list) else "file"


class DataConfig(Section):
    """Which sequences, and how they are split; see `protein_robust.ingest.IngestOptions`."""

    source: Annotated[
        Annotated[str, Tag("file"), Field(min_length=1)]
        | Annotated[list[str], Tag("files"), Field(min_length=1)]
        | Annotated[SplitFiles, Tag("splits")],
        Discriminator(_kind_of_source),
    ] = Field(
        description="a file, several, `train`, `valid` and `test` files, a folder, or `example`"
    )
    folder: str | None = Field(None, description="where relative paths begin")
    output: str | None = Field(
        None, description="dataset folder; data/processed/STUDY if not given"
    )
    format: Literal["auto", "table", "stockholm", "fasta"] = Field("auto", description="of files")
    preset: Literal["deeploc"] | None = Field(None, description="known headers of FASTA files")
    sequence_column: str | None = Field(None, description="of a table; recognised if not given")
    family_column: str | None = Field(None, description="of a table; recognised if not given")
    name_column: str | None = Field(None, description="of a table; recognised if not given")
    split_column: str | None = Field(None, description="of a table, if it has one")
    label_pattern: str | None = Field(
        None, description="finds `family`, and `name` and `split`, in a FASTA header"
    )
    labels: str | None = Field(None, description="table of names and families, for FASTA files")
    unknown: str | None = Field(None, description="what stands for a family that is not known")
    clans: str | None = Field(None, description="Pfam-A.hmm.dat or Pfam-A.clans.tsv")
    on_bad_record: Literal["error", "skip"] = "error"
    split: Literal["auto", "random", "existing", "clustered"] = Field(
        "auto", description="existing where the sources have splits, else random"
    )
    valid_fraction: float = Field(0.1, ge=0, lt=1, description="of each family")
    test_fraction: float = Field(0.1, ge=0, lt=1, description="of each family")
    max_identity: float = Field(0.25, ge=0, lt=1, description="of clustered: test against train")
    hold_out_families: Chosen = Field(0, description="no classes: accessions, or how many")
    hold_out_clans: Chosen = Field(0, description="no classes: names of clans, or how many")
    conflicts: Literal["keep", "drop"] = Field("keep", description="sequences of several families")
    num_families: int | None = Field(None, ge=2, description="draw this many at random")
    seed: Seed = Field(0, description="of the split and of the drawn families")

    @model_validator(mode="after")
    def _leaves_training_data(self) -> Self:
        total = self.valid_fraction + self.test_fraction
        if total >= 1:
            raise ValueError(f"Expected `valid_fraction` + `test_fraction` below 1, got {total:g}.")
        return self

    @model_validator(mode="after")
    def _is_alone(self) -> Self:
        fields = type(self).model_fields
        others = [
            name
            for name in sorted(set(fields) - {"source", "folder"})
            if getattr(self, name) != fields[name].default
        ]
        if others and self.dataset is not None:
            raise ValueError(
                f"Expected a dataset folder as `source` without further options, got {others[0]}."
            )
        return self

    @property
    def dataset(self) -> Path | None:
        """The dataset folder, where the source is one: `ingest` made it before."""
        if not isinstance(self.source, str) or self.source == EXAMPLE:
            return None
        place = self._place(self.source)
        return place if (place / MANIFEST).is_file() else None

    def sources(self) -> list[Source]:
        """The files to ingest."""
        if isinstance(self.source, SplitFiles):
            files = self.source.model_dump(exclude_none=True)
            return [Source(self._place(path), split) for split, path in files.items()]
        paths = [self.source] if isinstance(self.source, str) else self.source
        return [Source(path if path == EXAMPLE else self._place(path)) for path in paths]

    def ingest_options(self) -> IngestOptions:
        """How to read and split them."""
        values = self.model_dump(exclude={"source", "folder", "output"})
        for name in ("labels", "clans"):
            if values[name] is not None:
                values[name] = str(self._place(values[name]))
        return IngestOptions(**values)

    def _place(self, path: str) -> Path:
        return Path(self.folder or "") / path


class CropConfig(Section):
    """Which part of each sequence is seen; see `protein_robust.noise.CropRule`."""

    kind: CropKind = Field(
        "none",
        description="random, n_terminal, c_terminal and internal_deletion keep a random fraction",
    )
    min_fraction: float = Field(0.5, gt=0, le=1, description="least kept (random fraction)")
    max_fraction: float = Field(1.0, gt=0, le=1, description="largest kept (random fraction)")
    num_residues: Count = Field(434, description="kept residues (first)")
    min_residues: Count = Field(1, description="least number of residues kept (all but first)")
    length_distribution: LengthDistribution = Field(
        "lognormal", description="of the length in residues (fragment)"
    )
    mean_length: float = Field(
        60.0, ge=1, allow_inf_nan=False, description="residues (fragment: lognormal, geometric)"
    )
    sd_length: float = Field(
        20.0, ge=0, allow_inf_nan=False, description="residues (fragment: lognormal)"
    )
    max_length: Count = Field(
        100, description="largest of all from min_residues on (fragment: uniform)"
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        CropRule(**self.model_dump())
        return self


class LabelConfig(Section):
    """Which training labels become wrong; see `protein_robust.noise.LabelRule`."""

    kind: LabelKind = Field(
        "none",
        description="CIFAR-100, asymmetric: clan_pair is the talk's (two classes of each "
        "superclass exchanged; rate 0.4 makes 16 % wrong), id_block the usual one (the next of "
        "five class numbers; rate 0.4 makes 40 % wrong)",
    )
    rate: Fraction = Field(
        0.0,
        description="of the training labels (asymmetric, clan_pair, id_block: of each class that "
        "becomes another)",
    )
    own_class: Literal["excluded", "included"] = Field(
        "excluded", description="included: the true class may be drawn too (symmetric)"
    )
    count: Literal["exact", "bernoulli"] = "exact"
    class_map: dict[str, str] = Field(
        {}, description="class -> what it becomes, or the name of a published map (asymmetric)"
    )
    transitions: dict[str, dict[str, float]] = Field(
        {}, description="class -> class -> probability, or a table's path (matrix)"
    )
    in_clan_share: Fraction = Field(0.0, description="of the wrong labels (clan)")
    rate_spread: float = Field(0.0, ge=0, allow_inf_nan=False, description="sd over classes")
    open_set_rate: float = Field(
        0.0, ge=0, lt=1, description="part of the training set that is of held-out families"
    )
    unlabelled: Literal["leave out", "random"] = Field(
        "leave out", description="random: rows of unknown family are added with random labels"
    )
    annotation: str = Field("", description="labels that people gave, such as worse (human)")

    @field_validator("class_map", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in CLASS_MAPS:
            known = ", ".join(CLASS_MAPS)
            raise ValueError(f"Expected a map, or the name of one ({known}), got {value!r}.")
        return dict(CLASS_MAPS[value])

    @field_validator("transitions", mode="before")
    @classmethod
    def _from_file(cls, value: Any) -> Any:
        try:
            return read_transitions(value) if isinstance(value, str) else value
        except InputError as error:
            place = error.where.removesuffix(": ")
            message = f"Expected {error.expected} in {place}, got {error.actual}."
            raise ValueError(message) from error

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        LabelRule(**self.model_dump())
        return self


class NoiseConfig(Section):
    """One noise setting of the study."""

    name: Name = Field(description="as it stands in tables and run names")
    crop: CropConfig = CropConfig()
    label: LabelConfig = LabelConfig()
