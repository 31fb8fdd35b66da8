"""What `from forebay import ...` gives, and what importing it costs."""

import ast
import inspect
import subprocess
import sys

import pytest

import forebay


def imports_for_type_checkers() -> dict[str, str]:
    tree = ast.parse(inspect.getsource(forebay))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {alias.name: node.module for node in block.body for alias in node.names}


def test_every_public_name_resolves_to_what_its_home_defines():
    for name in forebay.__all__:
        assert getattr(forebay, name) is not None, name


def test_what_a_type_checker_reads_is_what_a_program_gets():
    assert imports_for_type_checkers() == forebay._HOMES
    assert forebay.__all__ == sorted(forebay._HOMES)


def test_a_name_that_is_not_there_is_refused_with_advice():
    with pytest.raises(AttributeError, match="its names are in"):
        forebay.Supervisr  # noqa: B018


def test_the_names_are_listed_before_they_are_used():
    assert set(forebay.__all__) <= set(dir(forebay))


def test_a_module_of_handlers_loads_jobs_only():
    code = "from forebay import job; import sys; print(*(m for m in sys.modules if m.startswith('forebay.')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in loaded if not name.startswith("forebay.jobs")] == []
