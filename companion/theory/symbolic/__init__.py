"""The displayed identities of the derivations, as SymPy objects that are printed, derived, checked and broken."""

import importlib
import pkgutil

from companion.theory.symbolic.identity import Identity

__all__ = ["identities"]


def identities() -> dict[str, Identity]:
    """Every identity of every chapter by its label; a module of this folder lists its own in IDENTITIES.

    Raises ValueError where two carry one label.

    >>> all(label == identity.label for label, identity in identities().items())
    True
    """
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found = [identity for module in modules for identity in getattr(module, "IDENTITIES", ())]
    by_label = {identity.label: identity for identity in found}
    if len(by_label) < len(found):
        raise ValueError("two identities carry one label")
    return by_label
