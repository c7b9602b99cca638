"""Study files: what is read, what is refused, and how it is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from protein_robust.config import dump_yaml, load_study
from protein_robust.errors import ConfigError, InputError
from protein_robust.models import ProtCNNConfig
from protein_robust.training import Checkpoints, FitOptions

PIPELINES = sorted((Path(__file__).parents[2] / "pipelines").glob("*.yaml"))

MINIMAL = """\
name: tiny
data: {source: example}
noise:
  - name: clean
losses:
  - cross_entropy
"""


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(MINIMAL)
    return path


def problems_of(path: Path, overrides: tuple[str, ...] = ()) -> dict[str, str]:
    """Messages by key of a study that cannot be read."""
    with pytest.raises(ConfigError) as caught:
        load_study(path, overrides)
    return {problem.key: problem.message for problem in caught.value.problems}


def test_what_is_not_given_has_a_default(minimal: Path) -> None:
    study = load_study(minimal)
    assert study.seeds == [0]
    assert study.folder == Path("results/tiny")
    assert study.dataset_folder == Path("data/processed/tiny")
    assert study.losses[0].label == "cross_entropy"


def test_defaults_of_the_schema_are_those_of_the_functions(minimal: Path) -> None:
    study = load_study(minimal)
    assert ProtCNNConfig(**study.model.model_dump()) == ProtCNNConfig()
    times = {
        f"checkpoint_{name}": getattr(study.checkpoints, name) for name in ("every", "minutes")
    }
    chosen = {**study.training.model_dump(), **times}
    of_data = {"batch_size", "max_residues", "length_window", "precision", "monitor_size"}
    assert {name: value for name, value in chosen.items() if name not in of_data} == vars(
        FitOptions()
    )
    assert study.checkpoints.keep == Checkpoints(Path(), {}).keep


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_every_committed_study_can_be_read(path: Path) -> None:
    assert load_study(path).name == path.stem


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_the_complete_study_reads_back_to_the_same(path: Path, tmp_path: Path) -> None:
    study = load_study(path)
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_yaml(study))
    assert load_study(copy) == study


def test_the_word_paper_stands_for_the_published_network(minimal: Path) -> None:
    paper = load_study(minimal, ["model=paper"]).model
    assert ProtCNNConfig(**paper.model_dump()) == ProtCNNConfig.paper()


def test_a_paths_folder_is_put_before_relative_sources(minimal: Path) -> None:
    overrides = ["data.source={train: a.csv, valid: b.csv, test: /c.csv}", "data.folder=/base"]
    sources = load_study(minimal, overrides).data.sources()
    assert [(str(s.path), s.split) for s in sources] == [
        ("/base/a.csv", "train"),
        ("/base/b.csv", "valid"),
        ("/c.csv", "test"),
    ]


def test_several_files_are_one_source_each(minimal: Path) -> None:
    sources = load_study(minimal, ["data.source=[a.csv, b.csv]"]).data.sources()
    assert [str(s.path) for s in sources] == ["a.csv", "b.csv"]


def test_ingest_options_take_the_data_section(minimal: Path) -> None:
    options = load_study(minimal, ["data.seed=4", "data.num_families=7"]).data.ingest_options()
    assert (options.seed, options.num_families) == (4, 7)


@pytest.mark.parametrize(
    ("override", "reads", "expected"),
    [
        ("training.epochs=3", lambda s: s.training.epochs, 3),
        ("training.learning_rate=1e-3", lambda s: s.training.learning_rate, 1e-3),
        ("seeds=[1, 2]", lambda s: s.seeds, [1, 2]),
        ("noise.0.label={kind: symmetric, rate: 0.3}", lambda s: s.noise[0].label.rate, 0.3),
        ("losses.0={name: label_smoothing}", lambda s: s.losses[0].name, "label_smoothing"),
        ("tracking.enabled=false", lambda s: s.tracking.enabled, False),
        ("training.clip_norm=null", lambda s: s.training.clip_norm, None),
        ("training.length_window=64", lambda s: s.training.length_window, 64),
        ("training.precision=bf16", lambda s: s.training.precision, "bf16"),
        ("training.on_divergence=roll back", lambda s: s.training.on_divergence, "roll back"),
        ("checkpoints={minutes: 0.5, keep: 3}", lambda s: s.checkpoints.minutes, 0.5),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_override_replaces_an_entry(
    minimal: Path, override: str, reads: object, expected: object
) -> None:
    assert callable(reads)
    assert reads(load_study(minimal, [override])) == expected


def test_an_override_reaches_into_a_loss(minimal: Path) -> None:
    minimal.write_text(MINIMAL + "  - {name: label_smoothing, epsilon: 0.1}\n")
    study = load_study(minimal, ["losses.1.epsilon=0.3"])
    assert study.losses[1].parameters == {"epsilon": 0.3}


def test_all_problems_are_reported_at_once_each_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        """\
name: bad
data: {source: example}
noise:
  - name: a
    label: {kind: symmetric, rate: 1.2}
losses:
  - {name: proselflc, exp_bsae: 12, temperature: cold}
  - prosellc
training: {epohcs: 3, batch_size: x}
seeds: [0, 0]
"""
    )
    with pytest.raises(ConfigError) as caught:
        load_study(path)
    found = {(problem.line, problem.key) for problem in caught.value.problems}
    assert found == {
        (5, "noise.0.label.rate"),
        (7, "losses.0.exp_bsae"),
        (7, "losses.0.temperature"),
        (8, "losses.1.name"),
        (9, "training.epohcs"),
        (9, "training.batch_size"),
        (10, "seeds"),
    }
    assert str(caught.value).startswith(f"{path}: 7 problems\n")
    assert f"  {path}:5: noise.0.label.rate: Expected" in str(caught.value)


@pytest.mark.parametrize(
    ("override", "key", "message"),
    [
        ("training.epohcs=1", "training.epohcs", "did you mean `epochs`"),
        ("sedes=[1]", "sedes", "did you mean `seeds`"),
        ("data.sorce=x", "data.sorce", "did you mean `source`"),
        ("noise.0.crop.kindd=x", "noise.0.crop.kindd", "did you mean `kind`"),
        ("noise.0.crop.kind=middle", "noise.0.crop.kind", "'internal_deletion' or 'fragment'"),
        ("noise.0.label.rate=1.2", "noise.0.label.rate", "less than or equal to 1, got 1.2"),
        ("noise.0.label.rate=0.2", "noise.0.label", "`rate` 0 where `kind` is none"),
        ("model.kernel_size=4", "model.kernel_size", "Expected an odd number, got 4"),
        ("training.epochs=soon", "training.epochs", "valid integer, .* got 'soon'"),
        ("training.length_window=some", "training.length_window", "least 1, got 'some'"),
        ("training.length_window=0", "training.length_window", "Expected `auto` or an integer"),
        ("training.length_window=true", "training.length_window", "got True"),
        ("training.precision=fp16", "training.precision", "'auto', 'fp32' or 'bf16'.*got 'fp16'"),
        ("training.on_divergence=go on", "training.on_divergence", "'stop' or 'roll back'"),
        ("training.checkpoint_every=2", "training.checkpoint_every", "Valid here: epochs"),
        ("checkpoints.minuets=2", "checkpoints.minuets", "did you mean `minutes`"),
        ("checkpoints.every=0", "checkpoints.every", "greater than or equal to 1, got 0"),
        ("checkpoints.minutes=0", "checkpoints.minutes", "greater than 0, got 0"),
        ("checkpoints.keep=0", "checkpoints.keep", "greater than or equal to 1, got 0"),
        ("losses=[]", "losses", "at least 1 item"),
        ("losses.0={epsilon: 1}", "losses.0", "Expected a loss with its `name`"),
        ("losses.0=crossentropy", "losses.0.name", "did you mean `cross_entropy`"),
        ("losses.0={name: label_smoothing, eps: 1}", "losses.0.eps", "Valid: epsilon"),
        ("losses.0={name: cross_entropy, eps: 1}", "losses.0.eps", "Valid: none"),
        (
            "losses.0={name: label_smoothing, epsilon: 2}",
            "losses.0.epsilon",
            r"Expected `epsilon` in \[0, 1\], got 2",
        ),
        ("losses=[cross_entropy, cross_entropy]", "losses", "got cross_entropy several times"),
        ("noise=[{name: a}, {name: a}]", "noise", "got a several times"),
        ("name=has space", "name", "pattern"),
        ("seeds=[-1]", "seeds.0", "greater than or equal to 0, got -1"),
        ("noise.3.name=x", "--set noise.3.name", "Expected an entry from 0 to 0, got '3'"),
        ("noise.x=1", "--set noise.x", "Expected an entry from 0 to 0, got 'x'"),
        ("epochs", "--set epochs", "Expected section.key=value"),
        ("seeds=[1", "--set seeds", "Expected a YAML value"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_named_with_what_was_expected(
    minimal: Path, override: str, key: str, message: str
) -> None:
    problems = problems_of(minimal, (override,))
    assert list(problems) == [key]
    assert re.search(message, problems[key]), problems[key]


def test_a_key_that_stands_twice_is_an_error(minimal: Path) -> None:
    minimal.write_text(MINIMAL + "name: again\n")
    assert "got it again (first in line 1)" in problems_of(minimal)["name"]


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("name: x\n")
    problems = problems_of(path)
    assert set(problems) == {"data", "noise", "losses"}
    assert problems["data"] == "Expected a value, got none."


def test_broken_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("name: x\ndata: {source: [\n")
    with pytest.raises(ConfigError, match=r"study.yaml:\d: YAML: cannot be read"):
        load_study(path)


@pytest.mark.parametrize(("text", "found"), [("", "nothing"), ("- a\n", "a list")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"Expected keys such as `name` and `data`, got {found}"):
        load_study(path)


def test_a_file_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a readable study file, got no such file"):
        load_study(tmp_path / "absent.yaml")


def test_a_file_that_is_no_text_is_the_users_mistake(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="got bytes that are no utf-8"):
        load_study(path)


def test_a_study_cannot_be_changed(minimal: Path) -> None:
    study = load_study(minimal)
    with pytest.raises(ValueError, match="frozen"):
        study.name = "other"


def test_the_dump_is_plain_yaml(minimal: Path) -> None:
    content = yaml.safe_load(dump_yaml(load_study(minimal)))
    assert content["losses"] == [{"name": "cross_entropy", "label": "cross_entropy"}]


def losses(tmp_path: Path, *lines: str) -> Path:
    """A study with these losses, the first in line 4."""
    path = tmp_path / "losses.yaml"
    head = ["name: x", "data: {source: example}", "noise: [{name: a}]", "losses:"]
    path.write_text("\n".join([*head, *(f"  - {line}" for line in lines)]) + "\n")
    return path


def found_in(path: Path) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_study(path)
    return [(p.line, p.key, p.message) for p in caught.value.problems]


def test_a_word_that_is_no_number_is_reported_at_its_own_place_only(tmp_path: Path) -> None:
    path = losses(tmp_path, "{name: proselflc, temperature: cold, exp_base: 12}")
    ((line, key, message),) = found_in(path)
    assert (line, key) == (5, "losses.0.temperature")
    assert "got 'cold'" in message


def test_a_parameter_of_another_density_is_fine_where_that_density_is_chosen(
    tmp_path: Path,
) -> None:
    path = losses(tmp_path, "{name: derivative_manipulation, density: normal, psi: 0.3}")
    assert load_study(path).losses[0].parameters == {"density": "normal", "psi": 0.3}


def test_the_teacher_of_a_loss_is_kept_and_written_back(tmp_path: Path) -> None:
    path = losses(tmp_path, "cross_entropy", "{name: distillation, teacher: cross_entropy}")
    study = load_study(path)
    assert study.losses[1].teacher == "cross_entropy"
    assert study.losses[1].parameters == {}
    again = tmp_path / "again.yaml"
    again.write_text(dump_yaml(study))
    assert load_study(again) == study


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["distillation"], "label of an earlier loss or the folder of a trained run, got none"),
        (["{name: distillation, teacher: ''}"], "Expected .* 1 character"),
        (
            ["cross_entropy", "{name: distillation, teacher: cross_entrop}"],
            r"got 'cross_entrop' \(did you mean `cross_entropy`\?\)\.",
        ),
        (["{name: distillation, teacher: distillation}"], "that one does not stand earlier"),
        (["{name: proselflc, teacher: a}"], "Expected none, since proselflc learns from no other"),
        (
            ["cross_entropy", "{name: corrected_labels, teacher: cross_entropy}"],
            r"a loss that arrives at labels \(.*joint_optimization.*\), got cross_entropy",
        ),
    ],
)
def test_a_teacher_that_is_of_no_use_is_refused(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    ((line, key, found),) = found_in(losses(tmp_path, *lines))
    assert (line, key) == (4 + len(lines), f"losses.{len(lines) - 1}.teacher")
    assert re.search(message, found)


def test_a_loss_may_be_trained_otherwise_than_the_study(tmp_path: Path) -> None:
    path = losses(tmp_path, "{name: imae, training: {epochs: 3, schedule: constant}}", "imae")
    path.write_text(path.read_text().replace("  - imae", "  - {name: imae, label: b}"))
    study = load_study(path, ["training.epochs=7", "training.batch_size=9"])
    own, other = (study.training_of(loss) for loss in study.losses)
    assert (own.epochs, own.schedule, own.batch_size) == (3, "constant", 9)
    assert other == study.training
    again = tmp_path / "again.yaml"
    again.write_text(dump_yaml(study))
    assert load_study(again).training_of(load_study(again).losses[0]) == own
    # Only what it says of itself is written, so another study's training still reaches it.
    assert load_study(again, ["training.batch_size=5"]).training_of(study.losses[0]).epochs == 3


def test_a_wrong_key_of_a_loss_s_own_training_has_its_line(tmp_path: Path) -> None:
    path = losses(tmp_path, "cross_entropy", "{name: imae, training: {epohcs: 3}}")
    ((line, key, message),) = found_in(path)
    assert (line, key) == (6, "losses.1.training.epohcs")
    assert "did you mean `epochs`?" in message


def test_a_setting_that_is_warned_about_is_warned_about_once_and_by_its_place(
    tmp_path: Path,
) -> None:
    path = losses(tmp_path, "imae", "{name: proselflc, detach_target: true}")
    with pytest.warns(
        UserWarning, match=r"losses\.1 \(proselflc\): With `detach_target=True`"
    ) as seen:
        load_study(path)
    assert len(seen) == 1


def test_parameters_are_looked_at_also_where_the_rest_of_the_entry_is_wrong(
    tmp_path: Path,
) -> None:
    line = "{name: joint_optimization, num_entries: 2.5, training: {epohcs: 3}, label: ''}"
    found = {key for _, key, _ in found_in(losses(tmp_path, line))}
    assert found == {"losses.0.num_entries", "losses.0.training.epohcs", "losses.0.label"}
