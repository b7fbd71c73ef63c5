"""What only a simulator knows: probabilities given everything, and the best that a reader of the files can do."""

from collections.abc import Collection

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from data_modules.simulate.latent import (
    HEALTH,
    LOADINGS,
    MODALITIES,
    READINGS,
    READS,
    TASKS,
    Array,
    Patients,
    World,
    reading_covariance,
)

DRAWS = 400
"""Importance samples a row."""
ROWS_AT_ONCE = 2000
READERS: dict[str, tuple[str, ...]] = {
    "all": MODALITIES,
    "neither": ("radiology_report",),
    "note": ("discharge_note", "radiology_report"),
    "film": ("cxr", "radiology_report"),
}
"""Which modalities an oracle may read; every oracle sees the structured record and what is present."""


def posterior(seen: NDArray[np.int64]) -> tuple[Array, Array]:
    """Health given some readings: the gain matrix (4, len(seen)) and a square root of the covariance (4, 4)."""
    loading = LOADINGS[seen]
    noise = reading_covariance()[np.ix_(seen, seen)]
    gain = loading.T @ np.linalg.inv(loading @ loading.T + noise)
    covariance = np.eye(len(HEALTH)) - gain @ loading
    return gain, np.linalg.cholesky(covariance)


def oracle(world: World, patients: Patients, readable: Collection[str], generator: np.random.Generator) -> Array:
    """P(outcome | readings that are present and readable, presence), (N, 3), by importance sampling.

    Health is drawn from its exact posterior given the readings, worry from its prior, and every draw is weighted by
    the probability of the presence that was seen.
    """
    probability = np.empty((len(patients.worry), len(TASKS)))
    for pattern in np.unique(patients.pattern):
        rows = np.flatnonzero(patients.pattern == pattern)
        ordered = patients.present[rows[0]]
        present = [name for name, there in zip(MODALITIES, ordered, strict=True) if there and name in readable]
        seen = np.array(sorted(reading for name in ("structured", *present) for reading in READS[name]))
        gain, root = posterior(seen)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            mean = patients.readings[part][:, seen] @ gain.T
            health = mean[:, None] + generator.standard_normal((len(part), DRAWS, len(HEALTH))) @ root.T
            worry = generator.standard_normal((len(part), DRAWS))
            probability[part] = _weighted(world, patients, part, health, worry)
    return probability


def _weighted(world: World, patients: Patients, rows: NDArray[np.int64], health: Array, worry: Array) -> Array:
    shape = worry.shape
    seen = np.broadcast_to(patients.readings[rows, None, :3], (*shape, 3))
    year = np.broadcast_to(patients.year_group[rows, None], shape)
    logit = world.order_logit(health[..., 0], worry, seen, year)
    sign = np.where(patients.present[rows], 1.0, -1.0)[:, None]
    log_weight = log_expit(sign * logit).sum(-1)
    weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
    outcome = expit(world.outcome_logit(health, worry, np.broadcast_to(patients.pattern[rows, None], shape)))
    return np.asarray((weight[..., None] * outcome).sum(1) / weight.sum(1)[:, None])


def table(world: World, patients: Patients, keys: pl.DataFrame, generator: np.random.Generator) -> pl.DataFrame:
    """One row per index admission: keys, latent state, readings, propensities, probabilities, oracles, outcomes."""
    logit = world.order_logit(patients.health[:, 0], patients.worry, patients.readings[:, :3], patients.year_group)
    propensity = expit(logit)
    exact = expit(world.outcome_logit(patients.health, patients.worry, patients.pattern))
    effect = world.pattern_effect.T[patients.pattern]
    columns: dict[str, NDArray[np.generic]] = {"worry": patients.worry, "pattern": patients.pattern}
    columns |= {f"health/{name}": patients.health[:, d] for d, name in enumerate(HEALTH)}
    columns |= {f"reading/{name}": patients.readings[:, d] for d, name in enumerate(READINGS)}
    columns |= {f"present/{name}": patients.present[:, m] for m, name in enumerate(MODALITIES)}
    columns |= {f"propensity/{name}": propensity[:, m] for m, name in enumerate(MODALITIES)}
    columns |= {f"outcome/{name}": patients.outcome[:, t] for t, name in enumerate(TASKS)}
    columns |= {f"tau/{name}": effect[:, t] for t, name in enumerate(TASKS)}
    columns |= {f"probability/{name}": exact[:, t] for t, name in enumerate(TASKS)}
    for reader, readable in READERS.items():
        best = oracle(world, patients, readable, generator)
        columns |= {f"oracle_{reader}/{name}": best[:, t] for t, name in enumerate(TASKS)}
    return keys.with_columns(pl.Series("dies", patients.dies), *(pl.Series(name, v) for name, v in columns.items()))
