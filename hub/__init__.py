"""The hub: keeps what the agents report without losing a sample, and shows it."""
