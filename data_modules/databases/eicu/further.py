"""Modalities that the default experiment does not read."""

from collections.abc import Mapping

from data_modules.databases.eicu import nursing, scores
from data_modules.databases.eicu.fluids import fluids
from data_modules.databases.eicu.infusions import infusion_rates, vasoactives
from data_modules.databases.eicu.respiration import CHARTING, TREATMENT, respiration
from data_modules.features.modality import ModalitySpec

FURTHER: Mapping[str, ModalitySpec] = {
    "vasoactives": ModalitySpec(kind="table", tables=("infusionDrug",), block=vasoactives),
    "infusion_rates": ModalitySpec(kind="table", tables=("infusionDrug",), block=infusion_rates),
    "fluids": ModalitySpec(kind="table", tables=("intakeOutput",), block=fluids),
    "respiration": ModalitySpec(
        kind="table",
        tables=(CHARTING,),
        optional={TREATMENT: "ventilation is known from respiratoryCharting alone"},
        block=respiration,
    ),
    "neurology": ModalitySpec(kind="table", tables=(nursing.TABLE,), block=nursing.neurology),
    "nurse_vitals": ModalitySpec(kind="table", tables=(nursing.TABLE,), block=nursing.nurse_vitals),
    "scores": ModalitySpec(
        kind="table", tables=("lab",), optional=scores.OPTIONAL, block=scores.scores, published=scores.published
    ),
}
