"""Night light by luminosity, with the sun as its fallback."""
