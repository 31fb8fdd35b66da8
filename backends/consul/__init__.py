"""Coordination on Consul: sessions, locks and blocking queries over its HTTP interface."""

from forebay.backends.consul.coordination import ConsulCoordination

__all__ = ["ConsulCoordination"]
