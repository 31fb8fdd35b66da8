"""The list of living instances, kept on a real Consul (R13)."""

from contextlib import asynccontextmanager

from support.live import eventually

from forebay.actors.process import Limits
from forebay.actors.relay.membership import Membership
from forebay.actors.relay.ranking import INSTANCES, Ranking
from forebay.backends.consul.coordination import ConsulCoordination
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, SupervisorSpec

TTL = 1.0


@asynccontextmanager
async def coordination_at(url):
    coordination = ConsulCoordination(url)
    await coordination.start()
    try:
        yield coordination
    finally:
        await coordination.stop()


def instance(coordination, name):
    def membership():
        return Membership(coordination=coordination, instance=name, ttl=TTL)

    return Runtime(SupervisorSpec(children=[ChildSpec("membership", membership, limits=Limits(shutdown=2.0))]))


async def test_instances_are_listed_with_sessions_come_back_and_sign_off(consul_server):
    async with coordination_at(consul_server.url) as coordination:

        async def living(*names):
            entries = await coordination.under(INSTANCES)
            return [entry.value.decode() for entry in entries if entry.session] == list(names)

        async with instance(coordination, "a"):
            async with instance(coordination, "b"):
                await eventually(lambda: living("a", "b"))
                delays = [await Ranking(coordination, name, 1.0).delay("jobs") for name in ("a", "b")]
                assert sorted(delays) == [0.0, 1.0]
                lost = await coordination.get(INSTANCES + "a")
                await coordination.destroy_session(lost.session)
                await eventually(lambda: living("a", "b"))
                assert (await coordination.get(INSTANCES + "a")).session != lost.session
            assert await living("a")
        assert list(await coordination.under(INSTANCES)) == []
