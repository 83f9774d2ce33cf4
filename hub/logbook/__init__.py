"""The logbook: starts, reboots with their reason, commands, alerts, log lines from warning up, notes by people."""
