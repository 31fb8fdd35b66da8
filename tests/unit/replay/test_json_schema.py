"""The JSON Schema says what the reader says, as far as a schema can (F1)."""

import json

import jsonschema
import pytest
from support.sources import ROOT
from support.toy_stage import BASE, scenario

from forebay.config import ConfigError
from forebay.scenarios.replay.json_schema import scenario_schema

FAULT = {"id": "kill", "do": "host.kill", "host": "a | b", "at": "5s..20s"}
VALID = jsonschema.Draft202012Validator(scenario_schema())


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(scenario_schema())


def test_the_file_in_docs_is_this_schema():
    assert json.loads((ROOT / "docs" / "scenario.schema.json").read_text()) == scenario_schema()


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"faults": [FAULT]},
        {"faults": [FAULT | {"at": 5, "lasts": "8s", "chance": "0%..50%", "times": "1 | 3"}]},
        {"topology": BASE["topology"] | {"topics": [{"name": "mail", "rate": "100/s"}], "gate": False}, "kafka": None},
        {"expect": {"counts": {"lost": {"most": 0}}, "recovery": "1m"}},
    ],
)
def test_what_the_reader_takes_it_takes(more):
    scenario(**more)
    VALID.validate(BASE | more)


@pytest.mark.parametrize(
    "more",
    [
        {"fault": []},
        {"format": "forebay-scenario/2"},
        {"workload": []},
        {"faults": [FAULT | {"do": "host.kil"}]},
        {"faults": [FAULT | {"queue": "main"}]},
        {"faults": [{key: value for key, value in FAULT.items() if key != "host"}]},
        {"faults": [FAULT | {"at": "soon"}]},
        {"invariants": {"always": ["zombie"]}},
        {"expect": {"counts": {"lots": {"most": 0}}}},
        {"topology": {"topic": []}},
    ],
)
def test_what_it_refuses_the_reader_refuses(more):
    assert not VALID.is_valid(BASE | more)
    with pytest.raises(ConfigError):
        scenario(**more)
