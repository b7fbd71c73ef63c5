"""Imports of torchmetrics that load its base class alone, until more of it is used.

Lightning imports torchmetrics for the class `Metric`. By default, that loads transformers, torchvision and
scipy.signal, which only metrics of text, images and sound use; torchmetrics has no setting that avoids it.
"""

import importlib.abc
import logging
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any

NAME = "torchmetrics"
_lock = RLock()


class _BaseClassesLoader(importlib.abc.Loader):
    """Loads the base classes of torchmetrics, and the rest with the first other name that is read.

    Args:
        usual: the loader of the whole package.
    """

    def __init__(self, usual: importlib.abc.Loader) -> None:
        self.usual = usual

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as usual."""
        return self.usual.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Define the version and the two classes that Lightning imports."""
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.usual
        module.__dict__.update(__getattr__=_complete_and_get, _logger=logging.getLogger(NAME))
        import torchmetrics.utilities  # noqa: F401 -- first: it and torchmetrics.metric import each other
        from torchmetrics.__about__ import __version__
        from torchmetrics.collections import MetricCollection
        from torchmetrics.metric import Metric

        module.__dict__.update(__version__=__version__, Metric=Metric, MetricCollection=MetricCollection)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds torchmetrics where the interpreter does, with the loader above."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the package; its submodules are found as usual."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname == NAME else None
        if spec is not None and spec.loader is not None:
            spec.loader = _BaseClassesLoader(spec.loader)
        return spec


def install() -> None:
    """Let the first import of torchmetrics load its base classes alone; nothing changes if it is imported already."""
    if NAME not in sys.modules:
        sys.meta_path.insert(0, _Finder())


def complete() -> None:
    """Import all of torchmetrics, now or whenever it is imported: foreign code finds what it finds elsewhere."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    module = sys.modules.get(NAME)
    with _lock:
        if module is None or module.__dict__.pop("__getattr__", None) is None:
            return
        assert module.__spec__ is not None
        assert module.__spec__.loader is not None
        module.__spec__.loader.exec_module(module)


def _complete_and_get(name: str) -> Any:
    """Get an attribute of torchmetrics that its base classes do not include."""
    complete()
    return getattr(sys.modules[NAME], name)
