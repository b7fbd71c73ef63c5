"""`mmnar export`: writes a trained network as a graph that runs without this package, or predictions for others."""

from collections.abc import Sequence
from pathlib import Path

from data_modules import stage
from mmnar_lightning.blueprint import SavedModelError
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.console import say
from mmnar_lightning.distributed import signals
from mmnar_lightning.runs import meds_predictions, model_folder
from mmnar_lightning.runs.newest import run_of
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
    to = config.to
    assert to != meds_predictions.FORMAT, "predictions are no graph"
    folder = run_of(config, f"{model_folder.FOLDER}/{MODEL}")
    model = load(folder)
    say(model.description.terms)
    graphs.refuse(model, to)
    out = Path(config.out) if config.out else folder / "export" / to
    if out.exists():
        raise SavedModelError(f"{out} exists; remove it, or give another folder by out=")

    def write(partial: Path) -> None:
        graphs.export(model, partial, to)
        stage.write_json(partial / stage.MANIFEST, {"model": model.description.run_id, "to": to})

    stage.run_stage(out, write, "out")
    say(f"graph: {out / graphs.FILES[to]}")
    return out


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    if config.to == meds_predictions.FORMAT:
        meds_predictions.export(config)
    else:
        export(config)
    return 0
