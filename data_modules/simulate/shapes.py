"""Distributions of simulated labs, vitals and drugs, shared by all databases."""

from collections.abc import Mapping

import numpy as np

from data_modules.simulate.frames import Shape

_DISTURBED = np.random.default_rng(22).standard_normal((22, 3))
"""Loadings of the 16 labs and 6 vitals on the three disturbances of their admission."""

# Mean, standard deviation and the loading of each quantity on the three structured readings.
LAB_SHAPES: Mapping[str, Shape] = {
    name: (mean, spread, np.array(loading), disturbed)
    for (name, mean, spread, loading), disturbed in zip(
        (
            ("albumin", 3.6, 0.6, (-0.7, 0.0, -0.3)),
            ("bicarbonate", 25.0, 3.5, (-0.6, 0.2, 0.0)),
            ("bun", 24.0, 9.0, (0.6, 0.5, 0.2)),
            ("chloride", 102.0, 4.5, (0.0, -0.3, 0.2)),
            ("creatinine", 1.5, 0.5, (0.3, 0.8, 0.2)),
            ("glucose", 130.0, 30.0, (0.3, 0.2, 0.3)),
            ("potassium", 4.2, 0.5, (0.1, 0.5, 0.0)),
            ("sodium", 138.0, 4.0, (-0.3, -0.4, 0.0)),
            ("hematocrit", 34.0, 5.0, (-0.3, 0.0, -0.7)),
            ("hemoglobin", 11.3, 1.7, (-0.3, 0.0, -0.7)),
            ("platelets", 220.0, 60.0, (-0.2, -0.3, -0.2)),
            ("wbc", 9.5, 3.0, (0.7, 0.0, 0.3)),
            ("inr", 1.5, 0.3, (0.3, 0.3, 0.4)),
            ("bilirubin_total", 1.6, 0.5, (0.2, 0.6, 0.1)),
            ("lactate", 2.2, 0.6, (0.8, 0.0, 0.1)),
            ("crp", 60.0, 18.0, (0.7, 0.2, 0.2)),
        ),
        _DISTURBED[:16],
        strict=True,
    )
}

VITAL_SHAPES: Mapping[str, Shape] = {
    name: (mean, spread, np.array(loading), disturbed)
    for (name, mean, spread, loading), disturbed in zip(
        (
            ("heart_rate", 88.0, 14.0, (0.7, 0.0, 0.2)),
            ("sbp", 118.0, 16.0, (-0.6, 0.2, 0.0)),
            ("dbp", 64.0, 10.0, (-0.5, 0.2, 0.0)),
            ("respiratory_rate", 20.0, 4.0, (0.6, 0.2, 0.0)),
            ("temperature", 98.6, 0.9, (0.3, 0.0, 0.3)),
            ("spo2", 96.0, 1.6, (-0.5, -0.1, -0.2)),
        ),
        _DISTURBED[16:],
        strict=True,
    )
}

DRUGS = (
    "Acetaminophen", "Heparin", "Insulin", "Furosemide", "Metoprolol Tartrate", "Vancomycin", "Piperacillin-Tazobactam",
    "Ondansetron", "Senna", "Docusate Sodium", "Pantoprazole", "Potassium Chloride", "Magnesium Sulfate", "Aspirin",
    "Atorvastatin", "Lisinopril", "Warfarin", "Albuterol 0.083% Neb Soln", "Prednisone", "Morphine Sulfate",
)  # fmt: skip
