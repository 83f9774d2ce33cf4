"""Motion detectors: on input pins, or behind a board that prints their names on a serial line."""
