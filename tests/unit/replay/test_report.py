"""The report is one page that needs nothing else (issue: opens offline)."""

import json
from html.parser import HTMLParser

from attrs import evolve
from support.toy_stage import played, scenario

from forebay.scenarios.replay.counts import counted
from forebay.scenarios.replay.evidence import Evidence
from forebay.scenarios.replay.report import report_html
from forebay.scenarios.replay.verdict import Verdict

FAULTS = [
    {"id": "one", "do": "host.kill", "host": "a", "at": "5s", "lasts": "20s"},
    {"id": "two", "do": "host.kill", "host": "b", "at": "5s", "lasts": "20s"},
]


class Page(HTMLParser):
    """Tags that are open at the end, and every attribute that could lead out of the page."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "line", "polyline"}:
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href", "xlink:href"}]

    def handle_startendtag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in {"src", "href", "xlink:href"}]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def page_of_a_failure():
    toy = scenario(faults=FAULTS, about="<b>&")
    stage, broken = played(toy, bug=True)
    verdict = Verdict("toy", 0, False, tuple(broken), counted(stage.seen), "d" * 64, None, tuple(stage.seen.bites), 100.0)
    return stage, report_html(verdict, stage.seen, toy, "forebay scenario run toy.yaml --seed 0")


def test_a_failed_run_is_shown_with_what_broke_what_was_done_and_who_was_lost():
    stage, html = page_of_a_failure()
    page = Page()
    page.feed(html)
    text = " ".join(page.text)
    lost = stage.seen.unended()
    assert page.open == []
    assert "failed" in text
    assert "nothing-lost" in text
    assert lost[0] in text
    assert f"Lost: {len(lost)}" in text
    assert "host.kill host=a at 5.000 s" in text
    assert "forebay scenario run toy.yaml --seed 0" in text
    assert "about: <b>&" in text  # escaped: it is text
    assert "<b>&" in page.text  # and at the top, by itself


def test_it_asks_the_network_for_nothing():
    _, html = page_of_a_failure()
    page = Page()
    page.feed(html)
    assert page.links == []
    assert "<script" not in html
    assert "url(" not in html
    assert "http" not in html


def test_a_verdict_says_what_it_was_on_and_why_real_servers_have_no_digest():
    simulated = Verdict("toy", 0, True, (), {"accepted": 1}, "d" * 64, 1.5, (), 20.0)
    real = evolve(simulated, on="real", digest=None)
    assert str(simulated).splitlines()[0] == "passed  toy  seed 0  20 s of virtual time"
    assert str(simulated).splitlines()[-1] == f"  digest {'d' * 16}"
    assert str(real).splitlines()[0] == "passed  toy  seed 0  20 s on real servers"
    assert str(real).splitlines()[-1] == "  no digest: real time is never twice the same"
    told = json.loads(real.to_json())
    assert told.keys() == json.loads(simulated.to_json()).keys()
    assert (told["on"], told["digest"]) == ("real", None)
    page = report_html(real, Evidence(), scenario(), "forebay scenario run toy --on real --seed 0")
    assert "20 s on real servers" in page
    assert "no digest" in page
