"""The benchmark of images: both pipelines make the same images, and steps are what they say."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from protein_robust.datasets import ImageDataset
from protein_robust.datasets.images import Poses
from protein_robust.models.resnet import ResNet, ResNetConfig

FOLDER = Path(__file__).parent.parent / "benchmarks"
SCRIPT = FOLDER / "images.py"
NAMES = ("image_steps", "images", "plain_images", "race", "turns")
SMALL = ["--images", "40", "--batch-size", "8", "--classes", "5", "--rounds", "2", "--warmup", "1"]


@pytest.fixture(scope="module")
def scripts() -> Iterator[SimpleNamespace]:
    """The scripts, imported as they import each other, and forgotten afterwards."""
    sys.path.insert(0, str(FOLDER))
    known = set(sys.modules)
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(NAMES) - known:
            sys.modules.pop(name, None)


def some(**values: Any) -> Namespace:
    """What the command line might say, for a few images on the CPU."""
    few = {"images": 20, "batch_size": 8, "classes": 5, "device": "cpu", "seed": 0}
    return Namespace(**{**few, **values})


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script where MLflow, matplotlib and Biopython cannot be imported."""
    code = (
        "import runpy, sys; sys.modules.update(dict.fromkeys(['mlflow', 'matplotlib', 'Bio'])); "
        f"sys.path[0] = {str(FOLDER)!r}; sys.argv[0] = {str(SCRIPT)!r}; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, "--device", "cpu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_both_parts_run_without_mlflow_matplotlib_and_biopython() -> None:
    done = run(*SMALL, "--architecture", "resnet8", "--json")
    assert done.returncode == 0, done.stderr
    assembly, found, step = json.loads(done.stdout)["tables"].values()
    assert [row["what"].split()[0] for row in assembly] == ["image", "one"]
    for row in assembly:
        rate = float(row["images/s"].replace(",", ""))
        assert rate * row["seconds"] == pytest.approx(40, abs=0.51 * row["seconds"])
    plain, ours = (row["seconds"] for row in assembly)
    assert found[0]["ratio"] == pytest.approx(plain / ours)
    assert [row["step"] for row in step] == [
        "eager, fp32, channels first",
        "eager, fp32, channels last",
        "eager, bf16, channels last",
    ]
    assert step[0]["times as fast"] == 1
    assert all(row["ms"] > 0 for row in step)


@pytest.mark.parametrize("is_flipped", [False, True], ids=["as it is", "mirrored"])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (4, 4), (8, 1), (3, 7)])
def test_a_pose_gives_the_same_pixels_in_both_pipelines(
    scripts: SimpleNamespace, top: int, left: int, *, is_flipped: bool
) -> None:
    plain = scripts.plain_images
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    mean, deviation = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.25, 0.3])
    image = plain.to_tensor(
        plain.posed(Image.fromarray(images[0]), top, left, is_flipped=is_flipped)
    )
    numbers = (torch.tensor(values).view(3, 1, 1) for values in (mean, deviation))
    expected = (image - next(numbers)) / next(numbers)
    dataset = ImageDataset.from_arrays(
        images, np.zeros(1, np.int64), mean=mean, deviation=deviation
    )
    # A crop that begins at the padding's width is the image itself.
    shift = np.array([[top - plain.PAD, left - plain.PAD]])
    poses = Poses(shift, np.array([is_flipped]), np.zeros(1))
    found = dataset.cut(np.zeros(1, np.int64), poses).inputs[0]
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)


def test_both_passes_give_every_image_once(scripts: SimpleNamespace) -> None:
    steps = scripts.image_steps
    _, labels = steps.random_images(some())
    ours = torch.cat([batch.label for batch in steps.ours(some())(0)])
    assert sorted(ours.tolist()) == sorted(labels.tolist())
    plain = list(steps.plain(some())(0))
    assert [tuple(inputs.shape) for inputs, _ in plain] == [(8, 3, 32, 32)] * 2 + [(4, 3, 32, 32)]
    assert sorted(torch.cat([label for _, label in plain]).tolist()) == sorted(labels.tolist())


def test_passes_of_the_plain_pipeline_draw_anew_and_are_seeded(scripts: SimpleNamespace) -> None:
    first, again = (scripts.image_steps.plain(some()) for _ in range(2))
    stacks = [torch.cat([inputs for inputs, _ in work(0)]) for work in (first, again, again)]
    assert torch.equal(stacks[0], stacks[1])
    assert not torch.equal(stacks[1], stacks[2])


def test_crops_of_the_plain_pipeline_reach_every_shift(scripts: SimpleNamespace) -> None:
    # One white pixel in the middle shows where the crop began, and is seen in every one.
    image = np.zeros((1, 33, 33, 3), np.uint8)
    image[0, 16, 16] = 255
    ones, zeros = torch.ones(3), torch.zeros(3)
    dataset = scripts.plain_images.PlainImages(
        image, np.zeros(1, np.int64), mean=zeros, deviation=ones, seed=0
    )
    places = [divmod(int(dataset[0][0][0].argmax()), 33) for _ in range(400)]
    for axis in (0, 1):
        # Of nine shifts, one is missed by 400 draws with probability 9 (8/9)^400, below 1e-19.
        assert {place[axis] for place in places} == set(range(12, 21))


@pytest.mark.parametrize("is_channels_last", [True, False])
def test_a_step_is_that_of_the_network_and_lowers_the_loss(
    scripts: SimpleNamespace, *, is_channels_last: bool
) -> None:
    steps = scripts.image_steps
    setting = steps.Setting(is_channels_last=is_channels_last)
    step = steps.step(some(), "resnet8", setting)
    losses = [float(step()) for _ in range(30)]
    epoch = steps.our_batches(some(images=8)).epoch(0)
    batch = epoch.parts(0, steps.Share())[0]()
    generator = torch.Generator().manual_seed(0)
    model = ResNet(ResNetConfig("resnet8"), 5, generator=generator)
    with torch.no_grad():
        first = functional.cross_entropy(model.train()(batch.inputs), batch.label)
    assert losses[0] == pytest.approx(float(first), rel=1e-5)
    assert losses[-1] < losses[0] / 2


def test_a_step_in_bf16_has_about_the_same_loss(scripts: SimpleNamespace) -> None:
    steps = scripts.image_steps
    exact, rounded = (
        float(steps.step(some(), "resnet8", steps.Setting(precision))())
        for precision in ("fp32", "bf16")
    )
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.05)


def test_several_steps_are_so_many(scripts: SimpleNamespace) -> None:
    done: list[None] = []
    scripts.image_steps.several(lambda: done.append(None), 3)()
    assert len(done) == 3


def test_a_setting_says_what_it_is(scripts: SimpleNamespace) -> None:
    steps = scripts.image_steps
    assert str(steps.BASELINE) == "eager, fp32, channels first"
    assert str(steps.Setting("bf16", "graphs")) == "graphs, bf16, channels last"


@pytest.mark.parametrize(("mode", "how"), [("compiled", "default"), ("graphs", "reduce-overhead")])
def test_a_mode_is_asked_of_the_compiler(
    scripts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, mode: str, how: str
) -> None:
    asked: list[dict[str, Any]] = []
    model = torch.nn.Identity()

    def compile_(made: torch.nn.Module, **values: Any) -> torch.nn.Module:
        asked.append(values)
        return made

    monkeypatch.setattr(torch, "compile", compile_)
    assert scripts.image_steps.compiled(model, mode) is model
    assert asked == [{"mode": how, "dynamic": False}]


def test_the_row_of_a_step_counts_images(scripts: SimpleNamespace) -> None:
    script, options = scripts.images, Namespace(steps=2, batch_size=8)
    seconds = {str(scripts.image_steps.BASELINE): [4.0, 9.0, 6.0], "other": [2.0, 3.0, 1.0]}
    row = script.step_row(options, seconds, "other")
    # Medians 6 and 2 for two steps of 8 images; rounds 2, 3 and 6.
    assert (row["ms"], row["images/s"], row["times as fast"]) == (1000, "8.0", 3)
    assert row["quartiles"] == "2.000 .. 6.000"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds: expected at least 1"),
        (["--steps", "0"], "--steps: expected at least 1"),
        (["--classes", "1"], "--classes: expected at least 2"),
        (["--mode", "graphs"], "--mode graphs: CUDA graphs need --device cuda"),
        (["--device", "cuda"], "--device cuda: PyTorch sees no GPU here"),
        (["--device", "cuda", "--clock", "cpu"], "--clock cpu: does not see what a GPU does"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_measured_is_refused(
    scripts: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "--clock" in arguments)
    monkeypatch.setattr(sys, "argv", ["images.py", *arguments])
    with pytest.raises(SystemExit, match="2"):
        scripts.images.parse()
    assert message in capsys.readouterr().err


def test_a_gpu_measures_every_mode(
    scripts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sys, "argv", ["images.py"])
    options = scripts.images.parse()
    assert (options.device, options.steps) == ("cuda", 20)
    assert tuple(options.mode) == ("eager", "compiled", "graphs")
    assert tuple(options.architecture) == ("resnet20", "resnet56", "resnet18")
