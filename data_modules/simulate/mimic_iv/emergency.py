"""Arrivals in the emergency department and electrocardiograms of simulated subjects, written only when asked for.

Both follow the readings of an admission, as its vitals do: the more severe, the worse the vital signs, the more urgent
the triage and the longer the intervals.
"""

import numpy as np
import polars as pl

from data_modules.simulate.frames import Int, Tables, repeat
from data_modules.simulate.latent import Array
from data_modules.simulate.mimic_iv.keys import FIRST_ADMISSION, table
from data_modules.simulate.mimic_iv.timeline import HOUR, Admissions

FIRST_ARRIVAL, FIRST_RECORDING = 36_000_000, 40_000_000
SIGNS = {
    "heartrate": (86.0, 14.0), "resprate": (18.0, 3.0), "o2sat": (97.0, 2.0), "sbp": (132.0, 20.0), "dbp": (74.0, 12.0),
    "temperature": (98.4, 0.9),
}  # fmt: skip
"""Column -> mean and standard deviation; temperature in degrees Fahrenheit."""
WORSE = {"heartrate": 1, "resprate": 1, "o2sat": -1, "sbp": -1, "dbp": -1, "temperature": 1}
"""Column -> direction in which a severe subject differs."""
LIMITS = {"o2sat": (50.0, 100.0)}
COMPLAINTS = ("Chest pain", "Dyspnea", "Abd pain", "Weakness", "Fever", "Altered mental status", "Fall", "Syncope")
RHYTHMS = ("Sinus rhythm", "Sinus tachycardia", "Atrial fibrillation", "Sinus bradycardia")
FINDINGS = ("Normal ECG", "Nonspecific T wave changes", "Left axis deviation", "Prolonged QT interval", "Abnormal ECG")
NOT_FOUND = 29_999


def tables(admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator) -> Tables:
    """Write the tables of MIMIC-IV-ED and the measurements of MIMIC-IV-ECG.

    Args:
        admissions: of a chunk.
        subject: (A,) subject_id of each.
        hadm: (A,) hadm_id of each.
        generator: read by nothing else.

    Returns:
        Name -> table.
    """
    return _arrivals(admissions, subject, hadm, generator) | _recordings(admissions, subject, hadm, generator)


def _arrivals(admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator) -> Tables:
    """Write edstays, triage and vitalsign of the admissions that came through the emergency department."""
    came = np.flatnonzero(admissions.arrives < admissions.begins)
    severity = admissions.readings[came, 0]
    stay = FIRST_ARRIVAL + hadm[came] - FIRST_ADMISSION
    keys = {"subject_id": subject[came], "stay_id": stay}
    lacking = generator.random(len(came)) < 0.1
    stays = {
        **keys,
        "hadm_id": pl.Series(hadm[came]).set(pl.Series(lacking), None),
        "intime": admissions.arrives[came],
        "outtime": admissions.begins[came],
        "arrival_transport": generator.choice(["AMBULANCE", "WALK IN"], len(came)),
        "disposition": np.repeat("ADMITTED", len(came)),
    }
    first = {
        **keys,
        **_signs(severity, generator),
        "pain": _pain(len(came), generator),
        "acuity": np.clip(np.round(3 - severity + 0.5 * generator.standard_normal(len(came))), 1, 5),
        "chiefcomplaint": _words(COMPLAINTS, severity, ", ", generator),
    }
    owner, number = repeat(generator.integers(1, 5, len(came)))
    later = {name: values[owner] for name, values in keys.items()}
    waited = (admissions.begins[came] - admissions.arrives[came])[owner]
    signs = {
        **later,
        "charttime": admissions.arrives[came][owner] + np.minimum(waited, (number + 1) * HOUR // 2),
        **_signs(severity[owner], generator),
        "pain": _pain(len(owner), generator),
    }
    return {
        "edstays": table("edstays", stays),
        "triage": table("triage", first),
        "ed_vitalsign": table("ed_vitalsign", signs),
    }


def _signs(severity: Array, generator: np.random.Generator) -> dict[str, Array]:
    signs: dict[str, Array] = {}
    for name, (mean, spread) in SIGNS.items():
        drawn = mean + spread * (0.5 * WORSE[name] * severity + generator.standard_normal(len(severity)))
        low, high = LIMITS.get(name, (1.0, 300.0))
        signs[name] = np.asarray(np.round(np.clip(drawn, low, high), 1), np.float64)
    return signs


def _pain(count: int, generator: np.random.Generator) -> "np.ndarray[tuple[int], np.dtype[np.str_]]":
    """A score of 0 to 10, or what the subject could not say."""
    scores = generator.integers(0, 11, count).astype(str)
    return np.where(generator.random(count) < 0.1, "unable", scores)


def _words(words: tuple[str, ...], severity: Array, between: str, generator: np.random.Generator) -> list[str]:
    """One word or two; the later ones of a list are those of severe subjects."""
    place = np.clip(np.round(len(words) / 2 + severity + generator.standard_normal(len(severity))), 0, len(words) - 1)
    second = generator.integers(0, len(words), len(severity))
    both = generator.random(len(severity)) < 0.4
    return [
        between.join(dict.fromkeys((words[int(one)], words[other]))) if two else words[int(one)]
        for one, other, two in zip(place, second, both, strict=True)
    ]


def _recordings(admissions: Admissions, subject: Int, hadm: Int, generator: np.random.Generator) -> Tables:
    """Write the machine's measurements of one or two recordings of three admissions in four."""
    owner, number = repeat(generator.integers(0, 3, len(hadm)) * (generator.random(len(hadm)) < 0.9))
    severity = admissions.readings[owner, 0]
    span = np.maximum(admissions.ends - admissions.begins, HOUR)[owner]
    beat = np.round(800 - 90 * severity + 120 * generator.standard_normal(len(owner)))
    start = 40 + generator.integers(-8, 9, len(owner))
    complex_at = start + 150 + generator.integers(-20, 21, len(owner))
    complex_ends = complex_at + np.round(92 + 6 * severity + 8 * generator.standard_normal(len(owner)))
    no_wave = generator.random(len(owner)) < 0.08
    lines = {
        f"report_{place}": _words(words, severity, "; ", generator) for place, words in ((0, RHYTHMS), (1, FINDINGS))
    }
    columns = {
        "subject_id": subject[owner],
        "study_id": FIRST_RECORDING + 2 * (hadm[owner] - FIRST_ADMISSION) + number,
        "cart_id": generator.integers(1, 90, len(owner)),
        "ecg_time": admissions.begins[owner] + (generator.random(len(owner)) * span).astype(np.int64),
        **lines,
        "bandwidth": np.repeat("0.005-150 Hz", len(owner)),
        "filtering": np.repeat("60 Hz notch Baseline filter", len(owner)),
        "rr_interval": np.clip(beat, 300, 2000),
        "p_onset": np.where(no_wave, NOT_FOUND, start),
        "p_end": np.where(no_wave, NOT_FOUND, start + 100),
        "qrs_onset": complex_at,
        "qrs_end": complex_ends,
        "t_end": complex_at + np.round(390 + 15 * severity + 20 * generator.standard_normal(len(owner))),
        "p_axis": np.where(no_wave, NOT_FOUND, generator.integers(20, 80, len(owner))),
        "qrs_axis": generator.integers(-40, 100, len(owner)),
        "t_axis": generator.integers(0, 90, len(owner)),
    }
    return {"ecg_measurements": table("ecg_measurements", columns)}
