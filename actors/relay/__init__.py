"""The relay of one topic: from the log to the queue. Roles: topic_lock, and under its term rate_limiter, kafka_connection,
redis_writer and one partition_consumer per partition. A role keeps its name on every backend.
"""
