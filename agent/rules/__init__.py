"""Rules: what is watched over readings, when that is an alarm, and what is done then. Pure: no I/O, no clock, no MQTT.

``model`` is a rule and its TOML, ``engine`` follows samples and time, ``defaults`` are the rules that are on by
themselves, ``dryrun`` is the same engine over stored samples. A rule has one home, the hub or a device.
"""
