"""The verbs that work on real servers too, with what does and undoes each; their words are those of `replay.verbs`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

from forebay.scenarios.real import consul_acts, host_acts, kafka_acts, redis_acts

Act = Callable[[Any, Mapping[str, Any]], "bool | Awaitable[bool | None] | None"]


@frozen
class RealVerb:
    """`begin` returns False where it changed nothing; `end` undoes it."""

    begin: Act = field(repr=False)
    end: Act | None = field(default=None, repr=False)


REAL_VERBS: Final[Mapping[str, RealVerb]] = {
    "host.kill": RealVerb(host_acts.kill_host, host_acts.start_host),
    "host.stop": RealVerb(host_acts.stop_host, host_acts.start_host),
    "host.restart": RealVerb(host_acts.restart_host),
    "host.pause": RealVerb(host_acts.pause_host, host_acts.resume_host),
    "kafka.broker.kill": RealVerb(kafka_acts.kill_broker, kafka_acts.start_broker),
    "kafka.broker.stop": RealVerb(kafka_acts.stop_broker, kafka_acts.start_broker),
    "kafka.zone.kill": RealVerb(kafka_acts.kill_zone, kafka_acts.start_zone),
    "kafka.zone.stop": RealVerb(kafka_acts.stop_zone, kafka_acts.start_zone),
    "kafka.kill": RealVerb(kafka_acts.kill_brokers, kafka_acts.start_brokers),
    "kafka.stop": RealVerb(kafka_acts.stop_brokers, kafka_acts.start_brokers),
    "kafka.cut": RealVerb(kafka_acts.cut_kafka, kafka_acts.mend_kafka),
    "kafka.latency": RealVerb(kafka_acts.slow_kafka, kafka_acts.quicken_kafka),
    "consul.cut": RealVerb(consul_acts.cut_consul, consul_acts.mend_consul),
    "consul.down": RealVerb(consul_acts.down_consul, consul_acts.up_consul),
    "consul.lock.free": RealVerb(consul_acts.free_lock),
    "consul.lock.delete": RealVerb(consul_acts.delete_lock),
    "consul.wipe": RealVerb(consul_acts.wipe_consul),
    "consul.latency": RealVerb(consul_acts.slow_consul, consul_acts.quicken_consul),
    "redis.kill": RealVerb(redis_acts.kill_redis, redis_acts.start_redis),
    "redis.wipe": RealVerb(redis_acts.wipe_redis),
    "redis.flush": RealVerb(redis_acts.flush_redis),
    "redis.failover": RealVerb(redis_acts.fail_over),
    "redis.limit": RealVerb(redis_acts.limit_memory, redis_acts.unlimit_memory),
    "redis.cut": RealVerb(redis_acts.cut_redis, redis_acts.mend_redis),
    "redis.latency": RealVerb(redis_acts.slow_redis, redis_acts.quicken_redis),
    "redis.replies.drop": RealVerb(redis_acts.drop_replies),
    "jobs.slow": RealVerb(host_acts.slow_downstream, host_acts.quicken_downstream),
    "jobs.fail": RealVerb(host_acts.break_downstream, host_acts.mend_downstream),
}
