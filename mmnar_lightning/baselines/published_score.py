"""Someone else's predictions of the same rows, for example APACHE's: nothing is fitted, and no input is read."""

from torch import Tensor

from data_modules.batch import Batch
from mmnar_lightning.baselines.config import PublishedScoreConfig
from mmnar_lightning.baselines.inputs import Problem


class PublishedScore:
    """A table of probabilities by row id, NaN where there is none; such rows are not scored.

    Args:
        problem: tasks and scores.
        config: which score.

    Raises:
        ValueError: when the cohort does not hold it, or not for every task.
    """

    def __init__(self, problem: Problem, config: PublishedScoreConfig) -> None:
        if config.name not in problem.scores:
            known = ", ".join(problem.scores) or "none"
            raise ValueError(
                f"baseline.published_score.name={config.name}: this cohort has {known}; eICU has apache_iva where "
                "apachePatientResult is there"
            )
        self.probability = problem.scores[config.name]
        empty = [task for task, known in zip(problem.tasks, ~self.probability.isnan().all(0), strict=True) if not known]
        if empty:
            raise ValueError(
                f"baseline.published_score.name={config.name} predicts no row of {', '.join(empty)}; leave these out of "
                "cohort.tasks"
            )
        self.iterations = dict.fromkeys(problem.tasks, 0)
        self.losses: dict[str, list[float]] = {task: [] for task in problem.tasks}
        self.remarks: list[str] = []

    def fit(self, train: Batch, val: Batch) -> None:
        """Nothing is fitted."""

    def predict(self, batch: Batch) -> Tensor:
        """Probabilities, (B, T) float64; NaN where there is none."""
        return self.probability[batch.row_id]
