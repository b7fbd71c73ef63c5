"""Which metrics W&B shows as charts; the others are in its table."""

from collections.abc import Mapping

from lightning.pytorch.loggers import WandbLogger

IN_THE_TABLE = ("average_precision", "brier", "count", "positives", "mae", "rmse", "mean_error")
"""Metrics of tasks and patterns that are no chart."""


class ChartLogger(WandbLogger):
    """W&B's logger, with AUROC, of numbers R², as the only chart of tasks and patterns."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log what is a chart."""
        super().log_metrics({key: value for key, value in metrics.items() if is_chart(key)}, step)


def is_chart(key: str) -> bool:
    """Whether W&B shows a key as a chart.

    Args:
        key: as it is logged, `<split>/<metric>/<task>/<pattern>` for a metric of a task and pattern.

    Returns:
        False for the metrics of tasks and patterns in `IN_THE_TABLE`.

    >>> is_chart("val/auroc/death/11"), is_chart("val/brier/death/11"), is_chart("train/loss/brier"), is_chart("lr")
    (True, False, True, True)
    """
    split, _, rest = key.partition("/")
    return split not in {"val", "test"} or rest.partition("/")[0] not in IN_THE_TABLE
