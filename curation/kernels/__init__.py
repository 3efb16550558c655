"""Machine code over the bytes of many texts: no policy, no input or output, no Python object for each document.

A module of this package is imported when it is first asked for (`kernels.utf8`), since importing numba and loading what
it compiled takes most of a second, which a command that measures nothing should not pay.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

__all__ = [module.name for module in iter_modules(__path__)]

#: Those that are compiled together, before what they are for is done: texts are measured, pages cut into blocks. What
#: takes longest is first, so that no worker waits for another's at the end; those that use `lines`, which the first one
#: compiles, are not second.
_OF_PAGES = {"alignment", "blocks", "html", "trees"}
_LONGEST = ("repetition", "contamination", "education", "datatrove", "pii", "language", "grouping", "folding")
GROUPS = {
    "texts": [*_LONGEST, *(name for name in __all__ if name not in {*_LONGEST, *_OF_PAGES})],
    "pages": [name for name in __all__ if name in _OF_PAGES],
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__} has no attribute {name!r}")
