"""Is the mains there: by an input pin, or by what NUT's upsd says of the UPS."""
