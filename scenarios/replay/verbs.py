"""The table of verbs: everything that a scenario can do, with the simulation's method behind each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from forebay.scenarios.replay import acts
from forebay.scenarios.replay.verb import (
    AHEAD,
    BROKER,
    HOST,
    KEEP,
    LONGER,
    LOST,
    MEMORY,
    PARTITION,
    QUEUE,
    REPLIES,
    SHARE,
    TOPIC,
    ZONE,
    Verb,
)

VERBS: Final[Mapping[str, Verb]] = {
    # --- processes
    "host.kill": Verb(
        "A process dies as by kill -9; it is started again at the end.", acts.kill_host, acts.start_host, {"host": HOST}
    ),
    "host.stop": Verb(
        "A process is asked to stop, as by TERM; it is started again at the end.",
        acts.stop_host,
        acts.start_host,
        {"host": HOST},
    ),
    "host.restart": Verb(
        "A process stops in order and starts again at once, as in a deploy.", acts.restart_host, None, {"host": HOST}
    ),
    "host.pause": Verb(
        "A process stands still, as by STOP, and goes on at the end.", acts.pause_host, acts.resume_host, {"host": HOST}
    ),
    "host.skew": Verb("A host's wall clock is off by so many seconds.", acts.skew, acts.unskew, {"host": HOST, "by": AHEAD}),
    # --- Kafka
    "kafka.broker.kill": Verb("A broker dies hard.", acts.kill_broker, acts.start_broker, {"broker": BROKER}),
    "kafka.broker.stop": Verb("A broker leaves in order.", acts.stop_broker, acts.start_broker, {"broker": BROKER}),
    "kafka.broker.lag": Verb("A broker's copies follow no more.", acts.lag_broker, acts.catch_up, {"broker": BROKER}),
    "kafka.zone.kill": Verb("All brokers of a zone die hard.", acts.kill_zone, acts.start_zone, {"zone": ZONE}),
    "kafka.zone.stop": Verb("All brokers of a zone leave in order.", acts.stop_zone, acts.start_zone, {"zone": ZONE}),
    "kafka.kill": Verb("All brokers die hard.", acts.kill_brokers, acts.start_brokers),
    "kafka.stop": Verb("All brokers leave in order, one after the other.", acts.stop_brokers, acts.start_brokers),
    "kafka.unclean": Verb(
        "A replica that lacks records may lead where nobody else can.", acts.allow_unclean, acts.refuse_unclean
    ),
    "kafka.leader.move": Verb(
        "Another in-sync broker leads.", acts.move_leader, None, {"topic": TOPIC, "partition": PARTITION, "broker": BROKER}
    ),
    "kafka.forget": Verb(
        "Retention removes all but the newest records of a partition.",
        acts.forget,
        None,
        {"topic": TOPIC, "partition": PARTITION, "keep": KEEP},
    ),
    "kafka.cut": Verb("A host and the brokers cannot reach each other.", acts.cut_kafka, acts.mend_kafka, {"host": HOST}),
    "kafka.latency": Verb("Every trip takes longer.", acts.slow_kafka, acts.quicken_kafka, {"by": LONGER}),
    "kafka.answers.break": Verb(
        "A share of requests is carried out and never answered.", acts.break_answers, acts.mend_answers, {"share": SHARE}
    ),
    # --- Consul
    "consul.cut": Verb("A host and Consul cannot reach each other.", acts.cut_consul, acts.mend_consul, {"host": HOST}),
    "consul.down": Verb("All its servers die; what they know stays.", acts.down_consul, acts.up_consul),
    "consul.expire": Verb("Every session of a host lapses.", acts.expire, None, {"host": HOST}),
    "consul.lock.free": Verb("The session that holds a topic's lock lapses.", acts.free_lock, None, {"topic": TOPIC}),
    "consul.lock.delete": Verb("Somebody removes a topic's lock.", acts.delete_lock, None, {"topic": TOPIC}),
    "consul.wipe": Verb("It is set up anew: keys, sessions and the index are gone.", acts.wipe_consul),
    "consul.latency": Verb("Every trip takes longer.", acts.slow_consul, acts.quicken_consul, {"by": LONGER}),
    # --- Redis
    "redis.kill": Verb(
        "A Redis dies; what it had answered is on its disk.", acts.kill_redis, acts.start_redis, {"queue": QUEUE}
    ),
    "redis.wipe": Verb("An empty Redis stands in its place.", acts.wipe_redis, None, {"queue": QUEUE}),
    "redis.flush": Verb("All its data are removed while it runs.", acts.flush_redis, None, {"queue": QUEUE}),
    "redis.failover": Verb(
        "A replica takes over that lacks the newest writes.", acts.fail_over, None, {"queue": QUEUE, "lost": LOST}
    ),
    "redis.limit": Verb(
        "It may use only so much memory.", acts.limit_memory, acts.unlimit_memory, {"queue": QUEUE, "memory": MEMORY}
    ),
    "redis.cut": Verb(
        "A host and a Redis cannot reach each other.", acts.cut_redis, acts.mend_redis, {"queue": QUEUE, "host": HOST}
    ),
    "redis.latency": Verb(
        "Every message takes longer.", acts.slow_redis, acts.quicken_redis, {"queue": QUEUE, "by": LONGER}
    ),
    "redis.slow": Verb(
        "Every message between a host and a Redis takes longer.",
        acts.slow_way,
        acts.quicken_way,
        {"queue": QUEUE, "host": HOST, "by": LONGER},
    ),
    "redis.refuse": Verb(
        "It answers writes of a share of the jobs with an error.",
        acts.refuse_jobs,
        acts.accept_jobs,
        {"queue": QUEUE, "share": SHARE},
    ),
    "redis.replies.drop": Verb(
        "So many calls take effect and are never answered.", acts.drop_replies, None, {"queue": QUEUE, "replies": REPLIES}
    ),
    # --- what the handlers call: the slow database of the outage
    "jobs.slow": Verb(
        "Each run that begins takes so much longer.", acts.slow_downstream, acts.quicken_downstream, {"by": LONGER}
    ),
    "jobs.fail": Verb("Each run that begins ends with an error.", acts.break_downstream, acts.mend_downstream),
}
"""Every verb by name, in the order in which they are shown."""
