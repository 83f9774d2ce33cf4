"""The Homie 5.0 tree of a device: ids, description, payloads. Pure: no clock, no network, no files."""
