"""Times of the index admission and of the later admissions that its outcomes require."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.equations import draw_phrases
from data_modules.simulate.frames import disturbances
from data_modules.simulate.latent import Array, Patients, drift, readings_of

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

HOUR, DAY = 3600, 86_400
GRACE_DAYS = 4
"""Earliest day of an outcome, so that none falls within the grace of a discharge note."""
OVERLAP_SHARE = 0.01
"""Share of subjects whose second admission begins before the index ends: a transfer, not a readmission."""


@dataclass(frozen=True)
class Admissions:
    """Admissions of a chunk of subjects, in order of subject and time; all times are seconds since 1970.

    Attributes:
        person: (A,) position of the subject in the chunk.
        number: (A,) 0 = index, then 1, 2, ...
        arrives: (A,) in the emergency department; the admittime without one.
        begins: (A,)
        ends: (A,)
        dies: (A,) bool, during the admission.
        icu: (A,) bool.
        readings: (A, 8) of the admission's own health.
        phrase: (A,) bool, in the admission's own note.
        disturbance: (A, 3) of its labs and vitals.
    """

    person: Int
    number: Int
    arrives: Int
    begins: Int
    ends: Int
    dies: Bool
    icu: Bool
    readings: Array
    phrase: Bool
    disturbance: Array


@dataclass(frozen=True)
class Timeline:
    """Admissions of a chunk, and the date of death of each subject (seconds; -1 = alive for a year)."""

    admissions: Admissions
    death: Int


def without_labels(patients: Patients) -> Patients:
    """Let subjects without labels die in the index admission, so that it is no row at discharge."""
    return replace(patients, excluded=patients.excluded | ~patients.labelled)


def draw(patients: Patients, config: SimulateConfig, generator: np.random.Generator) -> Timeline:
    """Draw times given outcomes; outcomes are stored as events only, for the cohort builder to find."""
    phrases, moved = generator.spawn(2)
    count = len(patients.worry)
    begins = _first_day(count, generator) + generator.integers(0, DAY // 60, count) * 60
    days = np.clip(np.exp(1.3 + 0.25 * patients.readings[:, 0] + 0.4 * generator.standard_normal(count)), 1, 30)
    ends = begins + (days * DAY // 60).astype(np.int64) * 60
    icu = generator.random(count) < expit(-0.6 + 0.7 * patients.readings[:, 1])
    index = _admissions(np.arange(count), 0, begins, ends, patients.excluded, icu, patients.readings, generator)
    last = ends // DAY * DAY
    death_days = _death_days(patients, generator)
    death = np.where(patients.excluded, last, np.where(death_days > 0, last + death_days * DAY, -1))
    later = _later(patients, index, death_days, generator)
    overlapping = _overlapping(patients, index, later, generator)
    parts = [part for part in (index, later, overlapping) if len(part.person)]
    joined = Admissions(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(index)))
    order = np.lexsort((joined.begins, joined.person))
    admissions = Admissions(*(getattr(joined, name)[order] for name in vars(joined)))
    own = draw_phrases(len(order), config.phi, phrases)
    admissions = replace(
        admissions,
        phrase=np.where(admissions.number == 0, patients.phrase[admissions.person], own),
        disturbance=disturbances(len(order), config.nuisance, moved),
    )
    return Timeline(admissions, death)


def _first_day(count: int, generator: np.random.Generator) -> Int:
    """Draw a day in a random year of the future, one per subject."""
    year = generator.integers(2110, 2190, count)
    start = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    return np.asarray((start + generator.integers(0, 360, count)) * DAY)


def _admissions(
    person: Int,
    number: int,
    begins: Int,
    ends: Int,
    dies: Bool,
    icu: Bool,
    readings: Array,
    generator: np.random.Generator,
) -> Admissions:
    waited = (generator.uniform(1, 10, len(person)) * HOUR).astype(np.int64) // 60 * 60
    arrives = np.where(generator.random(len(person)) < 0.7, begins - waited, begins)
    none, still = np.zeros(len(person), dtype=np.bool_), np.zeros((len(person), 3))
    return Admissions(person, np.full(len(person), number), arrives, begins, ends, dies, icu, readings, none, still)


def _death_days(patients: Patients, generator: np.random.Generator) -> Int:
    """Draw the days from discharge to death; 0 = none within a year."""
    readmitted, icu, dead = patients.outcome.T
    first = np.where(readmitted, 12, np.where(icu, 60, GRACE_DAYS + 1))
    within = generator.integers(first, 181)
    late = generator.random(len(dead)) < 0.08
    return np.where(
        patients.excluded, 0, np.where(dead, within, np.where(late, generator.integers(200, 360, len(dead)), 0))
    )


def _later(patients: Patients, index: Admissions, death_days: Int, generator: np.random.Generator) -> Admissions:
    """Draw the admission that readmission and ICU outcomes require, or one that implies neither."""
    readmitted, icu, _ = patients.outcome.T
    limit = np.where(death_days > 0, death_days, 400)
    early = generator.uniform(GRACE_DAYS, np.clip(limit - 2, GRACE_DAYS + 1, 30))
    middle = generator.uniform(31, np.clip(limit - 2, 32, 88))
    calm = generator.random(len(icu)) < 0.25
    gap = np.where(readmitted, early, middle)
    happens = (readmitted | icu | calm) & ~patients.excluded & (gap < limit - 1)
    chosen = np.flatnonzero(happens)
    begins = index.ends[chosen] + (gap[chosen] * DAY).astype(np.int64) // 60 * 60
    stay = (generator.uniform(1, 8, len(chosen)) * DAY).astype(np.int64) // 60 * 60
    death = index.ends[chosen] // DAY * DAY + death_days[chosen] * DAY + DAY // 2
    dies = (death_days[chosen] > 0) & (begins + stay >= death)
    ends = np.where(dies, death, begins + stay)
    later = drift(patients, generator)
    return _admissions(chosen, 1, begins, ends, dies, icu[chosen], later.readings[chosen], generator)


def _overlapping(
    patients: Patients, index: Admissions, later: Admissions, generator: np.random.Generator
) -> Admissions:
    """Draw transfers: admissions that begin in the last hours of the index and end shortly after it."""
    chosen = np.flatnonzero((generator.random(len(patients.excluded)) < OVERLAP_SHARE) & ~patients.excluded)
    begins, ends = index.ends[chosen] - 6 * HOUR, index.ends[chosen] + 12 * HOUR
    none = np.zeros(len(chosen), dtype=np.bool_)
    # Its readings are random: it begins before the index landmark and must add no information to the index.
    readings = readings_of(generator.standard_normal((len(chosen), patients.health.shape[1])), generator)
    made = _admissions(chosen, 2, begins, ends, none, none, readings, generator)
    return replace(made, arrives=begins)
