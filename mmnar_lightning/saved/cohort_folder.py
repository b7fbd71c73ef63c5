"""Opens a folder of a user's own rows, as docs/cohort.md describes it, in the way that a stored model reads rows."""

from functools import partial
from pathlib import Path

from data_modules.cohorts.config import CustomCohortConfig
from data_modules.cohorts.fitting import Words
from data_modules.datamodule import CustomDataModule
from data_modules.loading.config import LoaderConfig
from mmnar_lightning.blueprint import SavedModelError, typed
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.image.stage import custom_images
from mmnar_lightning.encoders.stage import embed
from mmnar_lightning.saved.description import Description


def of_folder(described: Description, source: Path, data: Path, accelerator: str = "auto") -> CustomDataModule:
    """The datamodule of a folder, whose words of the model's vocabularies become the same columns.

    Args:
        described: of the model.
        source: the folder; labels are not needed.
        data: where it is imported.
        accelerator: `trainer.accelerator`, the device of frozen encoders.

    Returns:
        The datamodule, not yet prepared.

    Raises:
        SavedModelError: if there is no such folder.
    """
    if not (source / "cohort.parquet").is_file():
        raise SavedModelError(f"{source} has no cohort.parquet; give a folder as docs/cohort.md describes")
    columns = {entry.name: entry.columns for entry in described.modalities if entry.kind == "table"}
    own = typed(EmbedConfig, described.settings["embed"])
    return CustomDataModule(
        source=source,
        config=CustomCohortConfig(),
        data=data,
        labelled=False,
        words=Words(min_subjects=described.min_count, columns=columns),
        loader=LoaderConfig(),
        encode=partial(embed, config=own, data=data, images=custom_images(source), accelerator=accelerator),
    )
