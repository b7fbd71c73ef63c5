"""Breathing support in eICU: oxygen, the device that gives it, whether a machine ventilates, and its settings.

Devices are texts of respiratoryCharting that differ between hospitals: a text that is not listed here says nothing.
A patient is ventilated if the device, the switch, the mode or a setting of a ventilator says so, or an entry of
treatment; other devices say that the patient is not. Ranges are those of MIMIC-IV.
"""

from collections.abc import Mapping

import polars as pl

from data_modules.databases.eicu.events import LANDMARK, NO_SPECIMEN, block, known, settled
from data_modules.features import series
from data_modules.features.concepts import Concept, convert, names_of
from data_modules.features.modality import BuildContext, ColumnBlock

CHARTING, TREATMENT = "respiratoryCharting", "treatment"
DEVICE, MACHINE = "device", "machine"
"""Names of records that state a device, and whether a machine ventilates."""
UNKNOWN = "unknown"
DEVICE_LABELS = ("O2 Device", "Oxygen Delivery Method")
SWITCH_LABELS = ("RT Vent On/Off",)
DEVICES: Mapping[str, tuple[str, ...]] = {
    "none": ("none (room air)", "room air", "none"),
    "nasal_cannula": ("nasal cannula", "nasal cannula with reservoir"),
    "mask": (
        "simple mask", "face mask", "non-rebreather mask", "non-rebreather", "partial rebreather mask", "aerosol mask",
        "venturi mask", "face tent", "high flow mask",
    ),
    "high_flow": ("high flow nasal cannula", "heated high flow nasal cannula", "high-flow nasal cannula"),
    "pressure_mask": ("bi-pap", "bipap", "cpap"),
    "tracheostomy": ("trach collar", "tracheostomy collar", "trach mask", "tracheostomy mask"),
    "ventilator": ("ventilator", "mechanical ventilator"),
}  # fmt: skip
"""Device -> texts in lower case."""
SWITCHED = {"start": "invasive", "continued": "invasive", "off": "none"}
MODE_LABELS = ("Ventilator Support Mode", "Mechanical Ventilator Mode", "Non-invasive Ventilation Mode")
MODES = {
    **dict.fromkeys(("cmv", "ac/cmv", "ac", "a/c", "simv", "prvc", "pcv", "aprv", "vc+", "volume control"), "invasive"),
    **dict.fromkeys(("s/t", "st", "bipap", "niv"), "noninvasive"),
}
"""Mode in lower case -> kind of ventilation; a mode that serves both a tube and a mask (spontaneous, CPAP) is none."""
RUNNING: Mapping[str, tuple[str, ...]] = {
    "invasive": (
        "Tidal Volume (set)", "Set Vt (Servo,LTV)", "Adult Con Setting Set Vt", "Vent Rate",
        "Adult Con Setting Set RR", "Exhaled TV (machine)", "Plateau Pressure",
    ),
    "noninvasive": ("NIV Setting EPAP", "NIV Setting IPAP", "NIV Setting Set_RR"),
}  # fmt: skip
"""Kind of ventilation -> labels of which a number above 0 is charted only while it runs."""
ENTERED = {
    "noninvasive": r"(?:^|\|)non-invasive ventilation(?:\||$)",
    "invasive": r"(?:^|\|)(?:mechanical ventilation|ventilator weaning)(?:\||$)",
}
"""Kind of ventilation -> what treatmentstring contains; the first that fits counts."""


def _states(name: str, names: tuple[str, ...], *states: str, lacking: tuple[str, ...] = ()) -> Concept:
    return Concept(name=name, unit="1", low=0, high=1, names=names, states=states, lacking=(UNKNOWN, *lacking))


def _pressure(name: str, low: float, high: float, *labels: str) -> Concept:
    return Concept(name=name, unit="cmH2O", low=low, high=high, names=labels)


def _flowing(name: str, unit: str, low: float, high: float, *labels: str) -> Concept:
    """A volume or rate of which 0 is charted where it is not in use."""
    return Concept(name=name, unit=unit, low=low, high=high, names=labels, zero_is_missing=True)


DELIVERED = (
    "Exhaled TV (machine)", "Tidal Volume Observed (VT)", "Exhaled Vt", "Tidal Volume, Delivered",
    "Adult Con Pt/Vent InspiratorTV",
)  # fmt: skip
SPONTANEOUS = ("Exhaled TV (patient)", "NIV Pt/Vent Spont_TidalV", "Spont TV")
BREATHS = ("Spontaneous Respiratory Rate", "Adult Con Pt/Vent Spont Rate", "NIV Pt/Vent Spont_Rate", "RR Spont")
"""Labels of volumes that the machine gave or the patient drew, and of the breaths that the patient began."""
RESPIRATION: tuple[Concept, ...] = (
    Concept(name="oxygen_flow", unit="L/min", low=0, high=100, names=("LPM O2", "Oxygen Flow Rate")),
    *(_states(f"device_{device}", (DEVICE,), device) for device in DEVICES),
    _states("ventilated", (DEVICE, MACHINE), "ventilator", "invasive", lacking=("tracheostomy",)),
    _states("noninvasive_ventilation", (DEVICE, MACHINE), "pressure_mask", "noninvasive", lacking=("tracheostomy",)),
    _pressure("peep_set", 0, 50, "PEEP", "PEEP/CPAP"),
    _pressure("pressure_support", 0, 60, "Pressure Support"),
    _pressure("peak_pressure", 1, 120, "Peak Insp. Pressure", "Peak Pressure"),
    _pressure("plateau_pressure", 1, 100, "Plateau Pressure"),
    _pressure("mean_airway_pressure", 1, 80, "Mean Airway Pressure"),
    _flowing("tidal_volume_set", "mL", 20, 2000, *RUNNING["invasive"][:3]),
    _flowing("tidal_volume", "mL", 20, 3000, *DELIVERED),
    _flowing("tidal_volume_spontaneous", "mL", 20, 3000, *SPONTANEOUS),
    _flowing("respiratory_rate_set", "1/min", 1, 70, "Vent Rate", "Adult Con Setting Set RR"),
    _flowing("respiratory_rate_total", "1/min", 1, 70, "Total RR", "f Total", "Resp Rate Total"),
    Concept(name="respiratory_rate_spontaneous", unit="1/min", low=0, high=70, names=BREATHS),
    _flowing("minute_volume", "L/min", 0.1, 60, "Exhaled MV", "Measured Ve", "Adult Con Pt/Vent MinuteVentil"),
)

INSPIRED = Concept(name="fio2", unit="%", low=20, high=100, names=("FiO2", "FIO2 (%)", "O2 Percentage"), fraction=True)
"""Inspired oxygen, for the scores; it is no column of `respiration`, because `harmonised_oxygen` has it."""
RECORDED = (*RESPIRATION, INSPIRED)


def stated(label: pl.Expr, value: pl.Expr) -> pl.Expr:
    """Return what a device, switch or mode states; null for other labels.

    Args:
        label: respchartvaluelabel.
        value: respchartvalue.

    Returns:
        A device, a kind of ventilation, or `UNKNOWN`.

    >>> cells = [("O2 Device", "Bi-PAP"), ("O2 Device", "Ambubag"), ("RT Vent On/Off", "Off"), ("PEEP", "5"),
    ...          ("Ventilator Support Mode", "CMV")]
    >>> frame = pl.DataFrame(cells, ["label", "value"], orient="row")
    >>> frame.select(stated(pl.col("label"), pl.col("value"))).to_series().to_list()
    ['pressure_mask', 'unknown', 'none', None, 'invasive']
    """
    text = value.str.strip_chars().str.to_lowercase()
    devices = {spelling: device for device, spellings in DEVICES.items() for spelling in spellings}
    device = text.replace_strict(devices, default=UNKNOWN, return_dtype=pl.String)
    switch = text.replace_strict(SWITCHED, default=UNKNOWN, return_dtype=pl.String)
    mode = text.replace_strict(MODES, default=UNKNOWN, return_dtype=pl.String)
    stated = pl.when(label.is_in(DEVICE_LABELS)).then(device).when(label.is_in(SWITCH_LABELS)).then(switch)
    return stated.when(label.is_in(MODE_LABELS)).then(mode)


def charted(context: BuildContext) -> pl.LazyFrame:
    """The rows of respiratoryCharting known at the landmark as records of devices, machines and numbers."""
    label, value = pl.col("respchartvaluelabel"), pl.col("respchartvalue")
    rows = known(context, CHARTING, "respchartoffset", "respchartentryoffset").select(
        "row_id",
        LANDMARK,
        event_at="respchartoffset",
        stored=pl.coalesce("respchartentryoffset", "respchartoffset"),
        label=label,
        number=value.str.strip_chars(" %").cast(pl.Float64, strict=False),
        text=stated(label, value),
    )
    running = {name: kind for kind, labels in RUNNING.items() for name in labels}
    name = pl.when(pl.col("label").is_in(DEVICE_LABELS)).then(pl.lit(DEVICE)).otherwise(pl.lit(MACHINE))
    states = rows.filter(pl.col("text").is_not_null()).with_columns(name=name, number=pl.lit(None, pl.Float64))
    machines = rows.filter((pl.col("number") > 0) & pl.col("label").is_in(list(running))).with_columns(
        name=pl.lit(MACHINE),
        text=pl.col("label").replace_strict(running, return_dtype=pl.String),
        number=pl.lit(None, pl.Float64),
    )
    numbers = rows.filter(pl.col("number").is_not_null() & pl.col("label").is_in(names_of(RECORDED)))
    named = numbers.with_columns(name="label", text=pl.lit(None, pl.String))
    return pl.concat([states, machines, named], how="diagonal").drop("label")


def entered(context: BuildContext) -> pl.LazyFrame:
    """The treatments known at the landmark that are ventilation, as records of machines."""
    string = pl.col("treatmentstring").str.to_lowercase()
    first, second = ENTERED
    kind = pl.when(string.str.contains(ENTERED[first])).then(pl.lit(first))
    return (
        known(context, TREATMENT, "treatmentoffset")
        .select(
            "row_id",
            LANDMARK,
            event_at="treatmentoffset",
            stored="treatmentoffset",
            name=pl.lit(MACHINE),
            number=pl.lit(None, pl.Float64),
            text=kind.when(string.str.contains(ENTERED[second])).then(pl.lit(second)),
        )
        .filter(pl.col("text").is_not_null())
    )


def records(context: BuildContext) -> pl.LazyFrame:
    """Everything known of `RECORDED`, input of `events.block`; written on first use."""
    path = context.scratch / "respiration.parquet"
    if not path.is_file():
        known_of = [charted(context), *([entered(context)] if context.release.has(TREATMENT) else [])]
        filled = pl.concat(known_of, how="diagonal").with_columns(
            unit=pl.lit(None, pl.String), censored=False, done=True, specimen=NO_SPECIMEN
        )
        convert(filled, RECORDED).sink_parquet(path, compression="lz4")
    return pl.scan_parquet(path)


def respiration(context: BuildContext) -> ColumnBlock:
    """Summaries of oxygen, devices, ventilation and settings."""
    found = series.within(records(context), slice(0, len(RESPIRATION)))
    return block(context, "respiration", lambda scanned: scanned, found, RESPIRATION, drawn=False, settle=settled)
