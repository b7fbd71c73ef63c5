"""The causal model: latent health, readings, orders, outcomes (docs/simulation.md has the graph).

All content of a release about an index admission is a function of its readings and of independent noise. The oracle of
`truth.py` knows the readings, so no reader of the files can do better.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from data_modules.simulate import equations
from data_modules.simulate.config import SimulateConfig

Array = NDArray[np.float64]

HEALTH = ("severity", "structured", "note", "image")
"""Dimensions of latent health h, each standard normal: one that affects all readings, and one per kind of reading."""

# Readings are loadings · h + noise. Two of the three structured readings and the second readings of note and image load
# on severity; their first readings load on dimensions that few others show. The report describes the image, with error.
READINGS = ("structured/0", "structured/1", "structured/2", "note/0", "note/1", "image/0", "image/1", "report/0")
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
"""Standard deviation of each reading's own noise; the report also contains that of the image."""
# Causes of an order: severity and worry (times rho), the structured readings (times gamma).
ORDER_SEVERITY = np.array([0.8, -0.5, 0.7])
ORDER_WORRY = np.array([0.8, -0.6, 0.6])
ORDER_SEEN = np.array([[0.6, 0.2, 0.2], [-0.3, 0.4, 0.0], [0.5, 0.3, 0.1]])

READMISSION_RATE, ICU_RATE, MORTALITY_RATE = 0.20, 0.12, 0.15
"""MIMIC-IV: shares readmitted within 30 days, admitted to an ICU within 90 days, dead within 180 days."""
HOSPITAL_EFFECT = 0.5
"""eICU: standard deviation of the effect of the hospital on ordering, on the logit scale."""
DIAGNOSES_RATE, TEXT_RATE, TREATMENTS_RATE = 0.70, 0.80, 0.75
"""eICU: shares of first unit stays with diagnoses, structured notes and examinations, treatments within a day."""
HOSPITAL_MORTALITY_RATE, UNIT_READMISSION_RATE = 0.10, 0.08
"""eICU: shares that die in hospital, and that are drawn to return to the unit; those who die there do not return."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The parts of the model that differ between databases; health, readings and causes of an order do not.

    Attributes:
        modalities: three that a clinician may order; they show image, note and report of `READINGS`. The structured
            record is always present.
        tasks: outcomes.
        groups: years or hospitals, each with a random effect on ordering.
        group_effect: standard deviation of that effect, or the setting that holds it.
        order_rates: rate of each modality, or the setting that holds it.
        outcome_rates: rate of each outcome.
        outcome_health: (T, 4) coefficients of health on each outcome.
        outcome_worry: (T,) coefficients of worry on each outcome.
        excluded: logit of not reaching the landmark: intercept, and slope on the first structured reading.
    """

    modalities: tuple[str, ...]
    tasks: tuple[str, ...]
    groups: tuple[str, ...]
    group_effect: float | str
    order_rates: tuple[float | str, ...]
    outcome_rates: tuple[float, ...]
    outcome_health: Array
    outcome_worry: Array
    excluded: tuple[float, float]

    @property
    def reads(self) -> dict[str, tuple[int, ...]]:
        """Modality -> positions of the readings that it shows."""
        return {"structured": (0, 1, 2), **dict(zip(self.modalities, ((5, 6), (3, 4), (7,)), strict=True))}


MIMIC = Setting(
    modalities=("cxr", "discharge_note", "radiology_report"),
    tasks=("readmission_30d", "icu_90d", "mortality_180d"),
    groups=("2008 - 2010", "2011 - 2013", "2014 - 2016", "2017 - 2019"),
    group_effect="calendar",
    order_rates=("image_rate", "note_rate", "report_rate"),
    outcome_rates=(READMISSION_RATE, ICU_RATE, MORTALITY_RATE),
    outcome_health=np.array([[0.5, 0.5, 1.0, 0.8], [0.7, 0.4, 0.5, 1.2], [0.9, 0.5, 0.9, 0.9]]),
    outcome_worry=np.array([0.6, 0.5, 0.6]),
    excluded=(-3.2, 0.8),
)
"""Index admissions at discharge; subjects who die in hospital do not reach it."""

EICU = Setting(
    modalities=("diagnoses", "text", "treatments"),
    tasks=("in_hospital_mortality", "icu_readmission"),
    groups=tuple(f"hospital {number}" for number in range(40)),
    group_effect=HOSPITAL_EFFECT,
    order_rates=(DIAGNOSES_RATE, TEXT_RATE, TREATMENTS_RATE),
    outcome_rates=(HOSPITAL_MORTALITY_RATE, UNIT_READMISSION_RATE),
    outcome_health=np.array([[0.9, 0.5, 0.9, 0.9], [0.5, 0.4, 0.6, 0.6]]),
    outcome_worry=np.array([0.6, 0.5]),
    excluded=(-1.0, -0.6),
)
"""First unit stays at 24 h; subjects who leave within a day do not reach it."""

SOLVE_DRAWS = 200_000
SITE_SEED, SLOPE_SEED, PHRASE_SEED = 20251101, 20251102, 20251103
"""Seeds of the other site, of the slopes of the patterns, and of the phrases among the draws of `solve`. They are
constants, so that two worlds of equal settings but `shift` differ in the site alone."""


@dataclass(frozen=True)
class Patients:
    """Index admissions of N subjects.

    Attributes:
        health: (N, 4).
        worry: (N,), unmeasured.
        readings: (N, 8), those of absent modalities included.
        group: (N,) int, position in the setting's groups.
        excluded: (N,) bool, does not reach the landmark.
        present: (N, 3) bool, ordered and stored in time.
        pattern: (N,) int, bits in the order of the setting's modalities.
        outcome: (N, T) bool, by task.
        phrase: (N,) bool, the note has the phrase, whether it is present or not.
        labelled: (N,) bool, the outcomes are recorded.
    """

    health: Array
    worry: Array
    readings: Array
    group: NDArray[np.int64]
    excluded: NDArray[np.bool_]
    present: NDArray[np.bool_]
    pattern: NDArray[np.int64]
    outcome: NDArray[np.bool_]
    phrase: NDArray[np.bool_]
    labelled: NDArray[np.bool_]


@dataclass(frozen=True)
class World:
    """The solved model: all coefficients that depend on the settings.

    Attributes:
        config: the settings.
        setting: the database.
        order_intercept: (3,) a_m, solved for the given rates at every rho and gamma.
        order_hidden: (2, 3) coefficients of severity and worry on each order, before rho.
        order_group: (G, 3) effect of the group.
        outcome_intercept: (T,) by task, solved likewise.
        outcome_health: (T, 4) coefficients of health by task.
        pattern_effect: (T, 8) tau by task and pattern, with mean zero.
        pattern_slope: (8,) factor of severity and structured in the outcome by pattern, with mean one.
    """

    config: SimulateConfig
    setting: Setting
    order_intercept: Array
    order_hidden: Array
    order_group: Array
    outcome_intercept: Array
    outcome_health: Array
    pattern_effect: Array
    pattern_slope: Array

    def order_logit(self, severity: Array, worry: Array, seen: Array, group: NDArray[np.int64]) -> Array:
        """Compute the logit of presence of each modality.

        Args:
            severity: (...,) first dimension of health.
            worry: (...,).
            seen: (..., 3) structured readings.
            group: (...,) int.

        Returns:
            (..., 3).
        """
        hidden = severity[..., None] * self.order_hidden[0] + worry[..., None] * self.order_hidden[1]
        logit = self.config.rho * hidden + self.config.gamma * (seen @ ORDER_SEEN.T)
        return np.asarray(self.order_intercept + logit + self.order_group[group])

    def outcome_logit(
        self, health: Array, worry: Array, pattern: NDArray[np.int64], phrase: NDArray[np.bool_] | None = None
    ) -> Array:
        """Compute the logit of each outcome.

        Args:
            health: (..., 4).
            worry: (...,).
            pattern: (...,) int.
            phrase: (...,) bool, whether the note has the phrase; None = no note has it.

        Returns:
            (..., T).
        """
        config = self.config
        health_part = equations.effect_of_health(
            health, self.pattern_slope[pattern], self.outcome_health, config.nu, config.kappa
        )
        base = health_part + worry[..., None] * self.setting.outcome_worry
        shift = self.pattern_effect.T[pattern] + equations.effect_of_phrase(phrase, config.phi)
        return np.asarray(self.outcome_intercept + base + shift)


def readings_of(health: Array, generator: np.random.Generator) -> Array:
    """Draw readings (N, 8) of health (N, 4); the report contains the noise of the image."""
    noise = generator.standard_normal((len(health), len(READINGS))) * NOISE
    noise[:, 7] += noise[:, 5]
    return np.asarray(health @ LOADINGS.T + noise)


def reading_covariance() -> Array:
    """Compute the covariance of the readings' noise, (8, 8)."""
    covariance = np.diag(NOISE**2)
    covariance[5, 7] = covariance[7, 5] = NOISE[5] ** 2
    covariance[7, 7] += NOISE[5] ** 2
    return covariance


def solve(config: SimulateConfig, setting: Setting = MIMIC) -> World:
    """Solve the intercepts for the given rates among subjects who reach the landmark."""
    generator = np.random.default_rng(20250917)
    site, slopes, phrases = (np.random.default_rng(seed) for seed in (SITE_SEED, SLOPE_SEED, PHRASE_SEED))
    num_modalities, num_tasks, num_groups = len(setting.modalities), len(setting.tasks), len(setting.groups)
    effects = generator.standard_normal((num_tasks, 2**num_modalities))
    effects -= effects.mean(1, keepdims=True)
    effects *= config.tau / effects.std(1, keepdims=True)
    groups = generator.standard_normal((num_groups, num_modalities))
    groups -= groups.mean(0)
    groups *= value_of(config, setting.group_effect) / groups.std(0)
    order_shift = site.standard_normal((2, num_modalities))
    effects += config.shift * equations.standardised(site.standard_normal(effects.shape))
    unsolved = World(
        config,
        setting,
        order_intercept=np.zeros(num_modalities),
        order_hidden=np.array([ORDER_SEVERITY, ORDER_WORRY]) * np.exp(0.5 * config.shift * order_shift),
        order_group=groups,
        outcome_intercept=np.zeros(num_tasks),
        outcome_health=equations.towards_severity(setting.outcome_health, config.shared),
        pattern_effect=effects,
        pattern_slope=1 + config.pi * equations.standardised(slopes.standard_normal(2**num_modalities)),
    )
    health = generator.standard_normal((SOLVE_DRAWS, len(HEALTH)))
    worry = generator.standard_normal(SOLVE_DRAWS)
    readings = readings_of(health, generator)
    group = generator.integers(num_groups, size=SOLVE_DRAWS)
    reaches = 1 - equations.exclusion(readings, *setting.excluded)
    logits = unsolved.order_logit(health[:, 0], worry, readings[:, :3], group)
    order = np.array(
        [
            equations.intercept(logits[:, m], reaches, value_of(config, rate))
            for m, rate in enumerate(setting.order_rates)
        ]
    )
    present = generator.random(logits.shape) < expit(order + logits)
    phrase = equations.draw_phrases(SOLVE_DRAWS, config.phi, phrases)
    outcome_logits = unsolved.outcome_logit(health, worry, equations.encode(present), phrase)
    outcome = np.array(
        [equations.intercept(outcome_logits[:, t], reaches, rate) for t, rate in enumerate(setting.outcome_rates)]
    )
    return replace(unsolved, order_intercept=order, outcome_intercept=outcome)


def value_of(config: SimulateConfig, given: float | str) -> float:
    """Return a number itself, or the value of the setting with that name."""
    return float(getattr(config, given)) if isinstance(given, str) else given


def draw(world: World, count: int, generator: np.random.Generator) -> Patients:
    """Draw index stays of `count` subjects; what settings add has generators of its own."""
    phrases, labels = generator.spawn(2)
    config = world.config
    health = generator.standard_normal((count, len(HEALTH)))
    worry = generator.standard_normal(count)
    readings = readings_of(health, generator)
    group = generator.integers(len(world.setting.groups), size=count)
    excluded = generator.random(count) < equations.exclusion(readings, *world.setting.excluded)
    logit = world.order_logit(health[:, 0], worry, readings[:, :3], group)
    present = generator.random(logit.shape) < expit(logit)
    pattern = equations.encode(present)
    phrase = equations.draw_phrases(count, config.phi, phrases)
    probability = expit(world.outcome_logit(health, worry, pattern, phrase))
    outcome = generator.random(probability.shape) < probability
    labelled = labels.random(count) < config.label_share if config.label_share < 1 else np.ones(count, dtype=np.bool_)
    return Patients(health, worry, readings, group, excluded, present, pattern, outcome, phrase, labelled)


def drift(patients: Patients, generator: np.random.Generator) -> Patients:
    """Move the same subjects to a later stay: health moves half-way to a new draw; no label depends on it."""
    fresh = generator.standard_normal(patients.health.shape)
    health = np.sqrt(0.5) * patients.health + np.sqrt(0.5) * fresh
    return replace(patients, health=health, readings=readings_of(health, generator))
