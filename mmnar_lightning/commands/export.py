"""`mmnar export`: writes a trained network as a graph that runs without this package."""

from collections.abc import Sequence
from pathlib import Path

from data_modules import stage
from mmnar_lightning.blueprint import SavedModelError
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.console import say
from mmnar_lightning.distributed import signals
from mmnar_lightning.runs import folders, model_folder
from mmnar_lightning.saved import export as graphs
from mmnar_lightning.saved.description import MODEL
from mmnar_lightning.saved.read import load


@signals.handled()
def export(config: ExperimentConfig) -> Path:
    """Export the model of `run`, the newest run if it is empty, in the format `to`.

    Returns:
        The folder of the graph: `out`, or one in the run's folder that is named for the format.

    Raises:
        SavedModelError: if the output exists.
    """
    folder = Path(config.run) if config.run else folders.newest_run(config, f"{model_folder.FOLDER}/{MODEL}")
    model = load(folder)
    say(model.description.terms)
    graphs.refuse(model, config.to)
    out = Path(config.out) if config.out else folder / "export" / config.to
    if out.exists():
        raise SavedModelError(f"{out} exists; remove it, or give another folder by out=")

    def write(partial: Path) -> None:
        graphs.export(model, partial, config.to)
        stage.write_json(partial / stage.MANIFEST, {"model": model.description.run_id, "to": config.to})

    stage.run_stage(out, write, "out")
    say(f"graph: {out / graphs.FILES[config.to]}")
    return out


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    export(config)
    return 0
