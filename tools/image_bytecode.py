"""Compile at optimisation 2, in an image's builder, all that the image will run.

`python -OO tools/image_bytecode.py ROOT`: the libraries below ROOT, which becomes / of the image.
Their sources go: they are as large as their bytecode, and a traceback still names file and line.

`python -OO tools/image_bytecode.py ROOT PACKAGE…`: brisa's own below ROOT, beside its sources; and
what PACKAGE imports of Python itself, into ROOT, too. Public base images come without that
bytecode, and on a read-only root it would be compiled anew at every start.
"""

from __future__ import annotations

import codecs
import compileall
import contextlib
import importlib
import importlib.util
import pkgutil
import py_compile
import sys
from pathlib import Path

# Nothing in an image changes: nothing to compare at each import.
MODE = py_compile.PycInvalidationMode.UNCHECKED_HASH
# What Python imports by itself when a host's name is looked up, and when a template is read.
CODECS = ("idna", "unicode_escape")
# What the gateway imports when somebody asks for /metrics; an edge does not have it.
LATE = ("prometheus_client",)


def main(root: Path, packages: list[str]) -> int:
    """Returns the exit code."""
    compiled = compileall.compile_dir(
        root,
        maxlevels=99,
        quiet=1,
        stripdir=str(root),
        optimize=2,
        invalidation_mode=MODE,
        legacy=not packages,
    )
    if not compiled:
        return 1
    if not packages:
        for source in root.rglob("*.py"):
            source.unlink()
    for package in packages:
        for module in pkgutil.walk_packages(
            importlib.import_module(package).__path__, package + "."
        ):
            # a migration, for one, is imported by its tool alone
            with contextlib.suppress(Exception):
                importlib.import_module(module.name)
    for library in LATE if packages else ():
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    for codec in CODECS if packages else ():
        codecs.lookup(codec)
    for source in sorted(_python_s_own()) if packages else ():
        cached = importlib.util.cache_from_source(str(source), optimization=2)
        target = root / Path(cached).relative_to("/")
        py_compile.compile(
            str(source), str(target), optimize=2, invalidation_mode=MODE, doraise=True
        )
    return 0


def _python_s_own() -> set[Path]:
    """The sources of what is imported by now, as far as it is of Python itself."""
    home = Path(importlib.util.__file__).parent.parent
    found = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    sources = {Path(name) for name in found if name and name.endswith(".py")}
    return {path for path in sources if path.is_relative_to(home)}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
