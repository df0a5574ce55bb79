"""Optional dependencies: one place that imports them, so that a missing one is named with its extra."""

from __future__ import annotations

import importlib
from types import ModuleType

from foreshade.envs.errors import MissingExtraError


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional module.

    Raises:
        MissingExtraError: it is not installed, or a library that it loads is not.

    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a shared library of the wheel is missing (libgomp)
        raise MissingExtraError(
            f"{purpose}: expected the module {module}: pip install 'foreshade[{extra}]' ({error})"
        ) from error
