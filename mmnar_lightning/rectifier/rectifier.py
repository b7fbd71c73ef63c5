"""The rectifier as a module: all fitted values are buffers, so every checkpoint holds them."""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor, nn

from data_modules import patterns as pattern_ids
from data_modules.errors import UserError
from data_modules.vocabulary import TaskKind
from mmnar_lightning.rectifier import gate
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.estimate import Array, Int, Minimum, Offsets, Rows, estimate

MAX_OFFSET = 2.0
"""Largest absolute value of τ⁰: a factor of 7 in the odds, beyond what a pattern of few rows can show."""
SCALES: dict[TaskKind, str] = {"binary": "logit", "value": "standard deviations"}
"""Kind of the tasks -> scale of the offsets."""
Z = 1.959963984540054
"""Standard normal quantile of a 95 % interval."""


class Rectifier(nn.Module):
    """An offset per task and pattern, estimated on some subjects and applied to others.

    **The guard**: applying raises an error where a row belongs to a subject of the fit. Training, where a look at every
    step would wait for the device, looks at each checkpoint and at the end of each epoch instead (`shared`).

    Args:
        num_tasks: T.
        num_modalities: M.
        patterns: P patterns of the cohort, or their ids; any other pattern gets the offset of its number of modalities.
        num_subjects: of the cohort.
        config: of the estimate.
        kind: of the tasks: offsets are added to logits, or to standardised numbers.
    """

    offset: Tensor
    variance: Tensor
    raw: Tensor
    tally: Tensor
    estimated: Tensor
    strength: Tensor
    fitted_subjects: Tensor
    fingerprint: Tensor
    pattern: Tensor
    size: Tensor

    def __init__(
        self,
        num_tasks: int,
        num_modalities: int,
        patterns: Sequence[int],
        num_subjects: int,
        config: RectifierConfig,
        kind: TaskKind = "binary",
    ) -> None:
        super().__init__()
        self.config, self.num_modalities, self.kind = config, num_modalities, kind
        size = 1 + num_modalities + 1 + len(patterns)
        sizes = {pattern_ids.key(pattern): pattern.bit_count() for pattern in patterns}
        self.register_buffer("pattern", torch.tensor(sorted(sizes), dtype=torch.int64))
        if num_modalities > pattern_ids.EXACT:  # an id does not show how many modalities its pattern has
            self.register_buffer("size", torch.tensor([sizes[code] for code in sorted(sizes)], dtype=torch.int64))
        for name in (
            "offset",
            "variance",
            "raw",
        ):  # estimated in float64, kept in float32: not every device has float64
            self.register_buffer(name, torch.zeros(num_tasks, size))
        # Checkpoints may be shared, so they hold no counts of small cells; see recount.
        self.register_buffer("tally", torch.zeros(3, num_tasks, size, dtype=torch.int64), persistent=False)
        self.register_buffer("estimated", torch.zeros(num_tasks, size, dtype=torch.bool))
        self.register_buffer("strength", torch.zeros(num_tasks))
        self.register_buffer("fitted_subjects", torch.zeros(num_subjects, dtype=torch.bool))
        self.register_buffer("fingerprint", torch.zeros((), dtype=torch.int64))

    @property
    def is_fitted(self) -> bool:
        """Whether offsets were fitted."""
        return bool(self.fitted_subjects.any())

    def fit(
        self, *, logits: Tensor, label: Tensor, label_mask: Tensor, present: Tensor, subject: Tensor, cohort: str
    ) -> None:
        """Estimate all offsets and, with a gate, their strengths.

        `_check` refuses bad input before anything changes: no row, shapes that do not agree, patterns or subjects
        outside of the cohort, logits that are NaN or infinite, labels other than 0 and 1.

        Args:
            logits: (N, T) float, of subjects whose labels the model was not trained on.
            label: (N, T), 0 or 1; undefined where unknown.
            label_mask: (N, T) bool.
            present: (N, M) bool.
            subject: (N,) int64 dense index.
            cohort: fingerprint of the cohort.
        """
        self._fit(logits, label, label_mask, present, subject, cohort)
        self._set_strengths([self._rows(task, logits, label, label_mask, present, subject) for task in self._tasks])

    def fit_centred(
        self, *, logits: Tensor, label: Tensor, label_mask: Tensor, present: Tensor, subject: Tensor, cohort: str
    ) -> None:
        """Estimate τ⁰: as `fit`, but centred over these rows and clipped to ±`MAX_OFFSET`, in the gate as well."""
        self._fit(logits, label, label_mask, present, subject, cohort)
        rows = [self._rows(task, logits, label, label_mask, present, subject) for task in self._tasks]
        self._set_strengths(rows, centred=True)
        # Weighted by counts, so that the sum does not depend on the order of the rows.
        members = torch.bincount(self._node(present.to(self.pattern.device)), minlength=self.offset.shape[1])
        centre = (self.offset * members).sum(1, keepdim=True) / len(present)
        self.offset.copy_((self.offset - centre).clamp(-MAX_OFFSET, MAX_OFFSET))

    def recount(self, *, logits: Tensor, label: Tensor, label_mask: Tensor, present: Tensor, subject: Tensor) -> None:
        """Count the rows of the fit again for `table`: checkpoints hold no counts.

        Args:
            logits: as in `fit`.
            label: as in `fit`.
            label_mask: as in `fit`.
            present: as in `fit`.
            subject: as in `fit`.
        """
        for task in self._tasks:
            self._count(task, self._estimate(self._rows(task, logits, label, label_mask, present, subject)))

    def _fit(
        self, logits: Tensor, label: Tensor, label_mask: Tensor, present: Tensor, subject: Tensor, cohort: str
    ) -> None:
        self._check(logits, label, label_mask, present, subject)
        for task in self._tasks:
            self._store(task, self._estimate(self._rows(task, logits, label, label_mask, present, subject)))
        self.fitted_subjects.zero_()
        self.fitted_subjects[subject.to(self.fitted_subjects.device)] = True
        self.fingerprint.fill_(_number(cohort))

    @property
    def _tasks(self) -> range:
        return range(len(self.strength))

    def _set_strengths(self, rows: Sequence[Rows], *, centred: bool = False) -> None:
        """Set the strength of each task from its rows of the fit; 1 without a gate."""
        shift = partial(self._shift, centred=centred)
        chosen = [gate.strength(own, shift) if self.config.gate else 1.0 for own in rows]
        self.strength.copy_(torch.tensor(chosen))

    def _rows(
        self, task: int, logits: Tensor, label: Tensor, label_mask: Tensor, present: Tensor, subject: Tensor
    ) -> Rows:
        """Select the rows of a task with a known label."""
        known = label_mask[:, task]
        place = self._position(present.to(self.pattern.device)).to(known.device)
        columns = (logits[:, task].double(), label[:, task].double(), subject, place)
        return Rows.of(*(column[known].cpu().numpy() for column in columns), kind=self.kind)

    def forward(self, logits: Tensor, present: Tensor, subject: Tensor, cohort: str, *, guarded: bool = True) -> Tensor:
        """Shift the logits of subjects outside of the fit; before a fit, return them as they are.

        Args:
            logits: (B, T) float.
            present: (B, M) bool.
            subject: (B,) int64 dense index.
            cohort: fingerprint of the cohort.
            guarded: whether to refuse subjects of the fit; if not, the caller asks `shared`.

        Returns:
            (B, T).
        """
        if guarded:
            self._guard(subject, cohort)
        return logits + self._shifts(present).to(logits.dtype)

    def shared(self, subject: Tensor, cohort: str) -> Tensor:
        """Count the rows, of subjects (B,) int64, that the rectifier was fitted on; a scalar on the device."""
        return (self.fingerprint == _number(cohort)) * self.fitted_subjects[subject].sum()

    @staticmethod
    def refuse_shared(count: int, total: int) -> None:
        """Refuse rows of subjects of the fit.

        Args:
            count: of such rows, as from `shared`.
            total: of all rows.

        Raises:
            ValueError: if there are any.
        """
        if count:
            raise ValueError(
                f"{count} of {total} rows belong to subjects that the rectifier was fitted on; apply it to other "
                "subjects only"
            )

    def rectify(self, logits: Tensor, present: Tensor, subject: Tensor, cohort: str) -> Tensor:
        """Compute rectified probabilities, (B, T) float64, of subjects outside of the fit."""
        assert self.kind == "binary", "numbers have no probability"
        self._guard(subject, cohort)
        return torch.sigmoid(logits.double() + self._shifts(present))

    def recalibrate(self, logits: Tensor, subject: Tensor, cohort: str) -> Tensor:
        """Shift the logits, (B, T), of subjects outside of the fit by the root's offset alone, without a strength."""
        self._guard(subject, cohort)
        return logits + self.offset[:, 0].to(logits.dtype)

    def unseen(self, present: Tensor) -> Tensor:
        """(B,) bool, rows with a pattern outside of the cohort; they get the offset of their number of modalities."""
        return self._position(present) < 0

    def table(self, labels: Sequence[int]) -> list[dict[str, Any]]:
        """Tabulate the fitted offsets.

        Args:
            labels: patterns, in the order of the table.

        Returns:
            Per task: `scale`, `strength` and `patterns`: pattern label -> offset, 95 % interval, counts, whether the
            offset is inherited.

        Raises:
            ValueError: for a rectifier from a checkpoint without a call of `recount`.
        """
        if self.is_fitted and not bool(self.tally.any()):
            raise ValueError("a checkpoint holds no counts; call recount with the rows of the fit before table")
        num_tasks = len(self.strength)
        return [
            {
                "scale": SCALES[self.kind],
                "strength": float(self.strength[task]),
                "patterns": {pattern_ids.label(code, self.num_modalities): self._entry(task, code) for code in labels},
            }
            for task in range(num_tasks)
        ]

    def _entry(self, task: int, code: int) -> dict[str, Any]:
        shown = [[bit == "1" for bit in pattern_ids.label(code, self.num_modalities)]]
        node = int(self._node(torch.tensor(shown, device=self.pattern.device)))
        tau, error = float(self.offset[task, node]), float(self.variance[task, node]) ** 0.5
        raw = float(self.raw[task, node])
        rows, positives, subjects = (int(count) for count in self.tally[:, task, node])
        return {
            "tau": tau,
            "low": tau - Z * error,
            "high": tau + Z * error,
            "raw": None if np.isnan(raw) else raw,
            "inherited": not bool(self.estimated[task, node]),
            "count": rows,
            "positives": positives,
            "subjects": subjects,
        }

    def _shifts(self, present: Tensor) -> Tensor:
        """(B, T) float32, strength · offset of each row."""
        shifts: Tensor = (self.strength[:, None] * self.offset)[:, self._node(present)].T
        return shifts

    def _guard(self, subject: Tensor, cohort: str) -> None:
        if int(self.fingerprint) == _number(cohort):  # another cohort numbers other subjects, perhaps more of them
            self.refuse_shared(int(self.shared(subject, cohort)), len(subject))

    def _check(self, logits: Tensor, label: Tensor, label_mask: Tensor, present: Tensor, subject: Tensor) -> None:
        size, tasks = len(logits), len(self.strength)
        expected = [(size, tasks)] * 3 + [(size, self.num_modalities), (size,)]
        given = [tuple(part.shape) for part in (logits, label, label_mask, present, subject)]
        if given != expected:
            raise ValueError(f"logits, label, label_mask, present, subject have shapes {given}, expected {expected}")
        if not len(subject):
            raise ValueError("the rectifier needs at least one row")
        if not bool(logits[label_mask].isfinite().all()):
            raise UserError("the model's logits are NaN or infinite, so no rectifier can be fitted; lower optim.lr")
        if self.kind == "binary" and not bool(((label == 0) | (label == 1))[label_mask].all()):
            raise ValueError("the rectifier needs labels that are 0 or 1; some are neither 0 nor 1")
        if int(subject.min()) < 0 or int(subject.max()) >= len(self.fitted_subjects):
            raise ValueError(
                f"the rectifier needs subjects below {len(self.fitted_subjects)}, the number in the cohort, and was "
                f"given subjects {int(subject.min())} to {int(subject.max())}"
            )
        if bool(self.unseen(present.to(self.pattern.device)).any()):
            raise ValueError("the rectifier was given rows with patterns that the cohort does not have")

    def _position(self, present: Tensor) -> Tensor:
        """(B,) int64, the position of each row's pattern among those of the cohort; -1 for any other."""
        code = pattern_ids.encode(present)
        place = torch.searchsorted(self.pattern, code).clamp(max=len(self.pattern) - 1)
        return torch.where(self.pattern[place] == code, place, -1)

    def _node(self, present: Tensor) -> Tensor:
        """(B,) int64, the column of each row's pattern; of its number of modalities where the pattern is unseen."""
        place, count = self._position(present), present.sum(1)
        return torch.where(place >= 0, 1 + self.num_modalities + 1 + place, 1 + count)

    def _estimate(self, rows: Rows) -> Offsets:
        minimum = Minimum(rows=self.config.min_rows, class_rows=self.config.min_class_rows)
        return estimate(rows, self._sizes(), self.num_modalities, minimum)

    def _sizes(self) -> Int:
        """(P,) int64, number of modalities of each pattern."""
        if self.num_modalities > pattern_ids.EXACT:
            return np.asarray(self.size.cpu())
        return pattern_ids.decode(self.pattern.cpu(), self.num_modalities).sum(1).numpy()

    def _store(self, task: int, found: Offsets) -> None:
        levels = (found.overall, found.count, found.pattern)
        for name in ("offset", "variance", "raw"):
            joined = np.concatenate([getattr(level, name) for level in levels])
            getattr(self, name)[task] = torch.from_numpy(joined).to(getattr(self, name).dtype)
        # At spread 0 every node equals its parent, whatever its number of rows.
        own = np.concatenate([level.estimated & (level.spread > 0) for level in levels])
        self.estimated[task] = torch.from_numpy(own)
        self._count(task, found)

    def _count(self, task: int, found: Offsets) -> None:
        for place, name in enumerate(("rows", "positives", "subjects")):
            joined = np.concatenate([getattr(level, name) for level in (found.overall, found.count, found.pattern)])
            self.tally[place, task] = torch.from_numpy(joined)

    def _shift(self, fitted: Rows, shifted: Rows, *, centred: bool = False) -> Array:
        """Probabilities, or numbers, (N, S) of rows at each strength of the offsets estimated from other rows."""
        offset = self._estimate(fitted).pattern.offset
        if centred:
            offset = np.clip(offset - offset[fitted.pattern].mean(), -MAX_OFFSET, MAX_OFFSET)
        own: Int = shifted.pattern
        moved = shifted.logit[:, None] + offset[own, None] * gate.STRENGTHS
        return np.asarray(moved if self.kind == "value" else expit(moved))


def _number(cohort: str) -> int:
    """Hash a fingerprint to an integer that fits a buffer."""
    return int.from_bytes(hashlib.blake2b(cohort.encode(), digest_size=7).digest(), "big")
