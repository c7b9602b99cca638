"""Study files on images, and presets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from protein_robust.config import ImageDataConfig, dump_yaml, load_study
from protein_robust.config.images import AugmentationConfig, ResNetModelConfig
from protein_robust.datasets import Augmentation
from protein_robust.errors import ConfigError, InputError
from protein_robust.ingest.images import ImageOptions
from protein_robust.models import ResNetConfig

PIPELINES = Path(__file__).parents[2] / "pipelines"
WITH_PRESETS = sorted(
    path for path in PIPELINES.glob("*.yaml") if "--preset laptop" in path.read_text("utf-8")
)

MINIMAL = """\
name: tiny
data: {images: digits}
noise:
  - name: clean
model: resnet8
training: {epochs: 3}
losses:
  - cross_entropy
presets:
  quick:
    training: {epochs: 1}
    noise:
      - name: wrong
        label: {kind: symmetric, rate: 0.2}
"""


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(MINIMAL)
    return path


def problems_of(path: Path, *overrides: str, preset: str | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_study(path, overrides, preset=preset)
    return [f"{p.key}: {p.message}" for p in caught.value.problems]


def test_a_study_on_images_has_defaults_of_the_functions(minimal: Path) -> None:
    study = load_study(minimal)
    assert study.is_of_images
    assert isinstance(study.data, ImageDataConfig)
    assert study.data.image_options() == ImageOptions("digits")
    assert study.model == ResNetModelConfig(architecture="resnet8")
    assert ResNetConfig(**study.model.model_dump()) == ResNetConfig("resnet8")
    assert Augmentation(**AugmentationConfig().model_dump()) == Augmentation()


def test_the_folder_stands_before_relative_sources(minimal: Path) -> None:
    overrides = (
        "data={images: cifar10, folder: /base, source: cifar, human_labels: /n.npz, seed: 4}",
    )
    study = load_study(minimal, overrides)
    assert isinstance(study.data, ImageDataConfig)
    options = study.data.image_options()
    assert (options.source, options.human_labels, options.seed) == ("/base/cifar", "/n.npz", 4)


def test_a_preset_is_put_over_the_study_and_changes_its_name(minimal: Path) -> None:
    plain, quick = load_study(minimal), load_study(minimal, preset="quick")
    assert (plain.name, quick.name) == ("tiny", "tiny_quick")
    assert (plain.training.epochs, quick.training.epochs) == (3, 1)
    assert [noise.name for noise in quick.noise] == ["wrong"]
    assert quick.model == plain.model
    assert load_study(minimal, ["training.epochs=7"], preset="quick").training.epochs == 7
    assert load_study(minimal, ["name=mine"], preset="quick").name == "mine"


def test_a_study_with_its_preset_reads_back_without_it(minimal: Path, tmp_path: Path) -> None:
    study = load_study(minimal, preset="quick")
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_yaml(study))
    assert "presets" not in copy.read_text()
    assert load_study(copy) == study


def test_a_mistake_in_a_preset_is_found_at_its_line(minimal: Path) -> None:
    minimal.write_text(MINIMAL.replace("epochs: 1}", "epoch: 1}"))
    with pytest.raises(ConfigError) as caught:
        load_study(minimal, preset="quick")
    (problem,) = caught.value.problems
    assert problem.key == "training.epoch"
    assert problem.line == 1 + MINIMAL.splitlines().index("    training: {epochs: 1}")
    assert load_study(minimal).name == "tiny"


def test_a_list_of_a_preset_hides_the_lines_of_the_one_that_it_replaces(minimal: Path) -> None:
    minimal.write_text(MINIMAL.replace("      - name: wrong\n        label", "      - label"))
    with pytest.raises(ConfigError) as caught:
        load_study(minimal, preset="quick")
    (problem,) = caught.value.problems
    assert problem.key == "noise.0.name"
    # "name: clean" of the study stands in line 4; the preset's entry lacks a name.
    assert problem.line == len(MINIMAL.splitlines()) - 1


def test_the_name_of_a_network_stays_where_another_key_is_set(minimal: Path) -> None:
    expected = ResNetModelConfig(architecture="resnet8", compile="graphs")
    assert load_study(minimal, ["model.compile=graphs"]).model == expected
    minimal.write_text(MINIMAL + "    model: {compile: graphs}\n")
    assert load_study(minimal, preset="quick").model == expected
    assert load_study(minimal, ["model=resnet14", "model.compile=kernels"]).model == (
        ResNetModelConfig(architecture="resnet14", compile="kernels")
    )


@pytest.mark.parametrize("path", WITH_PRESETS, ids=lambda path: path.stem)
def test_every_committed_study_can_be_compiled_from_the_command_line(path: Path) -> None:
    study = load_study(path, ["model.compile=kernels"])
    plain = load_study(path)
    assert isinstance(study.model, ResNetModelConfig)
    assert isinstance(plain.model, ResNetModelConfig)
    assert study.model.compile == "kernels"
    assert study.model.architecture == plain.model.architecture


def test_an_unknown_preset_names_those_there_are(minimal: Path) -> None:
    with pytest.raises(InputError, match=r"Expected --preset one of quick, got 'slow'\."):
        load_study(minimal, preset="slow")
    minimal.write_text(MINIMAL.partition("presets:")[0])
    with pytest.raises(InputError, match="this study has no presets, got 'slow'"):
        load_study(minimal, preset="slow")


@pytest.mark.parametrize("presets", ["presets: [a]", "presets: {quick: 1}"])
def test_presets_must_be_sections(minimal: Path, presets: str) -> None:
    minimal.write_text(MINIMAL.partition("presets:")[0] + presets + "\n")
    with pytest.raises(InputError, match="Expected sections below each name in `presets`"):
        load_study(minimal)


@pytest.mark.parametrize("path", WITH_PRESETS, ids=lambda path: path.stem)
def test_every_committed_laptop_preset_can_be_read(path: Path) -> None:
    study = load_study(path, preset="laptop")
    assert study.name == f"{path.stem}_laptop"
    whole = load_study(path)
    assert study.training.epochs < whole.training.epochs
    assert {noise.name for noise in study.noise} <= {noise.name for noise in whole.noise}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model={width: 8}", "Expected `model` with an `architecture` such as resnet20 for images"),
        ("training.max_residues=9", "Expected no `max_residues` for images, which are of one size"),
        ("training.length_window=9", "Expected no `length_window` for images"),
        (
            "losses=[{name: cross_entropy, training: {max_residues: 9}}]",
            "Expected no `max_residues` for images",
        ),
        ("noise=[{name: a, crop: {kind: random}}]", "Expected no crops for images"),
        (
            "noise=[{name: a, label: {open_set_rate: 0.1}}]",
            "Expected no `open_set_rate` and no `unlabelled` for images",
        ),
        ("noise=[{name: a, label: {unlabelled: random}}]", "and no `unlabelled` for images"),
        ("baselines=[profile_hmm]", "Expected no `baselines` for images, got profile_hmm."),
        ("data={source: example}", "Expected `model` of ProtCNN for sequences"),
    ],
)
def test_what_is_meant_for_the_other_kind_is_refused(
    minimal: Path, override: str, message: str
) -> None:
    (problem,) = problems_of(minimal, override)
    assert problem.startswith("study: ")
    assert message in problem


def test_augmentation_is_refused_for_sequences(minimal: Path) -> None:
    changes = ("data={source: example}", "model={width: 8}", "augmentation={pad: 1}")
    (problem,) = problems_of(minimal, *changes)
    assert "Expected no `augmentation` for sequences" in problem


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.sequence_column=x", "data.sequence_column: Unknown key; .*Valid here: images, "),
        ("model={architecture: resnet8, width: 8}", "model.width: Unknown key; .*architecture"),
        ("model=resnet21", r"model.architecture: Expected .*'resnet20'.*got 'resnet21'\."),
        ("data.images=mnist", "data.images: Expected 'cifar10', 'cifar100' or 'digits', got"),
        ("augmentation.pads=3", "augmentation.pads: Unknown key; did you mean `pad`"),
    ],
)
def test_unknown_keys_and_names_say_what_there_is(
    minimal: Path, override: str, message: str
) -> None:
    (problem,) = problems_of(minimal, override)
    assert re.match(message, problem), problem
