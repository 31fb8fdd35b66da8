"""Scenarios: a failure as a file, replayed on the simulation."""
