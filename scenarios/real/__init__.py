"""Scenarios on real servers: the second stage, on a fleet of `forebay run` processes with Kafka, Redis and Consul."""
