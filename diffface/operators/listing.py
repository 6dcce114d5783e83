"""Which operators there are: found in their files, so that a new one needs no list."""

import importlib
import pkgutil

import diffface.operators
from diffface.prep.operator import Operator, Part


def operators() -> list[Operator]:
    """Every operator that derives something, first order first."""
    names = (module.name for module in pkgutil.iter_modules(diffface.operators.__path__))
    modules = [importlib.import_module(f"diffface.operators.{name}") for name in names]
    found = {id(o): o for m in modules for o in vars(m).values() if isinstance(o, Operator)}
    deriving = (operator for operator in found.values() if operator.parts != (Part.VALUE,))
    return sorted(deriving, key=lambda o: (o.order, main_name(o)))


def main_name(operator: Operator) -> str:
    """The name under which nothing but the derivative itself is returned."""
    return operator.names[(len(operator.parts) - 1,)]
