"""docs/semantics.md: each rule names the tests that hold it, and they exist."""

import ast
import re

import pytest
from support.sources import ROOT

TEXT = (ROOT / "docs" / "semantics.md").read_text()
RULES = dict(re.findall(r"^- \*\*([A-Z]\d+)\*\* (.*?)(?=^- \*\*|^#|\Z)", TEXT, re.DOTALL | re.MULTILINE))
TEST = re.compile(r"`((?:unit|property|contract|scenario|integration)/[\w/]+\.py)::(\w+)`")


def named_tests():
    return sorted(set(TEST.findall(TEXT)))


def test_the_rules_are_numbered_without_gaps():
    numbers = {}
    for rule in RULES:
        numbers.setdefault(rule[0], []).append(int(rule[1:]))
    assert numbers.keys() == set("ODRSCTJM")
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_names_a_test(rule):
    assert TEST.search(RULES[rule]) or "(machine" in RULES[rule]


@pytest.mark.parametrize(("file", "name"), named_tests())
def test_each_test_that_is_named_exists(file, name):
    tree = ast.parse((ROOT / "tests" / file).read_text())
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assigned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    assert name in defined | assigned  # a state machine's test is an assigned class
