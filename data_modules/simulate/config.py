"""Knobs of the causal model (docs/simulation.md)."""

from dataclasses import dataclass, field

STRONGEST = 10
"""Largest strength of an effect on the logit scale; beyond it nothing is left to chance."""


@dataclass(kw_only=True)
class SimulateConfig:
    """Who is simulated, and how strongly absence depends on what."""

    databases: list[str] = field(default_factory=lambda: ["mimic_iv", "eicu"])
    """Databases to write: mimic_iv (with notes and images), eicu."""
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
    image_rate: float = 0.25
    """Share with a chest radiograph."""
    report_rate: float = 0.60
    """Share with a radiology report."""
    images: bool = True
    """Write the JPEG files; the metadata and the embeddings are always written."""

    def __post_init__(self) -> None:
        """Refuse counts and rates that cannot be."""
        if (
            not self.databases
            or set(self.databases) - {"mimic_iv", "eicu"}
            or len(set(self.databases)) < len(self.databases)
        ):
            raise ValueError(f"simulate.databases={self.databases}: expected mimic_iv, eicu or both")
        if self.subjects < 1:
            raise ValueError(f"simulate.subjects={self.subjects} must be at least 1")
        if self.seed < 0:
            raise ValueError(f"simulate.seed={self.seed} must be at least 0")
        for key in ("rho", "gamma", "tau", "calendar"):
            if not 0 <= getattr(self, key) <= STRONGEST:
                raise ValueError(f"simulate.{key}={getattr(self, key)} must be between 0 and {STRONGEST}")
        for key in ("note_rate", "image_rate", "report_rate"):
            if not 0.01 <= getattr(self, key) <= 0.99:
                raise ValueError(f"simulate.{key}={getattr(self, key)} must be between 0.01 and 0.99")
