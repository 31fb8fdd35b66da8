"""A whole system on one virtual loop: simulated services, and processes that can be killed, paused and set wrong."""
