"""One demand output for a central boiler, from all heaters."""
