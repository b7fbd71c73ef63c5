"""The manifest of a cohort: what a reader must know of it, as plain values."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import polars as pl

from data_modules import stage
from data_modules.cohorts import presence
from data_modules.cohorts.columns import kind_of
from data_modules.vocabulary import Modality

PACKAGES = ("mmnar-lightning", "polars", "numpy")


def manifest(
    identity: Mapping[str, Any],
    cohort: pl.DataFrame,
    modalities: Sequence[Modality],
    tasks: Sequence[str],
    *,
    source: str,
    attrition: Sequence[Mapping[str, Any]],
    simulated: bool = False,
    versions: Mapping[str, str] | None = None,
    dropped: Sequence[str] = (),
    declared: Mapping[str, str] | None = None,
    counts: Mapping[str, Any] | None = None,
    verified: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """The content of manifest.json.

    Args:
        identity: `config` and `files` that the cohort was built from, which the fingerprint digests.
        cohort: the rows of cohort.parquet.
        modalities: in the order of the pattern's bits.
        tasks: in the order of the labels.
        source: name of the database, or `custom`.
        attrition: one entry per rule.
        simulated: whether the release says so.
        versions: project -> version.
        dropped: lines for the user on what was left out.
        declared: modality -> what a reader must know of when it becomes available.
        counts: further counts.
        verified: tables compared with SHA256SUMS.txt and tables that it does not list; None if none was compared.

    Returns:
        Plain values.
    """
    names = [modality.name for modality in modalities]
    is_value = kind_of(cohort) == "value"
    return {
        "source": source,
        "simulated": simulated,
        "versions": dict(versions or {}),
        "files": identity["files"],
        "config": identity["config"],
        "config_hash": stage.digest(identity["config"]),
        "fingerprint": stage.digest(identity),
        "rows": cohort.height,
        "subjects": cohort["subject_id"].n_unique(),
        "attrition": list(attrition),
        "modalities": [modality.to_dict() for modality in modalities],
        "dropped": list(dropped),
        "declared": dict(declared or {}),
        "tasks": list(tasks),
        "patterns": presence.count_patterns(cohort, names),
        "prevalence": {} if is_value else presence.prevalence(cohort, list(tasks)),
        **({"values": presence.known_values(cohort, list(tasks))} if is_value else {}),
        "counts": dict(counts or {}),
        "verified": verified,
        "packages": {name: version(name) for name in PACKAGES},
    }
