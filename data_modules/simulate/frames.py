"""Shared parts of the writers of all databases: declared frames, repeated events, measured values."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.raw.schema import Table
from data_modules.simulate.latent import Array

Int = NDArray[np.int64]
Shape = tuple[float, float, Array, Array]
"""Mean, standard deviation, and the loadings on the three structured readings and on the three disturbances."""


def frame(declared: Table, columns: Mapping[str, Any]) -> pl.DataFrame:
    """Build a frame with every declared column in order; missing columns are null, times may be seconds (-1 = null)."""
    assert not set(columns) - set(declared.columns), set(columns) - set(declared.columns)
    height = max(len(values) for values in columns.values())
    series = []
    for column, dtype in declared.columns.items():
        values = columns.get(column)
        if values is None:
            series.append(pl.repeat(None, height, dtype=dtype, eager=True).alias(column))
        elif dtype.is_temporal():
            seconds = pl.Series(column, values, dtype=pl.Int64).to_frame()
            moment = pl.from_epoch(pl.when(pl.col(column) >= 0).then(column), time_unit="s").cast(dtype)
            series.append(seconds.select(moment.alias(column)).to_series())
        else:
            series.append(pl.Series(column, values).cast(dtype))
    return pl.DataFrame(series)


def repeat(counts: Int) -> tuple[Int, Int]:
    """Enumerate the events of owners that have `counts` events each.

    Args:
        counts: (N,) int64.

    Returns:
        Owner of each event and its number among the owner's events, from 0.

    >>> [part.tolist() for part in repeat(np.array([2, 1]))]
    [[0, 0, 1], [0, 1, 0]]
    """
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)


def disturbances(count: int, nuisance: float, generator: np.random.Generator) -> Array:
    """Draw what moves the labs and vitals of each of `count` admissions and says nothing of them, (count, 3)."""
    return 0.5 * nuisance * generator.standard_normal((count, 3)) if nuisance > 0 else np.zeros((count, 3))


def measure(
    shapes: Mapping[str, Shape], quantity: Int, readings: Array, disturbance: Array, generator: np.random.Generator
) -> Array:
    """Simulate measured values.

    Args:
        shapes: the quantities.
        quantity: (E,) position in `shapes` of each event.
        readings: (E, 8) of its stay.
        disturbance: (E, 3) of its stay, from `disturbances`.
        generator: of the noise of each value.

    Returns:
        (E,) in the unit of the quantity.
    """
    mean, spread, loading, disturbed = (
        np.array([shape[part] for shape in shapes.values()])[quantity] for part in range(4)
    )
    shift = (loading * readings[:, :3]).sum(1) + 0.5 * generator.standard_normal(len(quantity))
    return np.asarray(mean + spread * (shift + (disturbed * disturbance).sum(1)))


Tables = dict[str, pl.DataFrame]
