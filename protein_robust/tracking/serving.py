"""A classifier as MLflow loads and serves it; MLflow runs this very file, so nothing is pickled.

The file is copied into the MLflow model, beside the classifier's folder and this package. MLflow
reads the type hints of `predict`: they are the signature, by which it refuses other input. So this
file imports MLflow at its top, and is imported inside functions only.
"""

# Without `annotations` from `__future__`: MLflow needs the types, not their names.
from typing import Any, TypedDict, cast

from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class Answer(TypedDict):
    """What is said of one sequence, from columns of `Classifier.classify`.

    None where there is nothing to say: no second family, or a family that is in no clan.
    """

    family: str
    confidence: float
    verdict: str
    second_family: str | None
    second_confidence: float | None
    clan: str | None
    p_value: float


DIGITS = 6
"""Decimal places of fractions; the network computes in float32."""


class FamilyClassifier(PythonModel):
    """Says of protein sequences which family they are of, and whether to believe it."""

    def load_context(self, context: Any) -> None:
        """Read the classifier.

        Args:
            context: MLflow's; its artifact ``model`` is the classifier's folder.
        """
        import torch

        from protein_robust.classifier import Classifier

        classifier = Classifier.load(context.artifacts["model"])
        self._classifier = classifier.on("cuda" if torch.cuda.is_available() else "cpu")

    def predict(
        self,
        context: Any,
        model_input: list[str],
        params: dict[str, Any] | None = None,
    ) -> list[Answer]:
        """Classify sequences.

        Args:
            context: MLflow's; not needed any more.
            model_input: residues of each sequence.
            params: none are known.

        Returns:
            An answer for each sequence, in their order.

        Raises:
            MlflowException: with what is wrong, and the place of the sequence counted from 1.
        """
        from protein_robust.classifier import TOLERATED_ERROR
        from protein_robust.errors import InputError

        # Without validation data there are no thresholds, and confidence does not count.
        tolerated = TOLERATED_ERROR if self._classifier.thresholds else None
        try:
            frame = self._classifier.classify(model_input, tolerated_error=tolerated)
        except InputError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        names = list(Answer.__annotations__)
        rows = zip(*(frame[name].map(_plain) for name in names), strict=True)
        return [cast("Answer", dict(zip(names, row, strict=True))) for row in rows]


def _plain(value: Any) -> Any:
    """One value as JSON has it."""
    if isinstance(value, str) or value is None:
        return value
    # What pandas does not have is a NaN, which is not equal to itself.
    return round(float(value), DIGITS) if value == value else None


set_model(FamilyClassifier())
