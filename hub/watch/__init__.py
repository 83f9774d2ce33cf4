"""The hub's half of the watchdog: every machine and service by its progress, the canary, the dead man's ping."""
