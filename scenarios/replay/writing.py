"""A scenario as YAML text that reads back to the same scenario."""

from __future__ import annotations

from typing import Any

import yaml
from attrs import evolve

from forebay.config.kinds import Section
from forebay.config.plain import plain_of
from forebay.scenarios.replay.amounts import drawn
from forebay.scenarios.replay.schema import Fault, Scenario
from forebay.scenarios.replay.verbs import VERBS


def plain_scenario(scenario: Scenario) -> dict[str, Any]:
    """The scenario as mappings, lists and scalars; what has its default is left out."""
    plain: Any = plain_of(Section(Scenario), evolve(scenario, faults=()), defaults=False)
    if scenario.faults:
        plain["faults"] = [_plain_fault(fault) for fault in scenario.faults]
    return dict(plain)


def scenario_yaml(scenario: Scenario) -> str:
    """The scenario as a YAML file's text."""
    return yaml.safe_dump(plain_scenario(scenario), sort_keys=False, allow_unicode=True, width=120)


def _plain_fault(fault: Fault) -> dict[str, Any]:
    plain: Any = plain_of(Section(Fault), fault, defaults=False)
    verb = VERBS[fault.do]
    return {**plain, **{name: drawn(verb.args[name].kind).show(amount) for name, amount in fault.args.items()}}
