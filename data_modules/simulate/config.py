"""Knobs of the causal model (docs/simulation.md)."""

from dataclasses import dataclass


@dataclass(kw_only=True)
class SimulateConfig:
    """Who is simulated, and how strongly absence depends on what."""

    subjects: int = 3000
    """People; each has one index admission and the later ones that its outcomes ask for."""
    seed: int = 7
    """The same seed and knobs give the same bytes."""
    rho: float = 1.0
    """How strongly a modality is ordered for reasons that the record does not show: severity and an unmeasured worry.
    0 = missing at random given what is seen; the larger, the more missing not at random."""
    gamma: float = 0.5
    """How strongly it is ordered for reasons that the record shows: labs, vitals, age."""
    tau: float = 0.5
    """Standard deviation, on the logit scale, of the outcome's own dependence on the missingness pattern."""
    calendar: float = 0.3
    """Standard deviation of the effect of the year group on ordering, on the logit scale."""
    note_rate: float = 0.755
    """Share of index admissions with a discharge summary (MIMIC-IV: 24.5 % have none)."""
    film_rate: float = 0.25
    """Share with a chest film."""
    report_rate: float = 0.60
    """Share with a radiology report."""
    readmission_rate: float = 0.20
    """Share readmitted within 30 days."""
    icu_rate: float = 0.12
    """Share admitted to an ICU within 90 days."""
    mortality_rate: float = 0.15
    """Share dead within 180 days."""
    films: bool = True
    """Write the JPEG files; the metadata and the embeddings are always written."""

    def __post_init__(self) -> None:
        """Refuse counts and rates that cannot be."""
        if self.subjects < 1:
            raise ValueError(f"simulate.subjects={self.subjects} must be at least 1")
        if self.seed < 0:
            raise ValueError(f"simulate.seed={self.seed} must be at least 0")
        for key in ("rho", "gamma", "tau", "calendar"):
            if getattr(self, key) < 0:
                raise ValueError(f"simulate.{key}={getattr(self, key)} must be at least 0")
        for key in ("note_rate", "film_rate", "report_rate", "readmission_rate", "icu_rate", "mortality_rate"):
            if not 0.01 <= getattr(self, key) <= 0.99:
                raise ValueError(f"simulate.{key}={getattr(self, key)} must be between 0.01 and 0.99")
