"""Settings of the causal model (docs/simulation.md)."""

from dataclasses import asdict, dataclass, field
from typing import Any

from data_modules.errors import UserError
from data_modules.settings import read_when

ADDED = ("nu", "kappa", "pi", "phi", "shared", "nuisance", "label_share", "shift", "phenotypes")
"""Settings whose defaults give the linear world. They are left out of its name, so that it keeps its folder."""
MORE_TABLES = ("emergency", "charting")
"""Settings that add tables, which are left out of the name where they add none."""
OF_MIMIC, OF_EICU = (f"dataset = {name} or transfer.target is set" for name in ("mimic", "eicu"))
"""Conditions of settings of one database; a target is simulated with the settings of its source."""
STRONGEST = 10
"""Largest strength of an effect on the logit scale; beyond it nothing is random."""


@dataclass(kw_only=True)
class SimulateConfig:
    """Size of the release, and how strongly presence depends on each cause."""

    databases: list[str] = field(default_factory=lambda: ["mimic_iv", "eicu"])
    """Databases to write: mimic_iv (with notes and images), eicu."""
    subjects: int = 3000
    """Number of subjects; each has one index admission and the later ones that its outcomes require."""
    seed: int = 7
    """Equal seed and settings give equal bytes."""
    rho: float = 1.0
    """Strength of the unrecorded causes of an order: severity and an unmeasured worry. 0 = missing at random given the
    record; larger values = further from it."""
    gamma: float = 0.5
    """Strength of the recorded causes of an order: labs, vitals, age."""
    tau: float = 0.5
    """Standard deviation, on the logit scale, of the direct effect of the missingness pattern on the outcome."""
    calendar: float = 0.3
    """Standard deviation of the effect of the year group on ordering, on the logit scale."""
    note_rate: float = field(default=0.755, metadata=read_when(OF_MIMIC))
    """Share of index admissions with a discharge summary (MIMIC-IV: 24.5 % have none)."""
    image_rate: float = field(default=0.25, metadata=read_when(OF_MIMIC))
    """Share with a chest radiograph."""
    report_rate: float = field(default=0.60, metadata=read_when(OF_MIMIC))
    """Share with a radiology report."""
    images: bool = field(default=True, metadata=read_when(OF_MIMIC))
    """Write the JPEG files; metadata and embeddings are always written."""

    nu: float = 0.0
    """Square root of the share of the effects of severity and of the structured part on the outcome that is U-shaped:
    risk at both ends. 0 to 1."""
    kappa: float = 0.0
    """Square root of the share of the effects of note and image on the outcome that is their product. 0 to 1."""
    pi: float = 0.0
    """Standard deviation over the patterns of the factor by which they multiply the effects of severity and of the
    structured part on the outcome."""
    phi: float = 0.0
    """Effect of a rare phrase of the note on every outcome, on the logit scale; 4 % of the notes have it."""
    shared: float = 0.0
    """Share of the outcome on severity, which every modality shows. 0 to 1."""
    nuisance: float = 0.0
    """Strength of what image embeddings, notes, labs and vitals contain that depends on nothing else."""
    label_share: float = 1.0
    """Share of the subjects whose index has labels, at random."""
    shift: float = 0.0
    """Distance of the site from that of 0, in the effects of patterns on the outcome and of severity and worry on
    orders."""

    phenotypes: bool = False
    """Write diagnosis codes of every phenotype (`cohort.tasks`); a run that has phenotypes as tasks needs no word."""
    charting: bool = field(default=False, metadata=read_when(OF_EICU))
    """Also write nurseCharting, intakeOutput and respiratoryCharting of eICU: about 800 rows a stay."""

    emergency: bool = field(default=False, metadata=read_when(OF_MIMIC))
    """Also write MIMIC-IV-ED (edstays, triage, vitalsign) and the measurements of MIMIC-IV-ECG."""

    def identity(self) -> dict[str, Any]:
        """Return the settings that name a release: `ADDED` and `MORE_TABLES` only where they are not at their default.

        >>> sorted(set(SimulateConfig(nu=0.5).identity()) - set(SimulateConfig().identity()))
        ['nu']
        """
        plain = asdict(SimulateConfig())
        later = (*ADDED, *MORE_TABLES)
        return {key: value for key, value in asdict(self).items() if key not in later or value != plain[key]}

    def __post_init__(self) -> None:
        """Check the ranges."""
        if (
            not self.databases
            or set(self.databases) - {"mimic_iv", "eicu"}
            or len(set(self.databases)) < len(self.databases)
        ):
            raise UserError(f"simulate.databases={self.databases}: expected mimic_iv, eicu or both")
        if self.subjects < 1:
            raise UserError(f"simulate.subjects={self.subjects} must be at least 1")
        if self.seed < 0:
            raise UserError(f"simulate.seed={self.seed} must be at least 0")
        for key in ("rho", "gamma", "tau", "calendar", "pi", "phi", "nuisance", "shift"):
            if not 0 <= getattr(self, key) <= STRONGEST:
                raise UserError(f"simulate.{key}={getattr(self, key)} must be between 0 and {STRONGEST}")
        for key in ("nu", "kappa", "shared"):
            if not 0 <= getattr(self, key) <= 1:
                raise UserError(f"simulate.{key}={getattr(self, key)} must be between 0 and 1")
        if not 0 < self.label_share <= 1:
            raise UserError(f"simulate.label_share={self.label_share} must be above 0 and at most 1")
        for key in ("note_rate", "image_rate", "report_rate"):
            if not 0.01 <= getattr(self, key) <= 0.99:
                raise UserError(f"simulate.{key}={getattr(self, key)} must be between 0.01 and 0.99")
