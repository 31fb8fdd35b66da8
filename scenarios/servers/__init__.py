"""Real servers for tests and scenarios: Redis, Consul and Kafka as processes on loopback ports, gotten from packages."""

from forebay.scenarios.servers.consul_server import ConsulServer
from forebay.scenarios.servers.kafka_cluster import KafkaBroker, KafkaCluster, KafkaController
from forebay.scenarios.servers.program import CannotGet, Program
from forebay.scenarios.servers.programs import KINDS, find, get
from forebay.scenarios.servers.proxy import Losses, Proxy
from forebay.scenarios.servers.redis_server import RedisServer, RedisServers
from forebay.scenarios.servers.server import Server, ServerFailed
from forebay.scenarios.servers.servers import Servers, alone, status, stop

__all__ = [
    "KINDS",
    "CannotGet",
    "ConsulServer",
    "KafkaBroker",
    "KafkaCluster",
    "KafkaController",
    "Losses",
    "Program",
    "Proxy",
    "RedisServer",
    "RedisServers",
    "Server",
    "ServerFailed",
    "Servers",
    "alone",
    "find",
    "get",
    "status",
    "stop",
]
