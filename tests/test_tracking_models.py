"""Registered models: real classifiers, real stores, and processes that lack this package."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from protein_robust.classifier import Classifier, Families
from protein_robust.errors import InputError
from protein_robust.evaluation.centroids import Centroids
from protein_robust.models import ProtCNN, ProtCNNConfig
from protein_robust.tracking import Experiment, fetch_model, prepare, serve_ui, start_run
from protein_robust.tracking.models import REQUIREMENTS, Candidate, register_models, requirements
from protein_robust.tracking.stores import connect

pytestmark = pytest.mark.slow

SEQUENCES = ["WWWWHCKDWWWWWWWW", "GGGGGGGPYEFGGGGG", "MKMNQRSTVLAMNQRS", "mkv-lag*", "AAAA"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a migrated store, because a new one takes five seconds."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    prepare(f"sqlite:///{path}", "proteins")
    return path


@pytest.fixture
def experiment(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    # The store of the process is another one, which nothing here may touch.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/of-the-process.db")
    shutil.copy(template, tmp_path / "mlflow.db")
    return prepare(f"sqlite:///{tmp_path}/mlflow.db", "proteins")


def make_classifier(seed: int) -> Classifier:
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    network = ProtCNN(ProtCNNConfig(8, dilations=(1, 2)), 3, generator=generator)
    with torch.no_grad():  # so that logits are some units apart
        network.head.weight.mul_(40)
    return Classifier(
        name=f"demo/run-{seed}",
        network=network.eval(),
        families=Families(("PF1", "PF2", "PF3"), (None,) * 3, (None,) * 3, ("CL1", None, None)),
        temperature=1.5,
        thresholds=(),
        least_length=5,
        centroids=Centroids(
            torch.from_numpy(rng.normal(size=(3, 8)).astype(np.float32)),
            torch.tensor([4, 5, 6]),
            torch.eye(8),
        ),
        decoy_score=rng.uniform(-1.2, -0.2, 60),
        decoy_length=rng.integers(4, 30, 60),
    )


def make_candidate(
    experiment: Experiment, place: Path, accuracy: float, *, seed: int = 1
) -> Candidate:
    """A run in the store, with a classifier of its own in its folder."""
    folder = place / f"run-{seed}"
    folder.mkdir()
    make_classifier(seed).save(folder / "model")
    params = {"loss.name": "cross_entropy"}
    with start_run(experiment, "CE", params=params, tags={"study": "demo"}, folder=folder) as run:
        run.log_epoch(1, {"test/accuracy": 0.25})
        run.log_metrics({"final/valid_accuracy": accuracy, "best/valid_accuracy": 1.0})
    return Candidate(
        folder,
        f"CE | seed {seed}",
        accuracy,
        {"run_key": f"key-{seed}", "loss": "CE"},
        SEQUENCES[:2],
    )


def aliases(experiment: Experiment) -> dict[str, str]:
    """Alias to the run that its version was made from."""
    client = connect(experiment.uri)
    named = client.get_registered_model("demo").aliases
    return {a: client.get_model_version("demo", v).tags["run_key"] for a, v in named.items()}


def model_uri(experiment: Experiment) -> str:
    client = connect(experiment.uri)
    number = client.get_registered_model("demo").aliases["champion"]
    return str(client.get_model_version_download_uri("demo", number))


def expected_answers(seed: int) -> list[dict[str, Any]]:
    """What the classifier itself says, for comparison."""
    names = ["family", "confidence", "verdict", "second_family", "p_value"]
    frame = make_classifier(seed).classify(SEQUENCES, tolerated_error=None)
    return [
        {k: pytest.approx(v, abs=1e-5) if isinstance(v, float) else v for k, v in row.items()}
        for row in frame[names].to_dict("records")
    ]


def same_answers(answers: list[dict[str, Any]], seed: int) -> bool:
    expected = expected_answers(seed)
    assert len({row["family"] for row in expected}) > 1  # or any constant would do
    return [{k: row[k] for k in expected[0]} for row in answers] == expected


class TestRegistering:
    def test_the_two_best_are_versions_with_aliases_and_tags(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        scores = {1: 0.5, 2: 0.9, 3: 0.7}
        candidates = [make_candidate(experiment, tmp_path, a, seed=s) for s, a in scores.items()]
        assert register_models(experiment, "demo", candidates) == {
            "champion": "1",
            "challenger": "2",
        }
        assert aliases(experiment) == {"champion": "key-2", "challenger": "key-3"}
        client = connect(experiment.uri)
        assert len(client.search_model_versions("name = 'demo'")) == 2  # the third is not logged
        champion = client.get_model_version("demo", "1")
        assert {"loss": "CE", "study": "demo", "validation_accuracy": "0.9000"}.items() <= (
            champion.tags.items()
        )
        assert champion.description == "CE | seed 2"
        assert not (tmp_path / "of-the-process.db").exists()

    def test_repeating_it_makes_nothing_new(self, experiment: Experiment, tmp_path: Path) -> None:
        candidates = [
            make_candidate(experiment, tmp_path, a, seed=s) for s, a in ((1, 0.5), (2, 0.4))
        ]
        first = register_models(experiment, "demo", candidates)
        assert register_models(experiment, "demo", candidates) == first
        client = connect(experiment.uri)
        assert len(client.search_model_versions("name = 'demo'")) == 2
        assert len(client.search_logged_models([experiment.experiment_id])) == 2

    def test_a_better_run_takes_the_alias(self, experiment: Experiment, tmp_path: Path) -> None:
        old = [make_candidate(experiment, tmp_path, a, seed=s) for s, a in ((1, 0.5), (2, 0.4))]
        register_models(experiment, "demo", old)
        better = make_candidate(experiment, tmp_path, 0.8, seed=3)
        named = register_models(experiment, "demo", [*old, better])
        assert named == {"champion": "3", "challenger": "1"}
        assert aliases(experiment) == {"champion": "key-3", "challenger": "key-1"}

    def test_of_equal_ones_the_earlier_is_better(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        candidates = [make_candidate(experiment, tmp_path, 0.5, seed=s) for s in (2, 1)]
        register_models(experiment, "demo", candidates)
        assert aliases(experiment)["champion"] == "key-2"

    def test_one_network_has_no_challenger(self, experiment: Experiment, tmp_path: Path) -> None:
        two = [make_candidate(experiment, tmp_path, a, seed=s) for s, a in ((1, 0.5), (2, 0.4))]
        register_models(experiment, "demo", two)
        assert register_models(experiment, "demo", two[1:]) == {"champion": "2"}
        assert aliases(experiment) == {"champion": "key-2"}

    def test_no_candidate_is_no_model(self, experiment: Experiment) -> None:
        assert register_models(experiment, "demo", []) == {}
        assert connect(experiment.uri).search_registered_models() == []

    def test_model_and_run_show_each_other_and_the_run_keeps_its_values(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        candidate = make_candidate(experiment, tmp_path, 0.5)
        client = connect(experiment.uri)
        [before] = client.search_runs([experiment.experiment_id])
        register_models(experiment, "demo", [candidate])
        run = client.get_run(before.info.run_id)
        [model] = client.search_logged_models([experiment.experiment_id])
        assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
        assert model.source_run_id == run.info.run_id
        assert model.params == {"loss.name": "cross_entropy"}
        assert {m.key: m.value for m in model.metrics} == {"final/valid_accuracy": 0.5}
        assert run.data.metrics == before.data.metrics
        history = client.get_metric_history(run.info.run_id, "final/valid_accuracy")
        assert len(history) == 1

    def test_failure_is_a_warning_and_leaves_no_half_model(
        self, experiment: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        candidate = make_candidate(experiment, tmp_path, 0.5)
        (candidate.folder / "model" / "weights.safetensors").unlink()
        assert register_models(experiment, "demo", [candidate]) == {}
        [warning] = caplog.messages
        assert warning.startswith("tracking stopped: the models of demo are not in MLflow: ")
        client = connect(experiment.uri)
        assert client.search_logged_models([experiment.experiment_id]) == []
        assert client.search_model_versions("name = 'demo'") == []

    def test_run_that_the_store_does_not_have_is_a_warning(
        self, experiment: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        candidate = make_candidate(experiment, tmp_path, 0.5)
        (candidate.folder / "tracking.json").unlink()
        assert register_models(experiment, "demo", [candidate]) == {}
        assert caplog.messages[0].endswith(f"the run in {candidate.folder} is not there yet")


class TestSaved:
    def test_nothing_is_pickled_and_the_signature_is_that_of_sequences(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        from mlflow.models import Model

        register_models(experiment, "demo", [make_candidate(experiment, tmp_path, 0.5)])
        folder = Path(model_uri(experiment).removeprefix("file://"))
        suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
        assert not suffixes & {".pkl", ".pickle", ".pt", ".pth", ".pyc"}
        about = Model.load(str(folder))
        assert [str(kind.type) for kind in about.signature.inputs] == ["DataType.string"]
        assert about.signature.outputs.input_names()[:3] == ["family", "confidence", "verdict"]
        example = json.loads((folder / "input_example.json").read_text())
        assert example == SEQUENCES[:2]
        assert (folder / "requirements.txt").read_text().splitlines() == list(requirements())

    def test_requirements_are_all_that_answering_imports(self, tmp_path: Path) -> None:
        make_classifier(4).save(tmp_path / "model")
        program = f"""
import json, sys
from importlib.metadata import packages_distributions
from protein_robust.classifier import Classifier
Classifier.load({str(tmp_path / "model")!r}).classify(["MKV"], tolerated_error=None)
owners = packages_distributions()
names = {{module.partition(".")[0] for module in sys.modules}}
print(json.dumps(sorted({{owner for name in names for owner in owners.get(name, [])}})))
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        # What torch and pandas bring, or use where it is there by chance.
        theirs = {"nvidia-ml-py", "python-dateutil", "six", "typing_extensions", "setuptools"}
        theirs |= {"cloudpickle", "protein-robust"}
        assert set(json.loads(done.stdout)) - theirs == set(REQUIREMENTS) - {"mlflow"}

    def test_requirements_name_versions_that_any_machine_can_install(self) -> None:
        listed = dict(each.split("==") for each in requirements())
        assert list(listed) == list(REQUIREMENTS)
        assert torch.__version__.startswith(listed["torch"])
        assert "+" not in "".join(listed.values())


class TestLoading:
    def test_it_answers_where_this_package_is_not_installed(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        register_models(experiment, "demo", [make_candidate(experiment, tmp_path, 0.5, seed=4)])
        program = f"""
import json, sys, warnings
sys.path.append({sysconfig.get_path("purelib")!r})
try:
    import protein_robust
    raise SystemExit("it is installed here")
except ImportError:
    pass
import mlflow
mlflow.set_tracking_uri({experiment.uri!r})
model = mlflow.pyfunc.load_model("models:/demo@champion")
answers = model.predict({SEQUENCES!r})
import protein_robust
print(json.dumps([answers, protein_robust.__file__]))
"""
        # Without `site`, no path of an editable installation is followed.
        command = [sys.executable, "-S", "-I", "-W", "ignore", "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        answers, home = json.loads(done.stdout)
        assert same_answers(answers, 4)
        assert home.endswith("/code/protein_robust/__init__.py")

    def test_served_it_answers_and_says_what_is_wrong_with_an_integer(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        register_models(experiment, "demo", [make_candidate(experiment, tmp_path, 0.5, seed=4)])
        port = free_port()
        binaries = Path(sys.executable).parent  # MLflow starts its server by name
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": experiment.uri,
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        }
        command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
        command += ["-m", "models:/demo@champion", "--port", str(port), "--host", "127.0.0.1"]
        with (tmp_path / "serve.log").open("wb") as log:
            server = subprocess.Popen(
                command,
                env=environment,
                cwd=tmp_path,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_for(f"http://127.0.0.1:{port}/ping")
            status, answer = post(port, {"inputs": SEQUENCES})
            assert status == 200
            assert same_answers(answer["predictions"], 4)
            status, answer = post(port, {"inputs": [7]})
            assert status == 400
            assert "Expected type str, but got int" in answer["message"]
            status, answer = post(port, {"inputs": ["MKV", "MK7"]})
            assert status == 400
            assert "sequence:2: Expected" in answer["message"]
        finally:
            os.killpg(server.pid, 15)
            server.wait()


class TestFetching:
    def test_alias_version_model_and_run_give_the_folder(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        candidate = make_candidate(experiment, tmp_path, 0.5)
        register_models(experiment, "demo", [candidate])
        client = connect(experiment.uri)
        [run] = client.search_runs([experiment.experiment_id])
        [model] = client.search_logged_models([experiment.experiment_id])
        client.log_artifacts(run.info.run_id, str(candidate.folder / "model"), "model")
        whole = {path.name: path.read_bytes() for path in (candidate.folder / "model").iterdir()}
        for uri in (
            "models:/demo@champion",
            "models:/demo/1",
            f"models:/{model.model_id}",
            f"runs:/{run.info.run_id}",
            f"runs:/{run.info.run_id}/model",
        ):
            folder = fetch_model(uri, experiment.uri)
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole, uri
            assert fetch_model(uri, experiment.uri) == folder  # once in a process
        assert Classifier.load(folder).name == "demo/run-1"

    @pytest.mark.parametrize(
        ("uri", "message"),
        [
            ("models:/demo@nobody", r"models:/demo@nobody: .*alias nobody not found\.$"),
            ("models:/nothing/1", r"Expected a model in sqlite:.*, got models:/nothing/1: "),
            ("models:/demo/one", r"models:/demo/one: .*must be an integer"),
            ("runs:/abc", r"runs:/abc: Run with id=abc not found\.$"),
            ("models:/", r"Expected `models:/NAME@champion`, .* got 'models:/'\.$"),
            ("s3:/elsewhere", r"Expected `models:/NAME@champion`, .* got 's3:/elsewhere'\.$"),
        ],
    )
    def test_what_is_not_there_is_an_input_error(
        self, experiment: Experiment, tmp_path: Path, uri: str, message: str
    ) -> None:
        register_models(experiment, "demo", [make_candidate(experiment, tmp_path, 0.5)])
        with pytest.raises(InputError, match=message):
            fetch_model(uri, experiment.uri)

    def test_other_files_of_a_run_are_no_model(
        self, experiment: Experiment, tmp_path: Path
    ) -> None:
        make_candidate(experiment, tmp_path, 0.5)
        client = connect(experiment.uri)
        [run] = client.search_runs([experiment.experiment_id])
        client.log_text(run.info.run_id, "a", "model/other.txt")
        with pytest.raises(InputError, match="a classifier that this package has made, got anoth"):
            fetch_model(f"runs:/{run.info.run_id}", experiment.uri)

    def test_store_that_is_not_there_is_an_input_error_and_is_not_made(
        self, tmp_path: Path
    ) -> None:
        with pytest.raises(InputError, match=r"holds models:/demo/1, got no tracking database"):
            fetch_model("models:/demo/1", f"sqlite:///{tmp_path}/none.db")
        assert list(tmp_path.iterdir()) == []


class TestServer:
    @pytest.fixture
    def remote(self, experiment: Experiment) -> Iterator[Experiment]:
        """The same store behind a server, with an experiment whose files the server keeps."""
        port = free_port()
        process = serve_ui(experiment.uri, port=port)
        try:
            wait_for(f"http://127.0.0.1:{port}/health")
            yield prepare(f"http://127.0.0.1:{port}", "remote")
        finally:
            process.terminate()
            process.wait()

    def test_registered_and_fetched_through_a_server(
        self, remote: Experiment, tmp_path: Path
    ) -> None:
        candidates = [make_candidate(remote, tmp_path, a, seed=s) for s, a in ((1, 0.5), (2, 0.4))]
        for _ in range(2):
            named = register_models(remote, "demo", candidates)
            assert named == {"champion": "1", "challenger": "2"}
        assert model_uri(remote).startswith("mlflow-artifacts:/")
        folder = fetch_model("models:/demo@challenger", remote.uri)
        assert Classifier.load(folder).name == "demo/run-2"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(address: str, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def post(port: int, content: object) -> tuple[int, Any]:
    body, kind = json.dumps(content).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, kind)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
