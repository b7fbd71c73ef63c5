"""Canonical axes: the directions of each array modality that the other ones predict best, without any label."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from data_modules import patterns
from data_modules.errors import UserError

TINY = 1e-10
"""Smallest variance of a column that is read, relative to its mean square: those of constants cancel to as much."""
MAX_COLUMNS = 4096
"""Most columns of all modalities together: their products are in memory once for each modality."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums over the rows that have a modality.

    Attributes:
        count: rows.
        total: (F,) float64, of the columns of all modalities, zero where absent, and of presence.
        product: (F, F) float64, of pairs of columns.
    """

    count: int
    total: Tensor
    product: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> "Moments":
        """Sum rows, (n, F) float64."""
        return cls(count=len(rows), total=rows.sum(0), product=rows.T @ rows)

    def __add__(self, other: "Moments") -> "Moments":
        """The sums over the rows of both."""
        return Moments(
            count=self.count + other.count, total=self.total + other.total, product=self.product + other.product
        )

    @property
    def covariance(self) -> Tensor:
        """(F, F) float64."""
        mean = self.total / self.count
        return self.product / self.count - mean[:, None] * mean


def canonical_axes(batches: Iterable[tuple[Sequence[Tensor], Tensor]], count: int) -> list[Tensor]:
    """Find the axes of each modality that a linear model of the others, and of their presence, predicts best.

    These are the canonical axes of a modality and all others (Hotelling 1936), over the rows that have the modality. A
    modality of w columns and n rows is whitened with a ridge of w / n times its mean variance, and so are the others,
    all of whose columns are standardised. An axis is scaled by its canonical correlation, so that one penalty shrinks
    what the others do not predict: where each modality alone would suffice to predict an outcome, the outcome lies on
    the axes that are predicted well (Kakade and Foster 2007).

    Args:
        batches: of each, the columns of all M modalities, (B, width) float, zero where absent; and (B, M) bool, their
            presence. Labels are not needed.
        count: K, at least 1.

    Returns:
        For each modality, (width, min(K, width)) float32, axes with the best predicted first; zero without rows, or
        where the others predict nothing. Each has the sign of its largest weight.

    Raises:
        UserError: if there are more columns than `MAX_COLUMNS`.

    >>> shared = torch.arange(4.0)
    >>> one, two = torch.stack([shared, shared.flip(0) ** 2 % 3], 1), shared[:, None] - 1
    >>> canonical_axes([([one, two], torch.ones(4, 2, dtype=torch.bool))], 1)[0].argmax().item()
    0
    """
    sums: list[Moments] = []
    widths: list[int] = []
    for columns, present in batches:
        rows = torch.cat([*columns, present.to(columns[0])], dim=1).double()
        if not sums:
            if rows.shape[1] > MAX_COLUMNS:
                raise UserError(
                    f"model.additive.canonical: the modalities have {rows.shape[1]} columns together, more than "
                    f"{MAX_COLUMNS}; set model.encoder.components, which wide vectors are reduced to, or "
                    "model.additive.canonical=0"
                )
            widths = [own.shape[1] for own in columns]
            sums = [Moments.of(rows[:0]) for _ in widths]
        own_pattern = patterns.encode(present)
        for pattern in torch.unique(own_pattern):  # the product of a row is computed once, whatever it has
            chosen = own_pattern == pattern
            own = Moments.of(rows[chosen])
            sums = [total + own if has else total for total, has in zip(sums, present[chosen][0].tolist(), strict=True)]
    starts = torch.tensor([0, *widths]).cumsum(0).tolist()
    return [
        _axes(moments, range(start, start + width), min(count, width)).float()
        for moments, start, width in zip(sums, starts[:-1], widths, strict=True)
    ]


def _axes(moments: Moments, own: range, count: int) -> Tensor:
    """The axes of the columns `own` by all others that vary among the rows, (len(own), count) float64."""
    width = len(own)
    nothing = moments.total.new_zeros(width, count)
    if moments.count < 2:  # one row does not vary
        return nothing
    covariance = moments.covariance
    deviation = covariance.diagonal().clamp_min(0).sqrt()
    varies = covariance.diagonal() > TINY * moments.product.diagonal() / moments.count
    others = [place for place in varies.nonzero().ravel().tolist() if place not in own]
    mine = slice(own.start, own.stop)
    if not others or not bool(varies[mine].any()):
        return nothing
    scale = 1 / deviation[others]
    among = covariance[others][:, others] * scale[:, None] * scale
    among.diagonal().add_(len(others) / moments.count)
    white = _inverse_root(covariance[mine, mine], width / moments.count)
    between = white @ (covariance[mine][:, others] * scale)
    square, vector = torch.linalg.eigh(between @ torch.linalg.solve(among, between.T))
    correlation = square.flip(0)[:count].clamp_min(0).sqrt()
    found = white @ vector.flip(1)[:, :count] * correlation
    largest = found.gather(0, found.abs().argmax(0, keepdim=True))
    return torch.where(largest < 0, -found, found)


def _inverse_root(covariance: Tensor, ridge: float) -> Tensor:
    """The symmetric inverse root of a covariance with a ridge, in units of the mean variance."""
    value, vector = torch.linalg.eigh(covariance)
    value = value.clamp_min(0) + ridge * covariance.diagonal().mean()
    root: Tensor = vector * value.rsqrt() @ vector.T
    return root
