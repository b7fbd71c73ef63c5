"""`mmnar show`: everything that the results of a run say, or one topic of it; what results.public.json holds."""

from collections.abc import Sequence

from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.evaluation.results import Results
from mmnar_lightning.report.topics import TOPICS, show_all
from mmnar_lightning.runs import folders, results
from mmnar_lightning.runs.newest import run_of


def show_run(config: ExperimentConfig, topics: Sequence[str] = ()) -> Results:
    """Print a run's results.

    Args:
        config: `run`, the folder; empty is the newest run.
        topics: names in `TOPICS`; empty prints all that the run has.

    Returns:
        The public results.

    Raises:
        ConfigError: if the run was not evaluated, or a topic is unknown or nothing that this run has.
    """
    folder = run_of(config, folders.PUBLIC, parents=True)
    if not (folder / folders.PUBLIC).is_file():
        raise ConfigError(f"run={folder}: it has no {folders.PUBLIC}; `mmnar evaluate run={folder}` writes it")
    found = results.read(folder, folders.PUBLIC)
    known = {name: topic.says for name, topic in TOPICS.items() if topic.exists(found)}
    for name in topics:
        if name not in known:
            listed = "; ".join(f"{own}: {says}" for own, says in known.items())
            raise ConfigError(f"{folder} has no {name!r}; it has {listed}")
    for name in topics:
        TOPICS[name].show(found)
    if not topics:
        show_all(found)
    return found


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    show_run(config, [word for word in words if "=" not in word])
    return 0
