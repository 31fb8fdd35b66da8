"""Rules about who imports whom: layers, the package prefix, and roles that meet only through
messages.
"""

import ast
from collections.abc import Iterable, Iterator

from attrs import frozen
from support.sources import Source

LAYERS = ("jobs", "config", "backends", "actors", "supervisors", "scenarios", "api")
ROLES = ("gate", "relay", "work", "watch")


@frozen
class Import:
    """`from module import name` at a line of a file; `name` is None for `import module`."""

    line: int
    module: str
    name: str | None

    @property
    def dotted(self) -> str:
        return self.module if self.name is None else f"{self.module}.{self.name}"


def imports_of(source: Source) -> Iterator[Import]:
    """Every import statement of a file, inside functions and type-checking blocks too."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(source, node)
            for alias in node.names:
                yield Import(node.lineno, module, alias.name)


def _absolute(source: Source, node: ast.ImportFrom) -> str:
    if node.level == 0 or source.module is None:
        return node.module or ""
    parts = source.module.split(".")
    drop = node.level - 1 if source.is_package else node.level
    base = parts[: len(parts) - drop]
    return ".".join([*base, *([node.module] if node.module else [])])


def layer_of(dotted: str) -> str | None:
    """The layer that a dotted name of ours belongs to; None for everybody else's."""
    top, _, rest = dotted.partition(".")
    if top != "forebay":
        return None
    first = rest.partition(".")[0]
    return first if first in LAYERS else "api"


def upward_imports(source: Source) -> Iterator[str]:
    """Imports from a layer above one's own."""
    assert source.module is not None
    own = layer_of(source.module)
    assert own is not None
    for found in imports_of(source):
        layer = layer_of(found.dotted)
        if layer is not None and LAYERS.index(layer) > LAYERS.index(own):
            yield f"{source.path}:{found.line}: {own} imports {found.dotted}, a layer above it"


def unprefixed_imports(source: Source) -> Iterator[str]:
    """Imports of our folders by their bare names, which would make a second copy of the module."""
    for found in imports_of(source):
        top = found.module.partition(".")[0]
        if top in LAYERS:
            yield f"{source.path}:{found.line}: import {found.module} without the forebay. prefix"


def role_of(dotted: str) -> str | None:
    """The role folder that a dotted name lies in, if any."""
    parts = dotted.split(".")
    is_role = len(parts) > 2 and parts[:2] == ["forebay", "actors"] and parts[2] in ROLES
    return parts[2] if is_role else None


def model_imports_of_roles(source: Source) -> Iterator[str]:
    """Imports of a role by the actor model (`actors/*.py`), which must stand without any."""
    for found in imports_of(source):
        if role_of(found.dotted) is not None:
            yield f"{source.path}:{found.line}: the actor model imports the role {found.dotted}"


def actor_classes(sources: Iterable[Source]) -> set[str]:
    """Dotted names of the roles' classes that descend from Actor, through however many of ours."""
    bases: dict[str, set[str]] = {}
    for source in sources:
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef):
                bases[f"{source.module}.{node.name}"] = {_base_name(b) for b in node.bases}
    actors = {"Actor"}
    found: set[str] = set()
    while more := {n for n, parents in bases.items() if n not in found and parents & actors}:
        found |= more
        actors |= {name.rpartition(".")[2] for name in more}
    return {name for name in found if role_of(name) is not None}


def _base_name(base: ast.expr) -> str:
    if isinstance(base, ast.Subscript):
        base = base.value
    return base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")


def role_trespasses(source: Source, actors: set[str]) -> Iterator[str]:
    """Imports by which a role would reach another role otherwise than through its messages.

    From another role's folder only `messages` may be imported; within a folder anything but an
    Actor class or a module that defines one. A folder's `__init__` may re-export its own classes.
    """
    assert source.module is not None
    own = role_of(source.module)
    for found in imports_of(source):
        role = role_of(found.dotted)
        if role is None or source.module == found.module:
            continue
        if role != own:
            messages = f"forebay.actors.{role}.messages"
            if messages not in (found.module, found.dotted):
                yield f"{source.path}:{found.line}: {found.dotted} is not one of {role}'s messages"
        elif not source.is_package and _reaches_actor(found, actors):
            yield f"{source.path}:{found.line}: {found.dotted} is or holds another role"


def _reaches_actor(found: Import, actors: set[str]) -> bool:
    defining = {name.rpartition(".")[0] for name in actors}
    folder = ".".join(found.module.split(".")[:3])
    named = {name.rpartition(".")[2] for name in actors if name.startswith(f"{folder}.")}
    return found.name in named or found.dotted in defining or found.name == "*"
