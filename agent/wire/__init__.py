"""What crosses MQTT (DESIGN section 3): topics, records, messages and fault codes. The hub sees this and no more."""
