"""Published predictions of the same rows, for example APACHE's: nothing is fitted, and no input is read."""

from torch import Tensor

from data_modules.batch import Batch
from data_modules.errors import UserError
from mmnar_lightning.baselines.config import PublishedScoreConfig
from mmnar_lightning.baselines.inputs import BaselineInputs


class PublishedScore:
    """A table of probabilities by row id; rows with NaN are not scored.

    Args:
        inputs: tasks and scores.
        config: name of the score.

    Raises:
        UserError: for a score that the cohort does not hold, or not for every task.
    """

    def __init__(self, inputs: BaselineInputs, config: PublishedScoreConfig) -> None:
        if config.name not in inputs.scores:
            known = ", ".join(inputs.scores) or "none"
            raise UserError(
                f"baseline.published_score.name={config.name}: this cohort has {known}; eICU has apache_iva if "
                "apachePatientResult is there"
            )
        self.probability = inputs.scores[config.name]
        empty = [task for task, known in zip(inputs.tasks, ~self.probability.isnan().all(0), strict=True) if not known]
        if empty:
            raise UserError(
                f"baseline.published_score.name={config.name} predicts no row of {', '.join(empty)}; leave these out "
                "of cohort.tasks"
            )
        self.iterations = dict.fromkeys(inputs.tasks, 0)
        self.losses: dict[str, list[float]] = {task: [] for task in inputs.tasks}
        self.remarks: list[str] = []

    def fit(self, train: Batch, val: Batch) -> None:
        """Do nothing."""

    def predict(self, batch: Batch) -> Tensor:
        """Look up probabilities, (B, T) float64; NaN where missing."""
        return self.probability[batch.row_id]
