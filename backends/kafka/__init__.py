"""The log on Apache Kafka."""

from forebay.backends.kafka.connection import KafkaLogConnection
from forebay.backends.kafka.log import KafkaLog

__all__ = ["KafkaLog", "KafkaLogConnection"]
