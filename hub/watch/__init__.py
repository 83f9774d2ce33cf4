"""The hub's half of the watchdog: machines, services, the path from a sensor to a message, and the hub itself."""
