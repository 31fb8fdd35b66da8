"""The workers of one process. Roles: lease_keeper, worker_slot, dispatcher, scheduler, reaper."""
