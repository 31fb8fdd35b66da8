"""Ports for log, queue, coordination and clock, and the adapters behind them."""
