"""Unit stays of simulated eICU subjects: when they begin and end, and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.databases.eicu.tables import EICU
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.equations import draw_phrases
from data_modules.simulate.frames import Int, disturbances, frame
from data_modules.simulate.latent import Array, Patients, drift

Bool = NDArray[np.bool_]

LANDMARK = 24 * 60
"""Minutes in the unit at the prediction."""
FIRST_STAY, STAYS_EACH = 1_000_000, 2
ROWS_EACH = 2_000
"""Upper bound of the rows of one stay in one table; keeps row keys unique between chunks."""
UNIT_DEATH_SHARE = 0.6
"""Share of hospital deaths that happen in the unit of the first stay, independent of all else."""


@dataclass(frozen=True)
class Stays:
    """Unit stays of a chunk, the first ones of all subjects before the second ones.

    Attributes:
        person: (S,) position of the subject in the chunk.
        number: (S,) 0 = first, 1 = second.
        stay: (S,) patientunitstayid.
        begins: (S,) minutes since admission to the hospital.
        minutes: (S,) length.
        dies: (S,) bool, in the unit.
        kind: (S,) unitstaytype.
        present: (S, 3) bool.
        readings: (S, 8).
        hospital: (S,) position of the hospital.
        phrase: (S,) bool, in the stay's own text.
        disturbance: (S, 3) of its labs and vitals.
        recorded: (S,) bool, how the stay ended, and when the second one of the hospital stay began.
    """

    person: Int
    number: Int
    stay: Int
    begins: Int
    minutes: Int
    dies: Bool
    kind: NDArray[np.str_]
    present: Bool
    readings: Array
    hospital: Int
    phrase: Bool
    disturbance: Array
    recorded: Bool


def draw_stays(patients: Patients, config: SimulateConfig, start: int, generator: np.random.Generator) -> Stays:
    """Draw first unit stays, and second ones: readmissions, and step-downs, which are none.

    Every subject without labels has a second stay. As it has no time, it is not known whether it is a readmission.

    Args:
        patients: of the chunk.
        config: the settings.
        start: number of its first subject.
        generator: of times.

    Returns:
        The stays.
    """
    phrases, moved = generator.spawn(2)
    count = len(patients.worry)
    person = np.arange(count)
    long = LANDMARK + 1 + np.exp(7 + 0.25 * patients.readings[:, 0] + 0.6 * generator.standard_normal(count))
    minutes = np.where(patients.excluded, generator.uniform(300, LANDMARK, count), np.minimum(long, 20_000)).astype(
        np.int64
    )
    begins = generator.integers(30, 3000, count)
    dies = unit_deaths(patients, generator)
    back = patients.outcome[:, 1] & ~dies
    down = ~back & ~dies & (generator.random(count) < 0.15)
    again = np.flatnonzero(back | down | ~patients.labelled)
    gap = np.where(back[again], generator.integers(300, 4000, len(again)), 0)
    later = drift(patients, generator)
    return Stays(
        person=np.concatenate([person, again]),
        number=np.concatenate([np.zeros(count, np.int64), np.ones(len(again), np.int64)]),
        stay=FIRST_STAY + np.concatenate([(start + person) * STAYS_EACH, (start + again) * STAYS_EACH + 1]),
        begins=np.concatenate([begins, begins[again] + minutes[again] + gap]),
        minutes=np.concatenate([minutes, generator.integers(600, 6000, len(again))]),
        dies=np.concatenate([dies, np.zeros(len(again), np.bool_)]),
        kind=np.concatenate([np.repeat("admit", count), np.where(back[again], "readmit", "stepdown/other")]),
        present=np.concatenate([patients.present, generator.random((len(again), 3)) < 0.7]),
        readings=np.concatenate([patients.readings, later.readings[again]]),
        hospital=np.concatenate([patients.group, patients.group[again]]),
        phrase=np.concatenate([patients.phrase, draw_phrases(len(again), config.phi, phrases)]),
        disturbance=disturbances(count + len(again), config.nuisance, moved),
        recorded=np.concatenate([patients.labelled, patients.labelled[again]]),
    )


def after_landmarks(stays: Stays) -> Int:
    """(S,) first minute after both landmarks of a stay, 24 h and discharge from the unit."""
    return np.maximum(stays.minutes, LANDMARK) + 1


def unit_deaths(patients: Patients, generator: np.random.Generator) -> Bool:
    """Draw the hospital deaths that happen in the unit of the first stay, (N,) bool."""
    return np.asarray(patients.outcome[:, 0] & (generator.random(len(patients.worry)) < UNIT_DEATH_SHARE))


def table(name: str, columns: Mapping[str, Any]) -> pl.DataFrame:
    """Build a frame of a declared table (see `frames.frame`)."""
    return frame(EICU.tables[name], columns)


def keys(name: str, owner: Int, stays: Stays) -> dict[str, Any]:
    """Build row keys and stay ids of events that belong to stays."""
    stay = stays.stay[owner]
    first = stays.stay.min() * ROWS_EACH
    return {name: first + np.arange(len(owner)), "patientunitstayid": stay}
