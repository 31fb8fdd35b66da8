"""What the documentation shows is what the code does: its blocks run, its links lead somewhere."""

import re
from pathlib import Path

import pytest
from support.snippets import Snippet, failure_of, snippets_of
from support.sources import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")


def broken_links(markdown: str, folder: Path) -> list[str]:
    return [link for link in LINK.findall(markdown) if not (folder / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_code_block_runs(page, tmp_path):
    failures = [
        f"{page.name}:{snippet.line}: {failure}"
        for snippet in snippets_of(page.read_text())
        if (failure := failure_of(snippet, tmp_path)) is not None
    ]
    assert failures == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page):
    assert broken_links(page.read_text(), page.parent) == []


def test_a_link_to_nothing_is_found(tmp_path):
    assert broken_links("[a](gone.md#part) [b](https://example.org) [c](.)", tmp_path) == ["gone.md"]


MARKDOWN = """
```python
print(1)
```

<!-- not run: needs a server -->

```python
connect()
```

- in a list:

  ```yaml
  a: 1
  ```

```sh
make demo
```
"""


def test_blocks_are_found_with_their_line_and_the_excused_ones_are_not():
    assert list(snippets_of(MARKDOWN)) == [
        Snippet("python", 3, "print(1)\n"),
        Snippet("yaml", 15, "a: 1\n"),
    ]


def test_an_excuse_without_a_reason_excuses_nothing():
    assert list(snippets_of("<!-- not run: -->\n```python\nx\n```\n")) == [Snippet("python", 3, "x\n")]


def test_a_block_that_fails_is_reported_with_what_it_said(tmp_path):
    failure = failure_of(Snippet("python", 1, "import forebay\nprint(missing)\n"), tmp_path)
    assert failure is not None
    assert failure.endswith("NameError: name 'missing' is not defined")


def test_a_block_that_only_warns_is_reported(tmp_path):
    text = "import warnings\nwarnings.warn('old', DeprecationWarning)\n"
    assert "DeprecationWarning: old" in (failure_of(Snippet("python", 1, text), tmp_path) or "")


def test_a_configuration_with_an_unknown_key_is_reported(tmp_path):
    failure = failure_of(Snippet("yaml", 1, "no_such_key: 1\n"), tmp_path)
    assert failure is not None
    assert "no_such_key" in failure
