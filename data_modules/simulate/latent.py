"""The causal model: latent health, readings, what clinicians order, outcomes (docs/simulation.md has the graph).

Everything that a file of the release says of an index admission is a function of its readings and of noise that is
independent of all else, so the oracle of `truth.py`, which knows the readings, bounds every reader of the files.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from data_modules.simulate.config import SimulateConfig

Array = NDArray[np.float64]

HEALTH = ("severity", "structured", "note", "film")
"""Dimensions of latent health h, each standard normal: one that everything shows, and one for each kind of reading."""
MODALITIES = ("cxr", "discharge_note", "radiology_report")
"""What a clinician may or may not order; the structured record is always there."""
TASKS = ("readmission_30d", "icu_90d", "mortality_180d")
YEAR_GROUPS = ("2008 - 2010", "2011 - 2013", "2014 - 2016", "2017 - 2019")

# Readings are loadings · h + noise. The two readings of the structured record and the second ones of note and film see
# severity; the first ones of note and film see what nothing else shows. The report describes the film, with error.
READINGS = ("structured/0", "structured/1", "structured/2", "note/0", "note/1", "film/0", "film/1", "report/0")
LOADINGS = np.array(
    [
        [1.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, 0.0],
        [0.7, 0.7, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
        [0.6, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
        [0.6, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
NOISE = np.array([0.8, 0.5, 0.7, 0.4, 0.8, 0.4, 0.8, 1.0])
"""Standard deviation of each reading's own noise; the report carries the film's as well."""
READS = {"structured": (0, 1, 2), "discharge_note": (3, 4), "cxr": (5, 6), "radiology_report": (7,)}
"""Modality -> the readings that it shows."""

# What drives an order: severity and worry (times rho), the structured readings (times gamma).
ORDER_SEVERITY = np.array([0.8, -0.5, 0.7])
ORDER_WORRY = np.array([0.8, -0.6, 0.6])
ORDER_SEEN = np.array([[0.6, 0.2, 0.2], [-0.3, 0.4, 0.0], [0.5, 0.3, 0.1]])
# What drives an outcome, by task: health, worry.
OUTCOME_HEALTH = np.array([[0.5, 0.5, 1.0, 0.8], [0.7, 0.4, 0.5, 1.2], [0.9, 0.5, 0.9, 0.9]])
OUTCOME_WORRY = np.array([0.6, 0.5, 0.6])
DEATH_IN_HOSPITAL = (-3.2, 0.8)
"""Intercept and slope on the first structured reading of dying during the index admission."""

SOLVE_DRAWS = 200_000


@dataclass(frozen=True)
class Patients:
    """Index admissions of N subjects.

    Attributes:
        health: (N, 4).
        worry: (N,), unmeasured.
        readings: (N, 8), also of what was never ordered.
        year_group: (N,) int, position in `YEAR_GROUPS`.
        dies: (N,) bool, during the index admission.
        present: (N, 3) bool, what was ordered and stored in time.
        pattern: (N,) int, bits in the order of `MODALITIES`.
        outcome: (N, 3) bool, by task.
    """

    health: Array
    worry: Array
    readings: Array
    year_group: NDArray[np.int64]
    dies: NDArray[np.bool_]
    present: NDArray[np.bool_]
    pattern: NDArray[np.int64]
    outcome: NDArray[np.bool_]


@dataclass(frozen=True)
class World:
    """The solved model: every coefficient that depends on the knobs.

    Attributes:
        config: the knobs.
        order_intercept: (3,) a_m, solved so that the rates are those asked for, whatever rho and gamma.
        order_year: (4, 3) effect of the year group.
        outcome_intercept: (3,) by task, solved likewise.
        pattern_effect: (3, 8) tau by task and pattern, of mean zero.
    """

    config: SimulateConfig
    order_intercept: Array
    order_year: Array
    outcome_intercept: Array
    pattern_effect: Array

    def order_logit(self, severity: Array, worry: Array, seen: Array, year_group: NDArray[np.int64]) -> Array:
        """Logit of each modality's being present, (..., 3).

        Args:
            severity: (...,) first dimension of health.
            worry: (...,).
            seen: (..., 3) structured readings.
            year_group: (...,) int.
        """
        hidden = severity[..., None] * ORDER_SEVERITY + worry[..., None] * ORDER_WORRY
        logit = self.config.rho * hidden + self.config.gamma * (seen @ ORDER_SEEN.T)
        return np.asarray(self.order_intercept + logit + self.order_year[year_group])

    def outcome_logit(self, health: Array, worry: Array, pattern: NDArray[np.int64]) -> Array:
        """Logit of each outcome, (..., 3), from health (..., 4), worry (...,) and pattern (...,)."""
        base = health @ OUTCOME_HEALTH.T + worry[..., None] * OUTCOME_WORRY
        return np.asarray(self.outcome_intercept + base + self.pattern_effect.T[pattern])


def readings_of(health: Array, generator: np.random.Generator) -> Array:
    """Readings of health (N, 4) -> (N, 8); the report's first noise is the film's."""
    noise = generator.standard_normal((len(health), len(READINGS))) * NOISE
    noise[:, 7] += noise[:, 5]
    return np.asarray(health @ LOADINGS.T + noise)


def reading_covariance() -> Array:
    """Covariance of the readings' noise, (8, 8)."""
    covariance = np.diag(NOISE**2)
    covariance[5, 7] = covariance[7, 5] = NOISE[5] ** 2
    covariance[7, 7] += NOISE[5] ** 2
    return covariance


def death_probability(readings: Array) -> Array:
    """P(dies during the index admission | readings), (N,)."""
    intercept, slope = DEATH_IN_HOSPITAL
    return np.asarray(expit(intercept + slope * readings[:, 0]))


def encode(present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pattern of presence (N, 3), first modality = lowest digit."""
    return np.asarray(present @ np.array([1, 2, 4]), dtype=np.int64)


def solve(config: SimulateConfig) -> World:
    """Solve the intercepts for the rates that are asked for, among those who leave the hospital alive."""
    generator = np.random.default_rng(20250917)
    effects = generator.standard_normal((len(TASKS), 2 ** len(MODALITIES)))
    effects -= effects.mean(1, keepdims=True)
    years = generator.standard_normal((len(YEAR_GROUPS), len(MODALITIES)))
    years -= years.mean(0)
    unsolved = World(
        config, np.zeros(3), config.calendar * years, np.zeros(3), config.tau * effects / effects.std(1, keepdims=True)
    )
    health = generator.standard_normal((SOLVE_DRAWS, len(HEALTH)))
    worry = generator.standard_normal(SOLVE_DRAWS)
    readings = readings_of(health, generator)
    year = generator.integers(len(YEAR_GROUPS), size=SOLVE_DRAWS)
    alive = 1 - death_probability(readings)
    logits = unsolved.order_logit(health[:, 0], worry, readings[:, :3], year)
    rates = (config.film_rate, config.note_rate, config.report_rate)
    order = np.array([_intercept(logits[:, m], alive, rate) for m, rate in enumerate(rates)])
    present = generator.random(logits.shape) < expit(order + logits)
    outcome_logits = unsolved.outcome_logit(health, worry, encode(present))
    asked = (config.readmission_rate, config.icu_rate, config.mortality_rate)
    outcome = np.array([_intercept(outcome_logits[:, t], alive, rate) for t, rate in enumerate(asked)])
    return World(config, order, unsolved.order_year, outcome, unsolved.pattern_effect)


def _intercept(logit: Array, weight: Array, rate: float) -> float:
    """The intercept that makes the weighted mean probability equal the rate."""
    return float(brentq(lambda shift: np.average(expit(shift + logit), weights=weight) - rate, -30, 30, xtol=1e-6))


def draw(world: World, count: int, generator: np.random.Generator) -> Patients:
    """Draw index admissions of `count` subjects."""
    health = generator.standard_normal((count, len(HEALTH)))
    worry = generator.standard_normal(count)
    readings = readings_of(health, generator)
    year = generator.integers(len(YEAR_GROUPS), size=count)
    dies = generator.random(count) < death_probability(readings)
    logit = world.order_logit(health[:, 0], worry, readings[:, :3], year)
    present = generator.random(logit.shape) < expit(logit)
    pattern = encode(present)
    probability = expit(world.outcome_logit(health, worry, pattern))
    outcome = generator.random(probability.shape) < probability
    return Patients(health, worry, readings, year, dies, present, pattern, outcome)


def drift(patients: Patients, generator: np.random.Generator) -> Patients:
    """The same people at a later admission: health moves half-way to a fresh draw; nothing of it enters a label."""
    fresh = generator.standard_normal(patients.health.shape)
    health = np.sqrt(0.5) * patients.health + np.sqrt(0.5) * fresh
    return Patients(
        health,
        patients.worry,
        readings_of(health, generator),
        patients.year_group,
        np.zeros_like(patients.dies),
        patients.present,
        patients.pattern,
        patients.outcome,
    )
