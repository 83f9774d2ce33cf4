"""The process ``uplink``: local bus, spool, and the only connection to our broker."""
