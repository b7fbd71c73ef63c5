"""Concepts of breathing support: oxygen, the device that gives it, whether a machine ventilates, and its settings.

Items, devices and modes follow the concepts oxygen_delivery, ventilator_setting and ventilation of MIT-LCP/mimic-code.
Devices and modes are texts; each group of them is a concept that is 1 for a record with one of its texts and 0 for any
other. A record that does not say whether a machine ventilates, such as a standby, or a mode that serves both a tube
and a mask, is no record of ventilation.
"""

from collections.abc import Iterable

from data_modules.features.concepts import Concept

DEVICE, MODE, MODE_HAMILTON = 226732, 223849, 229314
"""O2 Delivery Device(s), Ventilator Mode, Ventilator Mode (Hamilton)."""

NASAL = ("nasal cannula",)
MASK = (
    "non-rebreather", "face tent", "aerosol-cool", "venti mask", "medium conc mask", "ultrasonic neb", "vapomist",
    "oxymizer", "high flow neb",
)  # fmt: skip
HIGH_FLOW = ("high flow nasal cannula",)
PRESSURE_MASK = ("bipap mask", "cpap mask")
TUBE = ("endotracheal tube",)
TRACHEOSTOMY = ("tracheostomy tube", "trach mask")
NO_DEVICE = ("none",)
UNCLEAR_DEVICE = ("other", "t-piece")
INVASIVE_MODES = (
    "(s) cmv", "ambient", "apnea ventilation", "aprv", "aprv/biphasic+apnpress", "aprv/biphasic+apnvol", "apv (cmv)",
    "apv (simv)", "asv", "cmv", "cmv/assist", "cmv/assist/autoflow", "cmv/autoflow", "cpap/pps", "cpap/psv+apn tcpl",
    "cpap/psv+apnpres", "cpap/psv+apnvol", "mmv", "mmv/autoflow", "mmv/psv", "mmv/psv/autoflow", "p-cmv", "p-simv",
    "pcv+", "pcv+/psv", "pcv+assist", "pres/ac", "prvc/ac", "prvc/simv", "psv/sbt", "simv", "simv/autoflow",
    "simv/pres", "simv/psv", "simv/psv/autoflow", "simv/vol", "synchron master", "synchron slave", "vol/ac", "vs",
)  # fmt: skip
NONINVASIVE_MODES = ("duopap", "niv", "niv-st")
UNCLEAR_MODES = ("cpap", "cpap/psv", "spont", "standby")


def _spelt(texts: Iterable[str]) -> tuple[str, ...]:
    """Texts as they are and with the space that some of the release end with."""
    return tuple(spelling for text in texts for spelling in (text, f"{text} "))


def _device(name: str, texts: tuple[str, ...]) -> Concept:
    return Concept(name=name, unit="1", low=0, high=1, names=(DEVICE,), states=_spelt(texts))


def _ventilation(name: str, texts: tuple[str, ...], unclear: tuple[str, ...]) -> Concept:
    names = (DEVICE, MODE, MODE_HAMILTON)
    states, lacking = _spelt(texts), _spelt((*unclear, *UNCLEAR_DEVICE, *UNCLEAR_MODES))
    return Concept(name=name, unit="1", low=0, high=1, names=names, states=states, lacking=lacking)


INVASIVE = _ventilation("ventilated", (*TUBE, *INVASIVE_MODES), TRACHEOSTOMY)
NONINVASIVE = _ventilation("noninvasive_ventilation", (*PRESSURE_MASK, *NONINVASIVE_MODES), TRACHEOSTOMY)

RESPIRATION: tuple[Concept, ...] = (
    Concept(name="oxygen_flow", unit="L/min", low=0, high=100, names=(223834, 227582)),
    Concept(name="oxygen_flow_additional", unit="L/min", low=0, high=100, names=(227287,)),
    _device("device_none", NO_DEVICE),
    _device("device_nasal_cannula", NASAL),
    _device("device_mask", MASK),
    _device("device_high_flow", HIGH_FLOW),
    _device("device_pressure_mask", PRESSURE_MASK),
    _device("device_tube", TUBE),
    _device("device_tracheostomy", TRACHEOSTOMY),
    INVASIVE,
    NONINVASIVE,
    Concept(name="peep_set", unit="cmH2O", low=0, high=50, names=(220339,)),
    Concept(name="peep_total", unit="cmH2O", low=0, high=60, names=(224700,)),
    Concept(name="pressure_support", unit="cmH2O", low=0, high=60, names=(224701,)),
    Concept(name="peak_pressure", unit="cmH2O", low=1, high=120, names=(224695,)),
    Concept(name="plateau_pressure", unit="cmH2O", low=1, high=100, names=(224696,)),
    Concept(name="mean_airway_pressure", unit="cmH2O", low=1, high=80, names=(224697,)),
    Concept(name="tidal_volume_set", unit="mL", low=20, high=2000, names=(224684,)),
    Concept(name="tidal_volume", unit="mL", low=20, high=3000, names=(224685,)),
    Concept(name="tidal_volume_spontaneous", unit="mL", low=20, high=3000, names=(224686,)),
    Concept(name="respiratory_rate_set", unit="1/min", low=1, high=70, names=(224688,)),
    Concept(name="respiratory_rate_spontaneous", unit="1/min", low=0, high=70, names=(224689,)),
    Concept(name="minute_volume", unit="L/min", low=0.1, high=60, names=(224687,)),
)
