"""Flow sheets of nurses and of respiratory care in simulated eICU, written only when they are asked for.

Values depend on the readings of the stay as vitals do. Nine in ten rows of nurseCharting have labels that no modality
reads, as in the release.
"""

import numpy as np

from data_modules.simulate.eicu.stays import Stays, keys, table
from data_modules.simulate.frames import Int, Tables, repeat
from data_modules.simulate.latent import Array

HOURS = 48
"""Hours of a stay that are charted."""
BESIDE = (
    ("Heart Rate", "Heart Rate", 80.0, 15.0), ("Respiratory Rate", "Respiratory Rate", 18.0, 4.0),
    ("O2 Saturation", "O2 Saturation", 96.0, 2.0), ("Invasive BP", "Invasive BP Systolic", 120.0, 20.0),
    ("Invasive BP", "Invasive BP Diastolic", 65.0, 12.0), ("Invasive BP", "Invasive BP Mean", 80.0, 12.0),
    ("O2 L/%", "O2 L/%", 3.0, 1.0), ("O2 Admin Device", "O2 Admin Device", 2.0, 1.0),
    ("Bedside Glucose", "Bedside Glucose", 140.0, 30.0), ("Sedation Scale/Score/Goal", "Sedation Score", 0.0, 1.0),
    ("Braden Scale", "Value", 15.0, 3.0), ("Patient Position", "Patient Position", 1.0, 1.0),
    ("Pain Score/Goal", "Pain Goal", 2.0, 1.0), ("Fall Risk", "Morse Fall Risk Score", 50.0, 15.0),
)  # fmt: skip
"""Labels that are charted every hour and of which no modality has a value: label, name, mean, standard deviation."""
HOURLY = (
    ("Non-Invasive BP", "Non-Invasive BP Systolic", 122.0, 18.0),
    ("Non-Invasive BP", "Non-Invasive BP Diastolic", 66.0, 11.0),
)  # fmt: skip
EVERY_4_HOURS = (
    ("Temperature", "Temperature (C)", 37.0, 0.6), ("Temperature", "Temperature (F)", 98.6, 1.1),
    ("Pain Score/Goal", "Pain Score", 2.0, 2.0), ("Glasgow coma score", "GCS Total", 13.0, 2.0),
    ("Glasgow coma score", "Eyes", 3.5, 0.6), ("Glasgow coma score", "Verbal", 4.0, 1.0),
    ("Glasgow coma score", "Motor", 5.5, 0.7),
)  # fmt: skip
WORST = {"GCS Total": (3, 15), "Eyes": (1, 4), "Verbal": (1, 5), "Motor": (1, 6), "Pain Score": (0, 10)}
"""Name of a score -> its range."""


def charted(stays: Stays, generator: np.random.Generator) -> Tables:
    """Write nurseCharting, intakeOutput and respiratoryCharting."""
    return {
        "nurseCharting": table("nurseCharting", _nursing(stays, generator)),
        "intakeOutput": table("intakeOutput", _fluids(stays, generator)),
        "respiratoryCharting": table("respiratoryCharting", _breathing(stays, generator)),
    }


def _moments(stays: Stays, every: int) -> tuple[Int, Int]:
    """Stay and offset in minutes of the times at which something is charted."""
    owner, number = repeat(np.clip(stays.minutes // 60, 1, HOURS) // every + 1)
    return owner, number * every * 60


def _nursing(stays: Stays, generator: np.random.Generator) -> dict[str, object]:
    parts = []
    for labels, every in ((BESIDE, 1), (HOURLY, 1), (EVERY_4_HOURS, 4)):
        owner, at = _moments(stays, every)
        for label, name, mean, spread in labels:
            drawn = stays.readings[owner, 0] * -0.5 + generator.standard_normal(len(owner))
            parts.append(
                (owner, at, np.full(len(owner), label), np.full(len(owner), name), _text(name, mean + spread * drawn))
            )
    owners, times, labels_of, names, values = (np.concatenate([part[place] for part in parts]) for place in range(5))
    return {
        **keys("nursingchartid", owners, stays),
        "nursingchartoffset": times,
        "nursingchartentryoffset": times + generator.integers(0, 40, len(times)),
        "nursingchartcelltypecat": np.full(len(times), "Vital Signs"),
        "nursingchartcelltypevallabel": labels_of,
        "nursingchartcelltypevalname": names,
        "nursingchartvalue": values,
    }


def _text(name: str, values: Array) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """Values as they are charted; scores are whole numbers in their range."""
    if name in WORST:
        return np.clip(np.round(values), *WORST[name]).astype(np.int64).astype(str)
    return np.round(values, 1).astype(str)


def _fluids(stays: Stays, generator: np.random.Generator) -> dict[str, object]:
    owner, at = _moments(stays, 2)
    urine = np.round(150 * np.exp(0.4 * generator.standard_normal(len(owner)) - 0.3 * stays.readings[owner, 1]))
    drunk = np.round(120 * np.exp(0.5 * generator.standard_normal(len(owner))))
    paths = ("Output (ml)|Urine", "Intake (ml)|Generic Intake (ml)|P.O.")
    return {
        **keys("intakeoutputid", np.tile(owner, 2), stays),
        "intakeoutputoffset": np.tile(at, 2),
        "intakeoutputentryoffset": np.tile(at, 2) + 20,
        "cellpath": np.repeat([f"flowsheet|Flowsheet Cell Labels|I&O|{path}" for path in paths], len(at)),
        "celllabel": np.repeat([path.rsplit("|", 1)[-1] for path in paths], len(at)),
        "cellvaluenumeric": np.concatenate([urine, drunk]),
    }


def _breathing(stays: Stays, generator: np.random.Generator) -> dict[str, object]:
    ventilated = generator.random(len(stays.stay)) < 1 / (1 + np.exp(1 - stays.readings[:, 0]))
    owner, at = _moments(stays, 4)
    machine = ventilated[owner]
    settings = {"FiO2": (45.0, 10.0), "PEEP": (6.0, 1.5), "Vent Rate": (16.0, 3.0)}
    labels = np.tile(list(settings), machine.sum())
    mean, spread = (np.tile([of[place] for of in settings.values()], machine.sum()) for place in range(2))
    values = np.maximum(np.round(mean + spread * generator.standard_normal(len(mean))), 1).astype(np.int64).astype(str)
    each, when = np.repeat(owner[machine], len(settings)), np.repeat(at[machine], len(settings))
    device = np.where(machine, "Ventilator", "Nasal cannula")
    owners, times = np.concatenate([owner, each]), np.concatenate([at, when])
    return {
        **keys("respchartid", owners, stays),
        "respchartoffset": times,
        "respchartentryoffset": times + 10,
        "respcharttypecat": np.full(len(times), "respFlowSettings"),
        "respchartvaluelabel": np.concatenate([np.full(len(owner), "O2 Device"), labels]),
        "respchartvalue": np.concatenate([device, values]),
    }
