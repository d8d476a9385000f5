"""What passes between the parts of the package are records, and a record that was handed on is not changed any more."""

import dataclasses
import importlib
import pkgutil

import pytest

import companion

MODULES = [module.name for module in pkgutil.walk_packages(companion.__path__, "companion.")]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_records_cannot_be_changed(name):
    kinds = [kind for kind in vars(importlib.import_module(name)).values() if isinstance(kind, type)]
    for kind in filter(dataclasses.is_dataclass, kinds):
        assert kind.__dataclass_params__.frozen, kind
