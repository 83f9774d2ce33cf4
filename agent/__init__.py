"""The agent: what runs on every device. Two narrow necks: `agent.api` (plugins) and `agent.wire` (hub)."""

__version__ = "0.1.0"
