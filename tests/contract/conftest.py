"""One site per adapter and test: `site` is parametrised by the module's `ADAPTERS`."""

import pytest


def pytest_generate_tests(metafunc):
    if "site" in metafunc.fixturenames:
        metafunc.parametrize("opener", metafunc.module.ADAPTERS.values(), ids=metafunc.module.ADAPTERS)


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
