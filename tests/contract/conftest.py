"""One site per adapter and test: `site` is parametrised by the module's `ADAPTERS`."""

import pytest


def pytest_generate_tests(metafunc):
    if "site" in metafunc.fixturenames:
        metafunc.parametrize("opener", metafunc.module.ADAPTERS.values(), ids=metafunc.module.ADAPTERS)


@pytest.fixture
async def site(opener, tmp_path, request):
    async with opener(tmp_path / "data") as opened:
        if reason := getattr(opened, "lacks", {}).get(request.node.originalname):
            pytest.skip(reason)
        yield opened
