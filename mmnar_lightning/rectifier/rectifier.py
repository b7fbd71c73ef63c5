"""The rectifier as a module: everything that was fitted is a buffer, so it travels in every checkpoint."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor, nn

from data_modules import patterns as pattern_ids
from mmnar_lightning.rectifier import gate
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.estimate import Array, Int, Minimum, Offsets, Rows, estimate

Z = 1.959963984540054
"""Standard normal quantile of a 95 % interval."""


class Rectifier(nn.Module):
    """An offset of each task and pattern, estimated on some subjects and applied to others.

    **The guard**: fitting and applying compare subjects, and raise if one is in both. Nothing turns it off.

    Args:
        num_tasks: T.
        num_modalities: M.
        patterns: P pattern ids of the cohort; another one gets the offset of its number of modalities.
        num_subjects: of the cohort.
        config: how offsets are estimated.
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

    def __init__(
        self,
        num_tasks: int,
        num_modalities: int,
        patterns: Sequence[int],
        num_subjects: int,
        config: RectifierConfig,
    ) -> None:
        super().__init__()
        self.config, self.num_modalities = config, num_modalities
        size = 1 + num_modalities + 1 + len(patterns)
        self.register_buffer("pattern", torch.tensor(sorted(patterns), dtype=torch.int64))
        for name in ("offset", "variance", "raw"):  # estimated in float64, kept in float32, which every device has
            self.register_buffer(name, torch.zeros(num_tasks, size))
        # Counts of small cells are in no checkpoint, which may be shared; see recount.
        self.register_buffer("tally", torch.zeros(3, num_tasks, size, dtype=torch.int64), persistent=False)
        self.register_buffer("estimated", torch.zeros(num_tasks, size, dtype=torch.bool))
        self.register_buffer("strength", torch.zeros(num_tasks))
        self.register_buffer("fitted_subjects", torch.zeros(num_subjects, dtype=torch.bool))
        self.register_buffer("fingerprint", torch.zeros((), dtype=torch.int64))

    @property
    def is_fitted(self) -> bool:
        """Whether it was fitted."""
        return bool(self.fitted_subjects.any())

    def fit(
        self, *, logits: Tensor, label: Tensor, label_mask: Tensor, present: Tensor, subject: Tensor, cohort: str
    ) -> None:
        """Estimate all offsets, and their strengths if there is a gate.

        Args:
            logits: (N, T) float, of subjects whose labels did not train them.
            label: (N, T), 0 or 1; undefined where unknown.
            label_mask: (N, T) bool.
            present: (N, M) bool.
            subject: (N,) int64 dense index.
            cohort: fingerprint of the cohort.

        Raises:
            ValueError: for no row, shapes that do not agree, patterns or subjects that the cohort does not have,
                logits that are no numbers, or labels that are neither 0 nor 1.
        """
        self._fit(logits, label, label_mask, present, subject, cohort)
        if not self.config.gate:
            self.strength.fill_(1.0)
            return
        for task in range(len(self.strength)):
            rows = self._rows(task, logits, label, label_mask, present, subject)
            self.strength[task] = gate.strength(rows, self._shift)

    def fit_centred(
        self, *, logits: Tensor, label: Tensor, label_mask: Tensor, present: Tensor, subject: Tensor, cohort: str
    ) -> None:
        """Estimate τ⁰: as `fit`, but ungated, centred over these rows, and cut at `max_offset`."""
        self._fit(logits, label, label_mask, present, subject, cohort)
        self.strength.fill_(1.0)
        # By counts, so that the sum does not depend on the order of the rows.
        rows = torch.bincount(self._node(present.to(self.pattern.device)), minlength=self.offset.shape[1])
        centre = (self.offset * rows).sum(1, keepdim=True) / len(present)
        limit = self.config.max_offset
        self.offset.copy_((self.offset - centre).clamp(-limit, limit))

    def recount(self, *, logits: Tensor, label: Tensor, label_mask: Tensor, present: Tensor, subject: Tensor) -> None:
        """Count the rows of the fit again, for `table`: no checkpoint holds the counts.

        Args:
            logits: as of `fit`, with the others.
            label: as of `fit`.
            label_mask: as of `fit`.
            present: as of `fit`.
            subject: as of `fit`.
        """
        for task in range(len(self.strength)):
            self._count(task, self._estimate(self._rows(task, logits, label, label_mask, present, subject)))

    def _fit(
        self, logits: Tensor, label: Tensor, label_mask: Tensor, present: Tensor, subject: Tensor, cohort: str
    ) -> None:
        self._check(logits, label, label_mask, present, subject)
        for task in range(len(self.strength)):
            self._store(task, self._estimate(self._rows(task, logits, label, label_mask, present, subject)))
        self.fitted_subjects.zero_()
        self.fitted_subjects[subject.to(self.fitted_subjects.device)] = True
        self.fingerprint.fill_(_number(cohort))

    def _rows(
        self, task: int, logits: Tensor, label: Tensor, label_mask: Tensor, present: Tensor, subject: Tensor
    ) -> Rows:
        """The known rows of a task."""
        known = label_mask[:, task]
        place = self._position(present.to(self.pattern.device)).to(known.device)
        columns = (logits[:, task].double(), label[:, task].double(), subject, place)
        return Rows.of(*(column[known].cpu().numpy() for column in columns))

    def forward(self, logits: Tensor, present: Tensor, subject: Tensor, cohort: str) -> Tensor:
        """Shifted logits, (B, T), of other subjects than those of the fit; the same logits until it is fitted.

        Raises:
            ValueError: if a subject is one of those that it was fitted on.
        """
        return logits + self._shifts(present, subject, cohort).to(logits.dtype)

    def rectify(self, logits: Tensor, present: Tensor, subject: Tensor, cohort: str) -> Tensor:
        """Probabilities, (B, T) float64, of other subjects than those of the fit.

        Raises:
            ValueError: if a subject is one of those that it was fitted on.
        """
        return torch.sigmoid(logits.double() + self._shifts(present, subject, cohort))

    def unseen(self, present: Tensor) -> Tensor:
        """(B,) bool, rows with a pattern that the cohort did not have; they get the offset of their count."""
        return self._position(present) < 0

    def table(self, labels: Sequence[int]) -> list[dict[str, Any]]:
        """Of each task: `scale`, `strength`, and by pattern the offset with its interval, counts, where it comes from.

        Args:
            labels: pattern ids, in the order of the table.

        Raises:
            ValueError: when it was read from a checkpoint and not counted since.
        """
        if self.is_fitted and not bool(self.tally.any()):
            raise ValueError("a checkpoint holds no counts; recount the rows of the fit before asking for the table")
        num_tasks = len(self.strength)
        return [
            {
                "scale": "logit",
                "strength": float(self.strength[task]),
                "patterns": {pattern_ids.label(code, self.num_modalities): self._entry(task, code) for code in labels},
            }
            for task in range(num_tasks)
        ]

    def _entry(self, task: int, code: int) -> dict[str, Any]:
        node = int(self._node(pattern_ids.decode(torch.tensor([code]), self.num_modalities).to(self.pattern.device)))
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

    def _shifts(self, present: Tensor, subject: Tensor, cohort: str) -> Tensor:
        """(B, T) float32, strength · offset."""
        self._guard(subject, cohort)
        shifts: Tensor = (self.strength[:, None] * self.offset)[:, self._node(present)].T
        return shifts

    def _guard(self, subject: Tensor, cohort: str) -> None:
        if int(self.fingerprint) != _number(cohort):
            return
        shared = int(self.fitted_subjects[subject].sum())
        if shared:
            raise ValueError(
                f"{shared} of {len(subject)} rows belong to subjects that the rectifier was fitted on; it may only be "
                "applied to others"
            )

    def _check(self, logits: Tensor, label: Tensor, label_mask: Tensor, present: Tensor, subject: Tensor) -> None:
        size, tasks = len(logits), len(self.strength)
        expected = [(size, tasks)] * 3 + [(size, self.num_modalities), (size,)]
        given = [tuple(part.shape) for part in (logits, label, label_mask, present, subject)]
        if given != expected:
            raise ValueError(f"logits, label, label_mask, present, subject have shapes {given}, expected {expected}")
        if not len(subject):
            raise ValueError("the rectifier was given no row")
        if not bool(logits[label_mask].isfinite().all()):
            raise ValueError("the rectifier was given logits that are NaN or infinite")
        if not bool(((label == 0) | (label == 1))[label_mask].all()):
            raise ValueError("the rectifier was given labels that are neither 0 nor 1")
        if int(subject.min()) < 0 or int(subject.max()) >= len(self.fitted_subjects):
            raise ValueError(
                f"the rectifier was given subjects {int(subject.min())} to {int(subject.max())}; the cohort has "
                f"{len(self.fitted_subjects)}"
            )
        if bool(self.unseen(present.to(self.pattern.device)).any()):
            raise ValueError("the rectifier was given rows with patterns that the cohort does not have")

    def _position(self, present: Tensor) -> Tensor:
        """(B,) int64, the position of each row's pattern among those of the cohort; -1 for another."""
        code = pattern_ids.encode(present)
        place = torch.searchsorted(self.pattern, code).clamp(max=len(self.pattern) - 1)
        return torch.where(self.pattern[place] == code, place, -1)

    def _node(self, present: Tensor) -> Tensor:
        """(B,) int64, the column of each row's pattern, or that of its number of modalities."""
        place, count = self._position(present), present.sum(1)
        return torch.where(place >= 0, 1 + self.num_modalities + 1 + place, 1 + count)

    def _estimate(self, rows: Rows) -> Offsets:
        modalities = pattern_ids.decode(self.pattern.cpu(), self.num_modalities).sum(1).numpy()
        minimum = Minimum(rows=self.config.min_rows, class_rows=self.config.min_class_rows)
        return estimate(rows, modalities, self.num_modalities, minimum)

    def _store(self, task: int, found: Offsets) -> None:
        levels = (found.overall, found.count, found.pattern)
        for name in ("offset", "variance", "raw"):
            joined = np.concatenate([getattr(level, name) for level in levels])
            getattr(self, name)[task] = torch.from_numpy(joined).to(getattr(self, name).dtype)
        # Where a level's spread is 0, each node is its parent, however many rows it has.
        own = np.concatenate([level.estimated & (level.spread > 0) for level in levels])
        self.estimated[task] = torch.from_numpy(own)
        self._count(task, found)

    def _count(self, task: int, found: Offsets) -> None:
        for place, name in enumerate(("rows", "positives", "subjects")):
            joined = np.concatenate([getattr(level, name) for level in (found.overall, found.count, found.pattern)])
            self.tally[place, task] = torch.from_numpy(joined)

    def _shift(self, fitted: Rows, shifted: Rows) -> Array:
        """Probabilities (N, S) of rows at each strength of the offsets that other rows give."""
        own: Int = shifted.pattern
        offset = self._estimate(fitted).pattern.offset[own, None] * gate.STRENGTHS
        return np.asarray(expit(shifted.logit[:, None] + offset))


def _number(cohort: str) -> int:
    """A fingerprint as a number that fits a buffer."""
    return int.from_bytes(hashlib.blake2b(cohort.encode(), digest_size=7).digest(), "big")
