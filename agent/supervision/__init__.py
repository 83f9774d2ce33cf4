"""What keeps the processes of a device alive: supervisord, rendered from agent.toml, and the watchdog beside it."""
