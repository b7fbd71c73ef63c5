"""Ground truth of a release: probabilities given the full state, and the optimum for readers of the files."""

from collections.abc import Collection

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from data_modules.simulate.equations import PHRASE_RATE
from data_modules.simulate.latent import (
    HEALTH,
    LOADINGS,
    READINGS,
    Array,
    Patients,
    World,
    reading_covariance,
)

DRAWS = 400
"""Importance samples per row."""
ROWS_AT_ONCE = 2000
READERS = {"all": (0, 1, 2), "neither": (2,), "note": (1, 2), "image": (0, 2)}
"""Reader -> positions of the modalities that it may read; every reader knows the structured record and presence. The
names are those of MIMIC-IV: in eICU the text takes the place of the note, and diagnoses that of the image."""
NOTE = 1
"""Position of the modality that has the phrase."""


Phrase = NDArray[np.bool_] | None


def posterior(seen: NDArray[np.int64]) -> tuple[Array, Array]:
    """Compute the posterior of health given some readings: gain (4, len(seen)) and root of the covariance (4, 4)."""
    loading = LOADINGS[seen]
    noise = reading_covariance()[np.ix_(seen, seen)]
    gain = loading.T @ np.linalg.inv(loading @ loading.T + noise)
    covariance = np.eye(len(HEALTH)) - gain @ loading
    return gain, np.linalg.cholesky(covariance)


def oracle(world: World, patients: Patients, readable: Collection[int], generator: np.random.Generator) -> Array:
    """Estimate P(outcome | present and readable readings, presence) by importance sampling.

    Health is drawn from its exact posterior given the readings, worry from its prior. Each draw is weighted by the
    probability of the observed presence. The phrase is known where the note is read; elsewhere the probability is
    averaged over it, as it depends on nothing else.

    Args:
        world: the model.
        patients: N subjects.
        readable: positions of the modalities that may be read.
        generator: of the draws.

    Returns:
        (N, T) float64.
    """
    setting = world.setting
    probability = np.empty((len(patients.worry), len(setting.tasks)))
    for pattern in np.unique(patients.pattern):
        rows = np.flatnonzero(patients.pattern == pattern)
        ordered = patients.present[rows[0]]
        shown = ["structured", *(setting.modalities[m] for m in readable if ordered[m])]
        seen = np.array(sorted(reading for name in shown for reading in setting.reads[name]))
        gain, root = posterior(seen)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            mean = patients.readings[part][:, seen] @ gain.T
            health = mean[:, None] + generator.standard_normal((len(part), DRAWS, len(HEALTH))) @ root.T
            worry = generator.standard_normal((len(part), DRAWS))
            phrase = patients.phrase[part, None] if ordered[NOTE] and NOTE in readable else None
            probability[part] = _weighted(world, patients, part, health, worry, phrase)
    return probability


def _weighted(
    world: World, patients: Patients, rows: NDArray[np.int64], health: Array, worry: Array, phrase: Phrase
) -> Array:
    shape = worry.shape
    seen = np.broadcast_to(patients.readings[rows, None, :3], (*shape, 3))
    group = np.broadcast_to(patients.group[rows, None], shape)
    logit = world.order_logit(health[..., 0], worry, seen, group)
    sign = np.where(patients.present[rows], 1.0, -1.0)[:, None]
    log_weight = log_expit(sign * logit).sum(-1)
    weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
    outcome = _probability(world, health, worry, np.broadcast_to(patients.pattern[rows, None], shape), phrase)
    return np.asarray((weight[..., None] * outcome).sum(1) / weight.sum(1)[:, None])


def _probability(world: World, health: Array, worry: Array, pattern: NDArray[np.int64], phrase: Phrase) -> Array:
    """P(outcome | health, worry, pattern, phrase), averaged over the phrase where it is None = unknown."""
    if phrase is not None or world.config.phi == 0:
        return np.asarray(expit(world.outcome_logit(health, worry, pattern, phrase)))
    without, has = (
        expit(world.outcome_logit(health, worry, pattern, np.full(worry.shape, value))) for value in (False, True)
    )
    return np.asarray((1 - PHRASE_RATE) * without + PHRASE_RATE * has)


def table(world: World, patients: Patients, keys: pl.DataFrame, generator: np.random.Generator) -> pl.DataFrame:
    """Tabulate each index admission: keys, latent state, readings, propensities, probabilities, oracles, outcomes."""
    logit = world.order_logit(patients.health[:, 0], patients.worry, patients.readings[:, :3], patients.group)
    propensity = expit(logit)
    exact = expit(world.outcome_logit(patients.health, patients.worry, patients.pattern, patients.phrase))
    effect = world.pattern_effect.T[patients.pattern]
    columns: dict[str, NDArray[np.generic]] = {
        "group": np.array(world.setting.groups)[patients.group],
        "worry": patients.worry,
        "pattern": patients.pattern,
    }
    columns |= {f"health/{name}": patients.health[:, d] for d, name in enumerate(HEALTH)}
    columns |= {f"reading/{name}": patients.readings[:, d] for d, name in enumerate(READINGS)}
    columns |= {f"present/{name}": patients.present[:, m] for m, name in enumerate(world.setting.modalities)}
    columns |= {f"propensity/{name}": propensity[:, m] for m, name in enumerate(world.setting.modalities)}
    columns |= {f"outcome/{name}": patients.outcome[:, t] for t, name in enumerate(world.setting.tasks)}
    columns |= {f"tau/{name}": effect[:, t] for t, name in enumerate(world.setting.tasks)}
    columns |= {f"probability/{name}": exact[:, t] for t, name in enumerate(world.setting.tasks)}
    columns |= {"phrase": patients.phrase} if world.config.phi > 0 else {}
    columns |= {"labelled": patients.labelled} if world.config.label_share < 1 else {}
    for reader, readable in READERS.items():
        best = oracle(world, patients, readable, generator)
        columns |= {f"oracle_{reader}/{name}": best[:, t] for t, name in enumerate(world.setting.tasks)}
    return keys.with_columns(
        pl.Series("excluded", patients.excluded), *(pl.Series(name, v) for name, v in columns.items())
    )
