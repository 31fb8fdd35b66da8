"""What verbs do to the simulated world. Each returns whether it changed anything, or None where it always does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forebay.actors.relay.campaign import lock_key
from forebay.scenarios.replay.scene import Scene
from forebay.scenarios.simulation.consul import LATENCY as CONSUL_LATENCY
from forebay.scenarios.simulation.kafka import LATENCY as KAFKA_LATENCY
from forebay.scenarios.simulation.process import Being, HostGone
from forebay.scenarios.simulation.redis_data import EMPTY

Args = Mapping[str, Any]


# --- processes


def kill_host(scene: Scene, args: Args) -> bool:
    return scene.world.hosts[args["host"]].kill()


async def start_host(scene: Scene, args: Args) -> bool:
    """Start it unless it lives; it may be killed again while it starts."""
    try:
        return await scene.world.hosts[args["host"]].start()
    except HostGone:
        return False


async def stop_host(scene: Scene, args: Args) -> bool:
    host = scene.world.hosts[args["host"]]
    if host.being is not Being.RUNNING:
        return False
    try:
        await host.terminate()
    except HostGone:
        return False
    return True


async def restart_host(scene: Scene, args: Args) -> bool:
    return await stop_host(scene, args) and await start_host(scene, args)


def pause_host(scene: Scene, args: Args) -> bool:
    return scene.world.hosts[args["host"]].pause()


def resume_host(scene: Scene, args: Args) -> None:
    scene.world.hosts[args["host"]].resume()


def skew(scene: Scene, args: Args) -> bool:
    scene.world.hosts[args["host"]].skew(args["by"])
    return bool(args["by"])


def unskew(scene: Scene, args: Args) -> None:
    scene.world.hosts[args["host"]].skew(0.0)


# --- Kafka


def kill_broker(scene: Scene, args: Args) -> bool:
    ran = args["broker"] in scene.world.kafka.alive
    scene.world.kafka.kill(args["broker"])
    return ran


def stop_broker(scene: Scene, args: Args) -> bool:
    ran = args["broker"] in scene.world.kafka.alive
    scene.world.kafka.stop(args["broker"])
    return ran


def start_broker(scene: Scene, args: Args) -> None:
    scene.world.kafka.start(args["broker"])


def lag_broker(scene: Scene, args: Args) -> None:
    scene.world.kafka.lag(args["broker"])


def catch_up(scene: Scene, args: Args) -> None:
    scene.world.kafka.catch_up(args["broker"])


def kill_zone(scene: Scene, args: Args) -> bool:
    before = scene.world.kafka.alive
    scene.world.kafka.kill_zone(args["zone"])
    return scene.world.kafka.alive != before


def stop_zone(scene: Scene, args: Args) -> bool:
    before = scene.world.kafka.alive
    for broker in before:
        if scene.world.kafka.zones[broker] == args["zone"]:
            scene.world.kafka.stop(broker)
    return scene.world.kafka.alive != before


def start_zone(scene: Scene, args: Args) -> None:
    scene.world.kafka.start_zone(args["zone"])


def kill_brokers(scene: Scene, _: Args) -> bool:
    alive = scene.world.kafka.alive
    for broker in alive:
        scene.world.kafka.kill(broker)
    return bool(alive)


def stop_brokers(scene: Scene, _: Args) -> bool:
    alive = scene.world.kafka.alive
    for broker in alive:
        scene.world.kafka.stop(broker)
    return bool(alive)


def start_brokers(scene: Scene, _: Args) -> None:
    scene.world.kafka.start_all()


def allow_unclean(scene: Scene, _: Args) -> None:
    scene.world.kafka.set_unclean(True)


def refuse_unclean(scene: Scene, _: Args) -> None:
    scene.world.kafka.set_unclean(False)


def move_leader(scene: Scene, args: Args) -> bool:
    topic, partition, broker = args["topic"], args["partition"], args["broker"]
    return scene.world.kafka.leader(topic, partition) != broker and scene.world.kafka.move_leader(topic, partition, broker)


def forget(scene: Scene, args: Args) -> bool:
    """Remove all but the newest `keep` records; nothing where nobody leads."""
    partition = scene.world.kafka.partition(args["topic"], args["partition"])
    if partition.leader not in scene.world.kafka.alive:
        return False
    extent = partition.extent
    before = max(extent.start, extent.end - int(args["keep"]))
    scene.world.kafka.forget(args["topic"], args["partition"], before)
    return before > extent.start


def cut_kafka(scene: Scene, args: Args) -> None:
    scene.world.kafka.cut(args["host"])


def mend_kafka(scene: Scene, args: Args) -> None:
    scene.world.kafka.mend(args["host"])


def slow_kafka(scene: Scene, args: Args) -> None:
    scene.world.kafka.set_latency(args["by"])


def quicken_kafka(scene: Scene, _: Args) -> None:
    scene.world.kafka.set_latency(KAFKA_LATENCY)


def break_answers(scene: Scene, args: Args) -> bool:
    scene.world.kafka.break_answers(args["share"])
    return bool(args["share"])


def mend_answers(scene: Scene, _: Args) -> None:
    scene.world.kafka.break_answers(0.0)


# --- Consul


def cut_consul(scene: Scene, args: Args) -> None:
    scene.world.consul.cut(args["host"])


def mend_consul(scene: Scene, args: Args) -> None:
    scene.world.consul.mend(args["host"])


def down_consul(scene: Scene, _: Args) -> bool:
    was_up = scene.world.consul.is_up
    scene.world.consul.down()
    return was_up


def up_consul(scene: Scene, _: Args) -> None:
    scene.world.consul.up()


def expire(scene: Scene, args: Args) -> bool:
    return scene.world.consul.expire(args["host"]) > 0


def free_lock(scene: Scene, args: Args) -> bool:
    return scene.world.consul.free(lock_key(args["topic"]))


def delete_lock(scene: Scene, args: Args) -> bool:
    held = scene.world.consul.holder(lock_key(args["topic"])) is not None
    if scene.world.consul.is_up:
        scene.world.consul.delete(lock_key(args["topic"]))
    return held and scene.world.consul.is_up


def wipe_consul(scene: Scene, _: Args) -> None:
    scene.world.consul.wipe()


def slow_consul(scene: Scene, args: Args) -> None:
    scene.world.consul.set_latency(args["by"])


def quicken_consul(scene: Scene, _: Args) -> None:
    scene.world.consul.set_latency(CONSUL_LATENCY)


# --- what the handlers call


def slow_downstream(scene: Scene, args: Args) -> bool:
    scene.downstream.slower = args["by"]
    return bool(args["by"])


def quicken_downstream(scene: Scene, _: Args) -> None:
    scene.downstream.slower = 0.0


def break_downstream(scene: Scene, _: Args) -> None:
    scene.downstream.fails = True


def mend_downstream(scene: Scene, _: Args) -> None:
    scene.downstream.fails = False


# --- Redis


def kill_redis(scene: Scene, args: Args) -> bool:
    return scene.world.redis[args["queue"]].kill()


def start_redis(scene: Scene, args: Args) -> None:
    scene.world.redis[args["queue"]].start()


def wipe_redis(scene: Scene, args: Args) -> bool:
    """An empty one that answers, also where one was down."""
    return scene.world.redis[args["queue"]].wipe()


def flush_redis(scene: Scene, args: Args) -> bool:
    redis = scene.world.redis[args["queue"]]
    return redis.up and redis.flush()


def fail_over(scene: Scene, args: Args) -> bool:
    return scene.world.redis[args["queue"]].failover(args["lost"]) > 0


def limit_memory(scene: Scene, args: Args) -> None:
    scene.world.redis[args["queue"]].limit_memory(EMPTY + args["memory"])


def unlimit_memory(scene: Scene, args: Args) -> None:
    scene.world.redis[args["queue"]].limit_memory(0)


def cut_redis(scene: Scene, args: Args) -> None:
    scene.world.redis[args["queue"]].cut(args["host"])


def mend_redis(scene: Scene, args: Args) -> None:
    scene.world.redis[args["queue"]].mend(args["host"])


def slow_redis(scene: Scene, args: Args) -> None:
    scene.world.redis[args["queue"]].latency(args["by"])


def quicken_redis(scene: Scene, args: Args) -> None:
    scene.world.redis[args["queue"]].latency()


def slow_way(scene: Scene, args: Args) -> None:
    scene.world.redis[args["queue"]].slow(args["host"], args["by"])


def quicken_way(scene: Scene, args: Args) -> None:
    scene.world.redis[args["queue"]].slow(args["host"], 0.0)


def refuse_jobs(scene: Scene, args: Args) -> bool:
    scene.world.redis[args["queue"]].refuse_jobs(args["share"])
    return bool(args["share"])


def accept_jobs(scene: Scene, args: Args) -> None:
    scene.world.redis[args["queue"]].refuse_jobs(0.0)


def drop_replies(scene: Scene, args: Args) -> bool:
    scene.world.redis[args["queue"]].drop_replies(args["replies"])
    return bool(args["replies"])
