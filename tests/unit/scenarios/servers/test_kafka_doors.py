"""A client can be given its own way to a broker: brokers name their addresses themselves (F2)."""

from forebay.scenarios.servers import KafkaBroker, Program
from forebay.scenarios.servers.state import State


def broker(folder):
    state = State.of(folder)
    state.give_ports(["kafka-controller", "kafka-2"])
    return KafkaBroker(2, Program(("java",), "4"), state, brokers=3, detached=False)


def test_a_broker_without_guests_has_one_listener(tmp_path):
    one = broker(tmp_path)
    assert one.properties()["listeners"] == f"PLAINTEXT://127.0.0.1:{one.port}"
    assert "advertised.listeners" not in one.properties()


def test_each_guest_has_a_listener_and_is_told_the_port_of_its_proxy(tmp_path):
    one = broker(tmp_path)
    doors = {guest: one.admit(guest) for guest in ("a", "b")}
    assert len({*doors.values(), one.port}) == 3
    assert one.admit("a") == doors["a"]
    one.guests |= {"a": 1111, "b": 2222}
    told = one.properties()
    own = f"PLAINTEXT://127.0.0.1:{one.port}"
    assert told["listeners"] == f"{own},GUEST0://127.0.0.1:{doors['a']},GUEST1://127.0.0.1:{doors['b']}"
    assert told["advertised.listeners"] == f"{own},GUEST0://127.0.0.1:1111,GUEST1://127.0.0.1:2222"
    assert told["inter.broker.listener.name"] == "PLAINTEXT"
    assert "GUEST1:PLAINTEXT" in told["listener.security.protocol.map"]
