"""The book's own mathematics: the proof kit, and one folder a chapter with what that chapter alone uses."""

import importlib
import pkgutil

from derivations.kit.identity import Identity

__all__ = ["identities"]


def identities() -> dict[str, Identity]:
    """Every displayed identity of every chapter by its label; a module lists its own in IDENTITIES.

    Raises ValueError where two carry one label.

    >>> all(label == identity.label for label, identity in identities().items())
    True
    """
    names = [module.name for module in pkgutil.walk_packages(__path__, f"{__name__}.")]
    found = [each for name in names for each in getattr(importlib.import_module(name), "IDENTITIES", ())]
    by_label = {identity.label: identity for identity in found}
    if len(by_label) < len(found):
        raise ValueError("two identities carry one label")
    return by_label
