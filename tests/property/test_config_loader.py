"""The loader answers any text with a configuration or a `ConfigError`, never with a crash."""

import attrs
import yaml
from hypothesis import given
from hypothesis import strategies as st

from forebay.config import Config, ConfigError, from_mapping, load

KEYS = [field.name for field in attrs.fields(Config)] + ["url", "port", "name", "main", "slots"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.dates()
    | st.binary(max_size=4)
    | st.sampled_from(["${A}", "${B:-x}", "${", "sqlite:", "5s", "4MiB", "9/s", "jobs", "off"])
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)
TOP = st.dictionaries(st.sampled_from(KEYS), TREES, max_size=6)
MARKS = [": ", "\n", "  ", "- ", "{", "}", "[", "]", ", ", "&a ", "*a", "'", '"', "|", "<<: ", "? "]
TAGS = ["!!int ", "!!float ", "!!bool ", "!!timestamp ", "!x ", "---\n", "...\n", "# ", "%YAML 9"]
ODD = ["0x_", "1:99:1", ".inf", "0b", "~", "=", "1_0", "2024-02-31", "\\ud800", "\x85", "\t"]
PIECES = st.sampled_from([*KEYS, *MARKS, *TAGS, *ODD])


def answers(call):
    outcome = config_or_error(call)
    if isinstance(outcome, Config):
        assert outcome.describe()
        return
    assert outcome.problems
    assert all(problem.found and problem.want for problem in outcome.problems)
    assert str(outcome)


def config_or_error(call):
    try:
        return call()
    except ConfigError as error:
        return error


@given(st.lists(PIECES | st.text(max_size=3), max_size=25).map("".join))
def test_any_text_is_answered(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "replace"))
    answers(lambda: load(path, {"A": "5"}))


@given(st.binary(max_size=50))
def test_any_bytes_are_answered(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    answers(lambda: load(path, {}))


@given(TOP)
def test_any_yaml_of_known_keys_is_answered(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(yaml.safe_dump(tree).encode("utf-8", "replace"))
    answers(lambda: load(path, {"A": "5"}))


@given(TOP)
def test_any_mapping_is_answered(tree):
    answers(lambda: from_mapping(tree, environ={"A": "5"}))
