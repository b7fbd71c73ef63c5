"""The metric of a run: discrimination and calibration, overall and per missingness pattern."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat
from torchmetrics.utilities.plot import plot_single_or_multi_val

from data_modules import patterns as pattern_ids
from data_modules.errors import UserError
from mmnar_lightning.metrics import functional
from mmnar_lightning.metrics.suppression import ALL, Counts, hidden_cells
from mmnar_lightning.metrics.values import VALUE_METRICS, value_metrics
from mmnar_lightning.outputs import ScoredRows

MAX_ROW_ID = 2**53
"""Row ids are stored as float64, which represents every integer below this one exactly."""


class PatternMetric(Metric):
    """Gathers the rows of an evaluation and scores each task, overall and per pattern.

    The state is the logits and labels of each row, as 1-D float64 tensors on every rank, so that ranks without
    rows, or without rows of a pattern, take part in the gather. Repeated rows (a sampler pads ranks to equal length)
    count once.

    `compute` and `rows` gather, so under DDP every rank must call them. Nothing is cached: a rank that returns from its
    cache while another gathers would block the other.

    Args:
        tasks: T task names.
        modalities: M modality names.
        patterns: pattern ids of the cohort; they determine the keys of `compute`. Rows of other patterns count towards
            the overall scores only.
        deviations: of tasks that are numbers, the standard deviation of each, in which logits and labels are given;
            None = the tasks are yes or no.

    Raises:
        UserError: if a task name has a slash or is repeated.

    >>> metric = PatternMetric(["death"], ["labs", "notes"], patterns=[1, 3])
    >>> metric.update(
    ...     row_id=torch.tensor([0, 1, 2]),
    ...     subject=torch.tensor([0, 1, 2]),
    ...     present=torch.tensor([[True, False], [True, True], [True, True]]),
    ...     logits=torch.tensor([[0.0], [-1.0], [1.0]]),
    ...     label=torch.tensor([[1.0], [0.0], [1.0]]),
    ...     label_mask=torch.tensor([[True], [True], [True]]),
    ... )
    >>> values = metric.compute()
    >>> values["auroc/death"], values["auroc/death/11"], values["auroc/death/10"], values["count/death/10"]
    (1.0, 1.0, nan, 1.0)
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False

    row_id: list[Tensor]
    subject: list[Tensor]
    present: list[Tensor]
    logits: list[Tensor]
    label: list[Tensor]
    label_mask: list[Tensor]

    def __init__(
        self,
        tasks: Sequence[str],
        modalities: Sequence[str],
        patterns: Sequence[int],
        deviations: Sequence[float] | None = None,
    ) -> None:
        super().__init__(compute_with_cache=False)
        self.deviations = deviations
        if len(set(tasks)) < len(tasks) or any("/" in task for task in tasks):
            raise UserError(f"tasks={list(tasks)} must differ and contain no slash, which separates the parts of a key")
        invalid = [one for one in patterns if not 0 <= one < 2 ** len(modalities) and one != pattern_ids.REST]
        assert not invalid, f"patterns {invalid} are not patterns of {len(modalities)} modalities"
        self.tasks, self.modalities = tuple(tasks), tuple(modalities)
        self.patterns = tuple(patterns)
        self._widths = {
            "row_id": 1,
            "subject": 1,
            "present": len(modalities),
            "logits": len(tasks),
            "label": len(tasks),
            "label_mask": len(tasks),
        }
        for name in self._widths:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    @property
    def labels(self) -> list[str]:
        """Labels of the listed patterns."""
        return [pattern_ids.label(pattern, len(self.modalities)) for pattern in self.patterns]

    def update(
        self,
        *,
        row_id: Tensor,
        subject: Tensor,
        present: Tensor,
        logits: Tensor,
        label: Tensor,
        label_mask: Tensor,
    ) -> None:
        """Add rows; B may be 0.

        Args:
            row_id: (B,) int64, below 2**53.
            subject: (B,) int64, dense index, below 2**53.
            present: (B, M) bool, True = observed.
            logits: (B, T) float, never NaN.
            label: (B, T) float, 0 or 1; undefined where unknown.
            label_mask: (B, T) bool, True = the label is known.
        """
        assert row_id.dtype == torch.int64, f"row_id has the dtype {row_id.dtype}; it must be torch.int64"
        given = {
            "row_id": row_id.unsqueeze(-1),
            "subject": subject.unsqueeze(-1),
            "present": present,
            "logits": logits,
            "label": label,
            "label_mask": label_mask,
        }
        for name, width in self._widths.items():
            shape, expected = tuple(given[name].shape), (len(row_id), width)
            assert shape == expected, f"{name} has the shape {shape}, expected {expected}"
        for name, rows in given.items():
            getattr(self, name).append(rows.detach().to(self.device, torch.float64).flatten())

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the states of all ranks; torchmetrics calls it from `compute`.

        By default, torchmetrics gives a rank without rows an empty float32 state, which does not match the float64 of
        the other ranks.
        """
        for name in self._widths:
            if isinstance(getattr(self, name), list) and not getattr(self, name):
                setattr(self, name, [torch.zeros(0, dtype=torch.float64, device=self.device)])
        super().sync(*args, **kwargs)

    def compute(self) -> dict[str, float]:
        """Score every task, overall and per pattern.

        Returns:
            Of tasks that are numbers `r2` and `mse`, the means over the tasks (`mse` of standardised numbers), and for
            every task and pattern the metrics of `VALUE_METRICS` and `count`. Of the others `auroc` and `log_loss`, the
            means over the tasks in which they are defined, and for every task
            `auroc/<task>`, `average_precision/<task>`, `brier/<task>`, `count/<task>` (rows with a known label) and
            `positives/<task>`; then each of the five as `<metric>/<task>/<pattern label>` for every listed
            pattern. The keys do not depend on the rows; undefined values are NaN. A logit that is NaN raises a
            UserError.
        """
        rows = self._unique_rows()
        members = pattern_ids.members(rows.pattern, self.patterns, len(self.modalities))
        values: dict[str, float] = {}
        losses = []
        for column, task in enumerate(self.tasks):
            known = rows.label_mask[:, column]
            losses.append(self._loss(rows.logits[known, column], rows.label[known, column]))
            cells = {f"/{text}": known & own for text, own in members.items()}
            for suffix, member in {"": known, **cells}.items():
                scores = self._scores(rows.logits[member, column], rows.label[member, column], column)
                values |= {f"{name}/{task}{suffix}": score for name, score in scores.items()}
        score, loss = self.means
        return {
            score: _mean_defined([values[f"{score}/{task}"] for task in self.tasks]),
            loss: _mean_defined(losses),
            **values,
        }

    @property
    def means(self) -> tuple[str, str]:
        """Names of the score and of the loss that are averaged over the tasks."""
        return ("auroc", "log_loss") if self.deviations is None else ("r2", "mse")

    def _loss(self, logits: Tensor, label: Tensor) -> float:
        if self.deviations is None:
            return functional.log_loss(logits, label)
        return float(((logits - label) ** 2).mean())

    def _scores(self, logits: Tensor, label: Tensor, column: int) -> dict[str, float]:
        if self.deviations is None:
            return _scores(logits.sigmoid(), label)
        unit = self.deviations[column]
        found = value_metrics(unit * logits, unit * label)[0].tolist()
        return {**dict(zip(VALUE_METRICS, found, strict=True)), "count": float(len(label))}

    def plot(self, val: Mapping[str, float] | None = None, ax: Any = None, score: str = "auroc") -> tuple[Any, Any]:
        """Draw one score of every task, over all rows and per pattern.

        Args:
            val: as from `compute`; None computes it.
            ax: axes of matplotlib to draw into; None creates them.
            score: `auroc`, `average_precision`, `brier`, `count` or `positives`.

        Returns:
            The figure and its axes; scores that are not defined are left out.
        """
        values = self.compute() if val is None else val
        found = {key: torch.tensor(value) for key, value in values.items() if key.startswith(f"{score}/")}
        defined = {key.partition("/")[2]: value for key, value in found.items() if not value.isnan()}
        figure, axes = plot_single_or_multi_val(defined, ax=ax, name=score)
        return figure, axes

    def rows(self) -> ScoredRows:
        """The rows of all ranks on the CPU, each once, sorted by row id.

        Returns:
            The rows; label 0 where unknown. A row id that is not below 2**53 raises a UserError.
        """
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn, should_sync=not self._is_synced, should_unsync=not self._is_synced
        ):
            return self._unique_rows()

    def _unique_rows(self) -> ScoredRows:
        """The rows of the current states: of all ranks inside `compute`, of this rank elsewhere."""
        rows = {name: self._table(name) for name in self._widths}
        row_id = rows["row_id"].squeeze(-1)
        if bool((row_id.abs() >= MAX_ROW_ID).any()):
            raise UserError(f"row id {int(row_id.abs().max())} is too large; row ids must be below 2**53")
        known = rows["label_mask"].bool()
        label = rows["label"].where(known, 0.0)
        first = _first_of_each(row_id, torch.cat([label, rows["label_mask"]], dim=-1))
        return ScoredRows(
            row_id=row_id[first].long(),
            subject=rows["subject"][first].squeeze(-1).long(),
            present=rows["present"][first].bool(),
            logits=rows["logits"][first],
            label=label[first],
            label_mask=known[first],
        )

    def _table(self, name: str) -> Tensor:
        """A state (a list before the gather, one tensor after) as (N, width) on the CPU."""
        state = getattr(self, name)
        rows = dim_zero_cat(state).cpu() if len(state) else torch.zeros(0, dtype=torch.float64)
        return rows.reshape(-1, self._widths[name])


class PatternScore(PatternMetric):
    """One number of `PatternMetric`, which `self.log(name, metric)` of a LightningModule takes.

    Args:
        key: of `PatternMetric.compute`.
        arguments: of `PatternMetric`.
        settings: likewise.

    Raises:
        UserError: if `compute` has no such key.

    >>> PatternScore("auroc/birth", ["death"], ["labs"], patterns=[1])
    Traceback (most recent call last):
        ...
    data_modules.errors.UserError: key=auroc/birth: expected one of auroc, log_loss, auroc/death, ...
    """

    def __init__(self, key: str, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.key = key
        known = list(super().compute())
        if key not in known:
            raise UserError(f"key={key}: expected one of {', '.join(known[:3])}, ...")

    def compute(self) -> Tensor:  # type: ignore[override]  # Lightning logs tensors alone
        """The number, a scalar float64 tensor; NaN where it is undefined."""
        return torch.tensor(super().compute()[self.key], dtype=torch.float64)

    def plot(self, val: Any = None, ax: Any = None) -> tuple[Any, Any]:  # type: ignore[override]  # it is one number
        """Draw the number, or several of them.

        Args:
            val: as from `compute`, or a list of such; None computes it.
            ax: as of `PatternMetric.plot`.

        Returns:
            The figure and its axes.
        """
        figure, axes = plot_single_or_multi_val(self.compute() if val is None else val, ax=ax, name=self.key)
        return figure, axes


def mask_small_cells(values: Mapping[str, float], min_count: int, *, totals_only: bool = False) -> dict[str, float]:
    """Mask every cell that is small, or that a small one would follow from, so that values can leave this machine.

    Args:
        values: as from `PatternMetric.compute`; a cell is a task, or a task and a pattern.
        min_count: smallest number of rows, positives or negatives that is not masked.
        totals_only: whether every pattern is masked, because other runs score other parts of the same rows.

    Returns:
        The same keys; all values of a hidden cell, including count and positives, are NaN. If a whole task is hidden,
        means over the tasks are rounded to two digits, from which its own value does not follow.

    >>> values = {"auroc": 0.75, "auroc/death": 0.75, "count/death": 4.0, "positives/death": 2.0}
    >>> mask_small_cells(values, min_count=10)
    {'auroc': 0.75, 'auroc/death': nan, 'count/death': nan, 'positives/death': nan}
    """
    tables: dict[str, dict[str, Counts]] = {}
    for key in values:
        name, *cell = key.split("/")
        if name == "count":
            task, label = cell[0], (*cell[1:], ALL)[0]
            counts = Counts(values[key], values.get(key.replace("count", "positives", 1), 0.0))
            tables.setdefault(task, {})[label] = counts
    hidden = hidden_cells(tables, min_count, totals_only=totals_only)
    has_hidden_task = any(ALL in cells for cells in hidden.values())

    def shown(key: str) -> float:
        _, *cell = key.split("/")
        if not cell:
            return round(values[key], 2) if has_hidden_task else values[key]
        return math.nan if (*cell[1:], ALL)[0] in hidden.get(cell[0], ()) else values[key]

    return {key: shown(key) for key in values}


def _scores(probability: Tensor, label: Tensor) -> dict[str, float]:
    return {
        "auroc": functional.auroc(probability, label),
        "average_precision": functional.average_precision(probability, label),
        "brier": functional.brier_score(probability, label),
        "count": float(len(label)),
        "positives": float(label.sum()),
    }


def _mean_defined(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _first_of_each(row_id: Tensor, answers: Tensor) -> Tensor:
    """Indices of the first entry of each row id, in ascending order; the (N, A) labels of equal ids must agree."""
    ordered, order = row_id.sort(stable=True)
    is_first = torch.cat([torch.ones_like(ordered[:1], dtype=torch.bool), ordered.diff() != 0])
    first = order[is_first]
    differs = (answers[order] != answers[first][is_first.cumsum(0) - 1]).any(-1)
    assert not bool(differs.any()), f"row id {int(ordered[differs][0])} is repeated with different labels"
    return first
