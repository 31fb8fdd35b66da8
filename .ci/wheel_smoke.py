"""Import every module of the installed forebay and resolve every public name; run away from the
tree.
"""

import importlib
import pkgutil
from importlib.resources import files

import forebay


def modules() -> list[str]:
    """Names of all modules but `__main__`, which runs the command line when it is imported."""
    found = pkgutil.walk_packages(forebay.__path__, prefix="forebay.")
    return [m.name for m in found if not m.name.endswith("__main__")]


def main() -> None:
    """Raise on the first module or name that is announced and not there."""
    names = 0
    for name in ["forebay", *modules()]:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            getattr(module, public)
            names += 1
    assert files(forebay).joinpath("py.typed").is_file(), "py.typed is missing: no types for users"
    print(f"wheel: {len(modules()) + 1} modules imported, {names} public names resolved")


if __name__ == "__main__":
    main()
