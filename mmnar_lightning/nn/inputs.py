"""Fixed maps from a modality's vector to the columns that models read; nothing in them is trained."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

OUTSIDE = 1.0
"""A value outside of the train values extends the first or the last bin by at most its own width."""


class Projection(nn.Module):
    """Project vectors on principal axes.

    Args:
        axes: (width, K) float.
    """

    axes: Tensor

    def __init__(self, axes: Tensor) -> None:
        super().__init__()
        self.register_buffer("axes", axes)
        self.width = int(axes.shape[1])

    def forward(self, values: Tensor) -> Tensor:
        """(B, width) float -> (B, K) float."""
        return values @ self.axes


class PiecewiseLinear(nn.Module):
    """Piecewise-linear encoding of a table (Gorishniy, Rubachev and Babenko, NeurIPS 2022, equation 1).

    A column with the edges b_0 < ... < b_T becomes T columns: (x - b_{t-1}) / (b_t - b_{t-1}), which is cut at 0 in
    every bin but the first and at 1 in every bin but the last; those two extend beyond the edges by `OUTSIDE`. A value
    that was not measured (NaN) is 0 in all of them and 1 in a column of its own, if any train value is missing.

    Args:
        edges: of each of C columns, ascending and distinct; a column with fewer than two has no bins.
        missing: (C,) bool, columns with a flag.
        mean: (C,) float, train mean of each column, by which `straight` standardises; None as in models that were
            stored before there was one: 0, and a scale of 1.
        scale: (C,) float, its train standard deviation.

    >>> encode = PiecewiseLinear([torch.tensor([0.0, 1.0, 3.0])], torch.tensor([True]))
    >>> encode(torch.tensor([[0.5], [2.0], [float("nan")]]))
    tensor([[0.5000, 0.0000, 0.0000],
            [1.0000, 0.5000, 0.0000],
            [0.0000, 0.0000, 1.0000]])
    >>> mean, scale = torch.tensor([1.0]), torch.tensor([2.0])
    >>> encode = PiecewiseLinear([torch.tensor([0.0, 1.0, 3.0])], torch.tensor([True]), mean, scale)
    >>> encode.straight(torch.tensor([[0.5], [20.0], [float("nan")]]))
    tensor([[-0.2500],
            [ 2.0000],
            [ 0.0000]])
    """

    column: Tensor
    start: Tensor
    size: Tensor
    low: Tensor
    high: Tensor
    flagged: Tensor
    first: Tensor
    last: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        edges: Sequence[Tensor],
        missing: Tensor,
        mean: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> None:
        super().__init__()
        counts = torch.tensor([max(len(own) - 1, 0) for own in edges])
        start = torch.cat([own[:-1] for own in edges])
        end = torch.cat([own[1:] for own in edges])
        last = counts.cumsum(0)[counts > 0] - 1
        low, high = torch.zeros_like(start), torch.ones_like(start)
        first = last - counts[counts > 0] + 1
        low[first], high[last] = -OUTSIDE, 1 + OUTSIDE
        self.register_buffer("column", torch.repeat_interleave(torch.arange(len(edges)), counts))
        self.register_buffer("start", start)
        self.register_buffer("size", end - start)
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        self.register_buffer("flagged", missing.nonzero().squeeze(1))
        for name, bins in (("first", first), ("last", last)):
            self.register_buffer(name, bins, persistent=False)
        binned = counts > 0
        for name, own, usual in (("mean", mean, torch.zeros_like), ("scale", scale, torch.ones_like)):
            known = usual(counts, dtype=start.dtype) if own is None else own.to(start.dtype)
            self.register_buffer(name, known[binned], persistent=own is not None)
        self.width = len(start) + len(self.flagged)

    @classmethod
    def restored(cls, state: Mapping[str, Tensor], num_columns: int) -> "PiecewiseLinear":
        """Build the encoding that has a state dict.

        Args:
            state: of another encoding.
            num_columns: C.

        Returns:
            An encoding of the same shape; its edges are those of the state but for rounding.

        >>> edges = [torch.tensor([0.0, 1.0, 3.0]), torch.zeros(0)]
        >>> state = PiecewiseLinear(edges, torch.tensor([True, False])).state_dict()
        >>> PiecewiseLinear.restored(state, 2).size
        tensor([1., 2.])
        """
        bins = [state["column"] == number for number in range(num_columns)]
        edges = [torch.cat([state["start"][own], (state["start"][own] + state["size"][own])[-1:]]) for own in bins]
        missing = torch.zeros(num_columns, dtype=torch.bool)
        missing[state["flagged"]] = True
        if "mean" not in state:
            return cls(edges, missing)
        own = torch.tensor([bool(bin_.any()) for bin_ in bins])
        mean, scale = (torch.zeros(num_columns).masked_scatter(own, state[name].float()) for name in ("mean", "scale"))
        return cls(edges, missing, mean, scale)

    def forward(self, values: Tensor) -> Tensor:
        """(B, C) float, NaN = not measured -> (B, `width`) float, finite."""
        place = (values[:, self.column] - self.start) / self.size
        binned = torch.minimum(torch.maximum(place, self.low), self.high).nan_to_num(0.0)
        return torch.cat([binned, values[:, self.flagged].isnan().to(values.dtype)], dim=1)

    @property
    def num_bins(self) -> int:
        """Number of bins, which come before the flags."""
        return len(self.start)

    @property
    def num_straight(self) -> int:
        """Number of columns that have bins."""
        return len(self.first)

    def straight(self, values: Tensor) -> Tensor:
        """The columns that have bins, cut where the encoding ends and standardised; the train mean if not measured.

        Args:
            values: (B, C) float, as they are stored, NaN = not measured.

        Returns:
            (B, `num_straight`) float, finite.
        """
        low = self.start[self.first] + self.low[self.first] * self.size[self.first]
        high = self.start[self.last] + self.high[self.last] * self.size[self.last]
        own = values[:, self.column[self.first]]
        cut = torch.minimum(torch.maximum(own, low), high)
        return ((cut - self.mean) / self.scale).nan_to_num(0.0)


InputMap = Projection | PiecewiseLinear
InputMaps = Mapping[str, InputMap]
"""Modality -> the map of its vector; a modality without one is read as it is."""


def mapped_width(name: str, width: int, maps: InputMaps) -> int:
    """Number of columns of a modality after its map."""
    return maps[name].width if name in maps else width
