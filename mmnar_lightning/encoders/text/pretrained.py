"""Loads pretrained text models from a local folder or the Hugging Face hub.

Nothing is unpickled: weights are read from safetensors, or by torch.load(weights_only=True). No code of a model
repository is run.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from data_modules.errors import UserError
from mmnar_lightning.encoders import hub

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
"""Patterns of weights files, in order of preference."""
INDEXES = ("*.safetensors.index.json", "pytorch_model*.bin.index.json")
"""Patterns of index files of sharded weights."""
TOKENIZER = ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.model")
CONFIG = "config.json"
PARALLELISM = "TOKENIZERS_PARALLELISM"
_left: dict[str, str] = {}
"""Variables set by this process, which are not the user's settings."""


def locate(name: str) -> Path:
    """Locate a model in a local folder or the hub's cache, downloading it if needed.

    Args:
        name: `embed.text.model`.

    Returns:
        The folder of the model.

    Raises:
        UserError: with the files to download and their destination.
    """
    folder = Path(name)
    if folder.is_dir():
        return _checked(folder)
    try:
        repository, commit = hub.split(name)
    except hub.HubError as error:
        raise UserError(f"embed.text.model={name}: this folder does not exist; {error}") from None
    found = _checked(_fetch(repository, commit))
    hub.verify(name, sorted(found.iterdir()))
    return found


def _checked(folder: Path) -> Path:
    for patterns, what in (((CONFIG,), CONFIG), (WEIGHTS, "weights (model.safetensors or pytorch_model.bin)")):
        if not files_of(folder, patterns):
            raise UserError(f"embed.text.model={folder}: this folder holds no {what}, so it is not a saved model")
    return folder


def _fetch(name: str, commit: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        patterns = [CONFIG, *WEIGHTS, *INDEXES, *TOKENIZER]
        return Path(snapshot_download(name, revision=commit, allow_patterns=patterns))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        download = f"hf download {name}{f' --revision {commit}' if commit else ''} --local-dir FOLDER"
        raise UserError(
            f"embed.text.model={name}: this folder does not exist, and the hub cannot be reached "
            f"({type(error).__name__}). On a machine with a network run `{download}`, or "
            f"save config.json, the weights and the tokenizer's files from https://huggingface.co/{name} in FOLDER; "
            "copy FOLDER here, and set embed.text.model=FOLDER"
        ) from error


def files_of(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Files of a folder that match any pattern, sorted."""
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def digest_of(folder: Path, patterns: tuple[str, ...]) -> str:
    """Digest of the names and contents of files, 16 hexadecimal digits."""
    whole = hashlib.sha256()
    for path in files_of(folder, patterns):
        with path.open("rb") as handle:
            whole.update(path.name.encode() + b"\0" + hashlib.file_digest(handle, "sha256").digest())
    return whole.hexdigest()[:16]


def load_tokenizer(folder: Path) -> Any:
    """Load the fast tokenizer of a folder.

    Args:
        folder: of the model.

    Returns:
        A `transformers` tokenizer.

    Raises:
        UserError: if it is missing, broken or not available as a fast tokenizer.
    """
    from transformers import AutoTokenizer

    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # the parsers raise many types for broken files
            raise UserError(f"embed.text.model={folder}: its tokenizer cannot be read ({_line(error)})") from error
    if not tokenizer.is_fast:
        raise UserError(f"embed.text.model={folder}: it has no fast tokenizer (tokenizer.json)")
    return tokenizer


def load_config(folder: Path) -> Any:
    """Load the configuration of a model.

    Args:
        folder: of the model.

    Returns:
        A `transformers` configuration.

    Raises:
        UserError: if it cannot be read, or the model has a decoder.
    """
    from transformers import AutoConfig

    with _quiet():
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # as above
            raise UserError(f"{folder / CONFIG}: this configuration cannot be read ({_line(error)})") from error
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(f"embed.text.model={folder}: it has a decoder; use an encoder model, such as BERT")
    return config


def width_of(folder: Path) -> int:
    """Width of a token's state."""
    return int(load_config(folder).hidden_size)


def load_model(folder: Path) -> nn.Module:
    """Load the model of a folder, which must have no decoder and a complete set of weights.

    Args:
        folder: of the model.

    Returns:
        The model in float32 and evaluation mode.

    Raises:
        UserError: naming the weights file, if it is corrupt or incomplete.
    """
    from transformers import AutoModel

    config = load_config(folder)
    with _quiet():
        try:
            model, info = AutoModel.from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                ignore_mismatched_sizes=True,  # rejected below, by name
                dtype="float32",
                output_loading_info=True,
            )
        except Exception as error:  # as above
            raise UserError(f"{_weights(folder)}: these weights cannot be read ({_line(error)})") from error
    _reject_incomplete(folder, info)
    loaded: nn.Module = model.eval()
    return loaded


def _reject_incomplete(folder: Path, info: dict[str, Any]) -> None:
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
    if info.get("mismatched_keys") or missing:
        names = sorted(str(entry[0]) for entry in info.get("mismatched_keys", ())) or missing
        raise UserError(
            f"{_weights(folder)}: these weights do not match {CONFIG} in the same folder: {len(names)} tensors are "
            f"missing or of another shape, {names[0]} first"
        )


def _weights(folder: Path) -> Path:
    return files_of(folder, WEIGHTS[:1] if files_of(folder, WEIGHTS[:1]) else WEIGHTS)[0]


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress progress bars and warnings of the library."""
    from transformers import utils

    logging: Any = utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


@contextmanager
def tokenizer_threads() -> Iterator[None]:
    """Tokenise with all cores, then disable threads: processes forked later could warn or hang on their locks."""
    if os.environ.get(PARALLELISM) not in (None, _left.get(PARALLELISM)):
        yield  # set by the user
        return
    os.environ[PARALLELISM] = "true"
    try:
        yield
    finally:
        os.environ[PARALLELISM] = _left[PARALLELISM] = "false"
