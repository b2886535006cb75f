"""Finding BCC from wherever Python runs.

BCC's Python module is part of the distribution (Debian: python3-bpfcc), not of PyPI, so a virtual environment does not
see it. It is pure Python over libbcc.so.0, hence any CPython 3 may use it: when the plain import fails, just that one
package is loaded from the system's dist-packages. Putting the whole folder on sys.path would let system packages shadow
or mix with the environment's own.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

SYSTEM_FOLDERS: Final = (
    Path("/usr/lib/python3/dist-packages"),
    Path("/usr/lib/python3/site-packages"),
    Path(f"/usr/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"),
)

ADVICE: Final = "BCC is not installed: install the Debian package python3-bpfcc (apt-get install python3-bpfcc)"


class BccMissing(Exception):
    """BCC cannot be imported; the message is one sentence that says what to install."""


def import_bcc(folders: tuple[Path, ...] = SYSTEM_FOLDERS) -> ModuleType:
    """The module `bcc`, of this environment or of the system. Raises `BccMissing`."""
    try:
        return importlib.import_module("bcc")
    except ImportError as error:
        reason = str(error)
    except OSError as error:  # the module is there and its shared library is not
        raise BccMissing(f"{ADVICE}; the module is there but: {error}") from error
    for folder in folders:
        init = folder / "bcc" / "__init__.py"
        if not init.exists():
            continue
        spec = importlib.util.spec_from_file_location("bcc", init, submodule_search_locations=[str(init.parent)])
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        sys.modules["bcc"] = module
        try:
            spec.loader.exec_module(module)
        except (ImportError, OSError) as error:
            for name in [name for name in sys.modules if name == "bcc" or name.startswith("bcc.")]:
                del sys.modules[name]
            reason = str(error)
            continue
        return module
    raise BccMissing(f"{ADVICE} ({reason})")
