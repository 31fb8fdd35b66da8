"""The gate: HTTP in front of the log. Roles: producer, http_server."""
