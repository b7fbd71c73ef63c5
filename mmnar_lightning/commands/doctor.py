"""`mmnar doctor`: lists the tables found under a root, the missing ones, and what needs each of them."""

from collections.abc import Sequence

from data_modules.cohorts.spec import DatabaseSpec
from data_modules.databases.registry import database
from data_modules.raw.header import read_header
from data_modules.raw.locate import find_folder
from data_modules.raw.reader import Release
from mmnar_lightning.config.experiment import CUSTOM, ConfigError, ExperimentConfig
from mmnar_lightning.console import say, show


def examine(config: ExperimentConfig) -> bool:
    """Print the tables of every project under the roots; a root that does not exist raises a `SourceError`.

    Returns:
        Whether all core tables were found.

    Raises:
        ConfigError: for a dataset without a release, and when none was named.
    """
    if config.dataset == CUSTOM:
        raise ConfigError(f"doctor inspects raw releases; dataset={config.dataset} has none")
    spec = database(config.dataset)
    schema = spec.schema
    if config.simulated:
        setting, variable = schema.root_setting
        raise ConfigError(f"doctor needs {variable}=/path (or {setting}), the folder to inspect")
    release = Release.parse(schema, config.paths.root(config.dataset))
    versions = release.versions()
    for project in dict.fromkeys(table.project for table in schema.tables.values()):
        rows = [
            [table.path, _state(release, name), _cost(name, table.core, spec)]
            for name, table in schema.tables.items()
            if table.project == project
        ]
        show(f"{project} {versions.get(project, '(not found)')}", ["table", "file", "needed for"], rows)
    for files, encoders in ((spec.image_embeddings, "release"), (spec.image_files, "timm and small")):
        if files:
            found = find_folder(release.roots, files, "files")
            say(f"files of {files}: {found or f'missing; embed.image.encoder={encoders} needs them'}")
    absent = release.missing(list(schema.tables))
    unavailable = [
        name
        for name, definition in spec.modalities.items()
        if not definition.parts and release.missing(definition.tables)
    ]
    missing_core = release.missing(schema.core_tables)
    say(f"{len(release.files)} tables found, {len(absent)} missing")
    if missing_core:
        say(f"no cohort can be built: the core tables {', '.join(missing_core)} are missing")
    elif unavailable:
        say(f"a cohort can be built, without the modalities {', '.join(unavailable)}")
    else:
        say("a cohort can be built with every modality")
    return not missing_core


def _state(release: Release, name: str) -> str:
    if not release.has(name):
        return "missing"
    read_header(release.files[name])
    return str(release.files[name])


def _cost(name: str, core: bool, spec: DatabaseSpec) -> str:
    if core:
        return "every cohort"
    offered = spec.modalities.items()
    needing = [modality for modality, definition in offered if name in definition.tables]
    joined = [f"part of {whole}" for whole, definition in offered if set(definition.parts) & set(needing)]
    scored = ["baselines/published_score"] if name in spec.score_tables else []
    return ", ".join([*needing, *joined, *scored]) or "nothing yet"


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status, 1 if a core table is missing."""
    return 0 if examine(config) else 1
