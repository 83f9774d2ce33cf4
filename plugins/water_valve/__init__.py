"""Main water valve: closed by a burst, opened by a person."""
