"""One site per adapter and test: `site` is parametrised by the module's `ADAPTERS`. Simulated ones get a virtual loop."""

import pytest
from support.relay import Term

from forebay.scenarios.loop import loop_factory

LOOP = "_asyncio_loop_factory"  # pytest-asyncio's own hook chooses a loop for a test before it has its parameters


def pytest_generate_tests(metafunc):
    if "site" in metafunc.fixturenames:
        adapters = metafunc.module.ADAPTERS
        virtual = loop_factory()
        values = [(opener, virtual if getattr(opener, "virtual", False) else None) for opener in adapters.values()]
        metafunc.fixturenames.append(LOOP)
        metafunc.parametrize(("opener", LOOP), values, ids=adapters, indirect=[LOOP], scope="function")


@pytest.fixture
def place(opener, tmp_path, request):
    """Where a site stands: in a folder of its own, or on the servers that its opener needs, which the whole run shares."""
    needs = getattr(opener, "needs", None)
    return request.getfixturevalue(needs) if needs else tmp_path / "data"


@pytest.fixture
async def site(opener, place, request):
    async with opener(place) as opened:
        if reason := getattr(opened, "lacks", {}).get(request.node.originalname):
            pytest.skip(reason)
        yield opened


@pytest.fixture
def queue(site):
    """The queue of the site."""
    return site.port


@pytest.fixture
async def term(queue):
    """A term that has begun in the queue."""
    return await Term(queue).begin()
