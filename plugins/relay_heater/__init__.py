"""A heater behind a relay: calendars, levels, overrides that end, and a guard that has the last word."""
