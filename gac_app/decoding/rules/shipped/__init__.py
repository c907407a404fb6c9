"""The built-in rules. Each has its source and formula, and a test against an example worked by hand."""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
