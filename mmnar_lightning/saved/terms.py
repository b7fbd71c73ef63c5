"""Terms of use of a model, which follow from the data that it was trained on."""

from collections.abc import Iterable

CREDENTIALED = (
    "the PhysioNet Credentialed Health Data License and Data Use Agreement apply. PhysioNet asks to treat models of "
    "such data as sensitive, and to share them on PhysioNet alone, under the agreement of their source."
)
TERMS = {"mimic": f"Trained on MIMIC-IV: {CREDENTIALED}", "eicu": f"Trained on eICU-CRD: {CREDENTIALED}"}
SIMULATED = "Trained on simulated subjects: no terms beyond the licence of mmnar-lightning."
DEMO = "Trained on an open demo: the Open Data Commons Open Database License applies."
OTHER = "Trained on records that their owner supplied: the terms of those records apply to this model as well."


def terms_of(dataset: str, projects: Iterable[str], *, simulated: bool) -> str:
    """The terms of a model.

    Args:
        dataset: name of the database, or `custom`.
        projects: names of the PhysioNet projects that were read.
        simulated: whether it was trained on simulated subjects.

    Returns:
        One or two sentences.

    >>> terms_of("custom", [], simulated=False)[:20]
    'Trained on records t'
    """
    if simulated:
        return SIMULATED
    return DEMO if any("demo" in name for name in projects) else TERMS.get(dataset, OTHER)
