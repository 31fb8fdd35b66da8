"""The rules of the architecture, each with a bad sample that shows that its check can fail.

Layers and the prefix rule keep the tree readable by folder; roles that meet only through messages
are what makes an actor restartable by itself (A1, A3).
"""

import subprocess
import sys
import tomllib

import pytest
from support import imports, rules
from support.sources import (
    ROOT,
    all_sources,
    layer_folders,
    module_name,
    package_folders,
    package_sources,
    parse,
    tracked_texts,
)

# The only places that may catch everything, as `file::function`: where a child's end becomes a
# value, and around the call of a user's job handler.
ALLOWED_BROAD_CATCHES = {"actors/process.py::ActorProcess.outcome", "actors/work/handling.py::run_handler"}


def sample(text: str, module: str, package: bool = False):
    path = module.removeprefix("forebay.").replace(".", "/") + ("/__init__.py" if package else ".py")
    return parse(path, text, module)


# ----------------------------------------------------------------------------------------- packages


def test_every_folder_with_an_init_is_a_package_of_pyproject():
    found = {
        path.parent.relative_to(ROOT).as_posix()
        for folder in layer_folders()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert found == set(package_folders().values())


def test_every_mapped_package_is_shipped_and_named_after_its_folder():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(pyproject["tool"]["setuptools"]["packages"]) == set(package_folders())
    for package, folder in package_folders().items():
        assert module_name(ROOT / folder / "__init__.py") == package


def test_every_python_file_of_the_layers_lies_in_a_package():
    packages = set(package_folders().values())
    strays = [s.path for s in package_sources() if s.path.rpartition("/")[0] not in packages]
    assert strays == []


# ------------------------------------------------------------------------------------------- layers


def test_no_layer_imports_from_one_above_it():
    assert [p for source in package_sources() for p in imports.upward_imports(source)] == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("forebay.jobs.ids", "from forebay.config import Config"),
        ("forebay.jobs.ids", "import forebay.backends.ports"),
        ("forebay.config.values", "from forebay import backends"),
        ("forebay.backends.ports", "def f():\n    from forebay.actors import Actor"),
        ("forebay.actors.mailbox", "from ..supervisors.spec import ChildSpec"),
        ("forebay.supervisors.tree", "if TYPE_CHECKING:\n    from forebay.scenarios import Trace"),
        ("forebay.scenarios.loop", "from forebay.cli import main"),
        ("forebay.scenarios.loop", "import forebay"),
    ],
)
def test_an_upward_import_is_found(module, text):
    assert len(list(imports.upward_imports(sample(text, module)))) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("forebay.backends.sqlite.log", "from forebay.backends.ports import Log"),
        ("forebay.actors.relay.writer", "from forebay.jobs import RetryPolicy"),
        ("forebay.cli", "from forebay import scenarios, supervisors"),
        ("forebay.jobs.ids", "import config_free_library"),
    ],
)
def test_a_downward_import_is_not_reported(module, text):
    assert list(imports.upward_imports(sample(text, module))) == []


def test_the_actor_model_imports_no_role():
    model = [s for s in package_sources() if s.path.rpartition("/")[0] == "actors"]
    assert model
    assert [p for source in model for p in imports.model_imports_of_roles(source)] == []


@pytest.mark.parametrize(
    "text",
    [
        "from forebay.actors.relay import messages",
        "from forebay.actors import gate",
        "from .work.slot import Slot",
    ],
)
def test_a_role_imported_by_the_model_is_found(text):
    assert list(imports.model_imports_of_roles(sample(text, "forebay.actors.context")))


# ------------------------------------------------------------------------------------------- prefix


def test_our_folders_are_imported_with_the_prefix_everywhere():
    assert [p for source in all_sources() for p in imports.unprefixed_imports(source)] == []


@pytest.mark.parametrize("text", ["import actors", "from jobs import job", "import config.values as v"])
def test_an_import_without_the_prefix_is_found(text):
    assert len(list(imports.unprefixed_imports(parse("tests/unit/test_x.py", text)))) == 1


# -------------------------------------------------------------------------------------------- roles


def test_roles_reach_each_other_only_through_messages():
    sources = [s for s in package_sources() if s.path.startswith("actors/")]
    actors = imports.actor_classes(sources)
    roles = [s for s in sources if s.module is not None and imports.role_of(s.module)]
    assert [p for source in roles for p in imports.role_trespasses(source, actors)] == []


WRITER = sample(
    "class Base(Actor[Message]): ...\nclass RedisWriter(Base): ...\nclass Batch: ...",
    "forebay.actors.relay.writer",
)


def test_actor_classes_are_found_through_their_ancestors():
    assert imports.actor_classes([WRITER]) == {
        "forebay.actors.relay.writer.Base",
        "forebay.actors.relay.writer.RedisWriter",
    }


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("forebay.actors.work.slot", "from forebay.actors.relay.writer import Batch"),
        ("forebay.actors.work.slot", "from forebay.actors import relay"),
        ("forebay.actors.relay.consumer", "from forebay.actors.relay.writer import RedisWriter"),
        ("forebay.actors.relay.consumer", "from forebay.actors.relay import RedisWriter"),
        ("forebay.actors.relay.consumer", "from forebay.actors.relay import writer"),
        ("forebay.actors.relay.consumer", "import forebay.actors.relay.writer"),
        ("forebay.actors.relay.consumer", "from .writer import *"),
    ],
)
def test_a_role_that_reaches_into_another_is_found(module, text):
    actors = imports.actor_classes([WRITER])
    assert len(list(imports.role_trespasses(sample(text, module), actors))) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("forebay.actors.work.slot", "from forebay.actors.relay.messages import BatchWritten"),
        ("forebay.actors.work.slot", "from forebay.actors.relay import messages"),
        ("forebay.actors.relay.consumer", "from forebay.actors.relay.writer import Batch"),
        ("forebay.actors.relay.consumer", "from forebay.actors import Actor"),
    ],
)
def test_messages_and_helpers_may_be_imported_by_roles(module, text):
    actors = imports.actor_classes([WRITER])
    assert list(imports.role_trespasses(sample(text, module), actors)) == []


def test_a_role_folder_may_re_export_its_own_actors():
    init = sample("from forebay.actors.relay.writer import RedisWriter", "forebay.actors.relay", package=True)
    assert list(imports.role_trespasses(init, imports.actor_classes([WRITER]))) == []


# ------------------------------------------------------------------------------------ broad catches


def test_everything_is_caught_only_where_allowed_and_every_allowance_is_used():
    found = [place for source in all_sources() for place in rules.broad_catches(source)]
    assert sorted(found) == sorted(ALLOWED_BROAD_CATCHES)
    assert len(ALLOWED_BROAD_CATCHES) <= 2


@pytest.mark.parametrize(
    "clause",
    [
        "except:",
        "except Exception:",
        "except (OSError, BaseException) as e:",
        "except* builtins.Exception:",
    ],
)
def test_a_broad_except_is_found_with_its_place(clause):
    text = f"class Runner:\n  async def run(self):\n    try: ...\n    {clause} ..."
    assert rules.broad_catches(parse("actors/x.py", text)) == ["actors/x.py::Runner.run"]


def test_a_broad_suppress_is_found_and_a_narrow_one_is_not():
    text = "with contextlib.suppress(OSError, Exception): ...\nwith suppress(OSError): ..."
    assert rules.broad_catches(parse("actors/x.py", text)) == ["actors/x.py::"]


def test_a_narrow_except_is_not_reported():
    assert rules.broad_catches(parse("x.py", "try:\n    ...\nexcept (OSError, ValueError):\n    ...")) == []


# ------------------------------------------------------------------------------------- banned calls


def test_ruff_reports_every_banned_call_in_the_runtime():
    """The ban itself is ruff's (TID251, part of `make lint`); this shows that it is in force for
    every name.
    """
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    banned = pyproject["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    modules = sorted({name.partition(".")[0] for name in banned})
    text = "".join(f"import {m}\n" for m in modules) + "".join(f"print({name})\n" for name in banned)
    command = [sys.executable, "-m", "ruff", "check", "--select=TID251", "--output-format=concise"]
    run = subprocess.run(
        [*command, "--stdin-filename=actors/sample.py", "-"],
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    missed = [name for name in banned if f"`{name}` is banned" not in run.stdout]
    assert missed == []


# --------------------------------------------------------------------------------------- size, text


def test_files_and_functions_stay_small():
    assert [p for source in all_sources() for p in rules.too_long(source)] == []


def test_a_long_file_and_a_long_function_are_found():
    text = "def f():\n" + "    x = 1\n" * rules.MAX_FUNCTION + "y = 1\n" * rules.MAX_FILE
    assert len(list(rules.too_long(parse("x.py", text)))) == 2


def test_a_file_and_a_function_at_the_limit_are_not_reported():
    text = "def f():\n" + "    x = 1\n" * (rules.MAX_FUNCTION - 1) + "\n"
    text += "y = 1\n" * (rules.MAX_FILE - rules.MAX_FUNCTION)
    assert list(rules.too_long(parse("x.py", text))) == []


def test_nothing_is_marked_as_unfinished():
    found = [m for path, text in tracked_texts() for m in rules.matches(rules.UNFINISHED, path, text)]
    assert found == []


def test_no_tracked_file_names_a_local_path():
    found = [m for path, text in tracked_texts() for m in rules.matches(rules.LOCAL_PATH, path, text)]
    assert found == []


@pytest.mark.parametrize("line", ["# TO" + "DO: later", "x = 1  # FIX" + "ME", "X" + "XX"])
def test_an_unfinished_mark_is_found(line):
    assert list(rules.matches(rules.UNFINISHED, "x.py", line))


@pytest.mark.parametrize("line", ["see /wo" + "rk/notes", "cd '/ho" + "me/me'", "/Use" + "rs/me/x"])
def test_a_local_path_is_found(line):
    assert list(rules.matches(rules.LOCAL_PATH, "x.md", line))


@pytest.mark.parametrize("line", ["actors/work/slot.py", "./work/x", "http://host/home", "{gate}/work/x"])
def test_paths_inside_the_project_are_not_reported(line):
    assert list(rules.matches(rules.LOCAL_PATH, "x.md", line)) == []
