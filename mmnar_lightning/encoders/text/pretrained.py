"""Pretrained text models from a local folder, or from the hub where the configuration names something there.

Nothing is unpickled: weights are read from safetensors, or by torch.load(weights_only=True). No code of a model's
author is run.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
"""Patterns of files with weights, the preferred ones first."""
INDEXES = ("*.safetensors.index.json", "pytorch_model*.bin.index.json")
"""Of weights in several files: which tensor is in which."""
TOKENIZER = ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.model")
CONFIG = "config.json"
PARALLELISM = "TOKENIZERS_PARALLELISM"
_left: dict[str, str] = {}
"""What this process left in the environment: it must not read it as a person's wish."""
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def locate(name: str) -> Path:
    """The folder of a model: a local one, or the hub's, which is fetched where it is not in the cache.

    Args:
        name: `embed.text.model`.

    Raises:
        ValueError: saying what to download and where to put it.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(folder)
    if not HUB_NAME.fullmatch(name):
        raise ValueError(f"embed.text.model={name}: there is no such folder")
    return _checked(_fetch(name))


def _checked(folder: Path) -> Path:
    for patterns, what in (((CONFIG,), CONFIG), (WEIGHTS, "weights (model.safetensors or pytorch_model.bin)")):
        if not files_of(folder, patterns):
            raise ValueError(f"embed.text.model={folder}: this folder holds no {what}, so it is no saved model")
    return folder


def _fetch(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=[CONFIG, *WEIGHTS, *INDEXES, *TOKENIZER]))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ValueError(
            f"embed.text.model={name}: there is no such folder here, and the hub cannot be asked for it "
            f"({type(error).__name__}). On a machine with a network run `hf download {name} --local-dir FOLDER`, or "
            f"save config.json, the weights and the tokenizer's files from https://huggingface.co/{name} in FOLDER; "
            "copy FOLDER here, and set embed.text.model=FOLDER"
        ) from error


def files_of(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Files of a folder that match any pattern, sorted."""
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def digest_of(folder: Path, patterns: tuple[str, ...]) -> str:
    """Fingerprint of the names and bytes of files, 16 hexadecimal digits."""
    whole = hashlib.sha256()
    for path in files_of(folder, patterns):
        with path.open("rb") as handle:
            whole.update(path.name.encode() + b"\0" + hashlib.file_digest(handle, "sha256").digest())
    return whole.hexdigest()[:16]


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer of a folder.

    Raises:
        ValueError: when it is missing, broken, or has no fast version.
    """
    from transformers import AutoTokenizer

    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # a broken file raises whatever its parser does
            raise ValueError(f"embed.text.model={folder}: its tokenizer cannot be read ({_line(error)})") from error
    if not tokenizer.is_fast:
        raise ValueError(f"embed.text.model={folder}: it has no fast tokenizer (tokenizer.json)")
    return tokenizer


def load_config(folder: Path) -> Any:
    """The configuration of a folder's model.

    Raises:
        ValueError: when it cannot be read, or the model has a decoder.
    """
    from transformers import AutoConfig

    with _quiet():
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # as above
            raise ValueError(f"{folder / CONFIG}: this configuration cannot be read ({_line(error)})") from error
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"embed.text.model={folder}: it has a decoder; name an encoder, such as a BERT")
    return config


def width_of(folder: Path) -> int:
    """Floats of a token's state."""
    return int(load_config(folder).hidden_size)


def load_model(folder: Path) -> nn.Module:
    """The model of a folder, in float32, in training mode off.

    Raises:
        ValueError: naming the file, when weights are corrupt, incomplete, of another shape, or need a decoder.
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
                ignore_mismatched_sizes=True,  # they are refused below, by name
                dtype="float32",
                output_loading_info=True,
            )
        except Exception as error:  # as above
            raise ValueError(f"{_weights(folder)}: these weights cannot be read ({_line(error)})") from error
    _refuse_incomplete(folder, info)
    loaded: nn.Module = model.eval()
    return loaded


def _refuse_incomplete(folder: Path, info: dict[str, Any]) -> None:
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
    if info.get("mismatched_keys") or missing:
        names = sorted(str(entry[0]) for entry in info.get("mismatched_keys", ())) or missing
        raise ValueError(
            f"{_weights(folder)}: these weights do not fit {CONFIG} beside them: {len(names)} tensors are missing or "
            f"of another shape, {names[0]} first"
        )


def _weights(folder: Path) -> Path:
    return files_of(folder, WEIGHTS[:1] if files_of(folder, WEIGHTS[:1]) else WEIGHTS)[0]


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's bars and advice out of what a person reads."""
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
    """Tokenise with all cores, then with one: a process forked later would warn, or hang, over the threads' locks."""
    if os.environ.get(PARALLELISM) not in (None, _left.get(PARALLELISM)):
        yield  # a person has set it
        return
    os.environ[PARALLELISM] = "true"
    try:
        yield
    finally:
        os.environ[PARALLELISM] = _left[PARALLELISM] = "false"
