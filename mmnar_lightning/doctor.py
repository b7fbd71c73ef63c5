"""Looks at a root and says which tables are there, which are missing, and what each missing one costs."""

from collections.abc import Mapping

from data_modules.build import KITS, Kit
from data_modules.cohorts.eicu import EICUCohortConfig
from data_modules.cohorts.mimic_iv import MIMICCohortConfig
from data_modules.sources.eicu import EICU
from data_modules.sources.locate import find_folder
from data_modules.sources.mimic_iv import EMBEDDINGS, FILMS, MIMIC_IV
from data_modules.sources.reader import Release, read_header
from data_modules.sources.schema import Source
from mmnar_lightning.config import ConfigError, ExperimentConfig
from mmnar_lightning.console import say, show

RELEASES: Mapping[str, tuple[Source, Kit]] = {
    "mimic": (MIMIC_IV, KITS[MIMICCohortConfig]),
    "eicu": (EICU, KITS[EICUCohortConfig]),
}
"""Dataset -> its tables and what is made of them."""


def examine(config: ExperimentConfig) -> bool:
    """Print the tables of every project under the roots; returns True when the core tables are there."""
    if config.dataset not in RELEASES:
        raise ConfigError(f"doctor looks at raw releases; dataset={config.dataset} has none")
    if config.simulated:
        setting, variable = RELEASES[config.dataset][0].root_setting
        raise ConfigError(f"doctor needs {variable}=/path (or {setting}), the folder to look at")
    source, kit = RELEASES[config.dataset]
    roots = config.paths.eicu_root if config.dataset == "eicu" else config.paths.mimic_root
    release = Release.parse(source, roots)
    versions = release.versions()
    for project in dict.fromkeys(table.project for table in source.tables.values()):
        rows = [
            [table.path, _state(release, name), _cost(name, table.core, kit)]
            for name, table in source.tables.items()
            if table.project == project
        ]
        show(f"{project} {versions.get(project, '(not found)')}", ["table", "file", "needed for"], rows)
    if config.dataset == "mimic":
        for project, encoders in ((EMBEDDINGS, "release"), (FILMS, "timm and small")):
            found = find_folder(release.roots, project, "files")
            say(f"files of {project}: {found or f'missing; embed.film.encoder={encoders} needs them'}")
    absent = release.missing(list(source.tables))
    lost = [
        name
        for name, definition in kit.modalities.items()
        if not definition.parts and release.missing(definition.tables)
    ]
    missing_core = release.missing(source.core_tables)
    say(f"{len(release.files)} tables found, {len(absent)} missing")
    if missing_core:
        say(f"no cohort can be built: the core tables {', '.join(missing_core)} are missing")
    elif lost:
        say(f"a cohort can be built, without the modalities {', '.join(lost)}")
    else:
        say("a cohort can be built with every modality")
    return not missing_core


def _state(release: Release, name: str) -> str:
    if not release.has(name):
        return "missing"
    read_header(release.files[name])
    return str(release.files[name])


def _cost(name: str, core: bool, kit: Kit) -> str:
    if core:
        return "every cohort"
    offered = kit.modalities.items()
    needing = [modality for modality, definition in offered if name in definition.tables]
    joined = [f"part of {whole}" for whole, definition in offered if set(definition.parts) & set(needing)]
    scored = ["rivals/published_score"] if name in kit.score_tables else []
    return ", ".join([*needing, *joined, *scored]) or "nothing yet"
