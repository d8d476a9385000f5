"""The book's own mathematics: the proof kit, and one folder a chapter with what that chapter alone uses."""

import importlib
import pkgutil
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derivations.kit.identity import Identity

if find_spec("sympy") is None:
    raise ImportError(
        "derivations needs sympy: install the extra [book], python -m pip install 'diffusion-companion[book]'"
    )


@cache  # seconds of SymPy
def identities() -> "dict[str, Identity]":
    """Every displayed identity of every chapter by its label; a module lists its own in a function `identities`.

    Raises ValueError where two carry one label.

    >>> all(label == identity.label for label, identity in identities().items())
    True
    """
    names = [module.name for module in pkgutil.walk_packages(__path__, f"{__name__}.")]
    modules = [importlib.import_module(name) for name in names]
    found = [identity for module in modules if hasattr(module, "identities") for identity in module.identities()]
    by_label = {identity.label: identity for identity in found}
    if len(by_label) < len(found):
        raise ValueError("two identities carry one label")
    return by_label
