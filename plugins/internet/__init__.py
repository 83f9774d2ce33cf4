"""Is the internet there, and if not, which cable: several targets, the router, a sense for login pages."""
