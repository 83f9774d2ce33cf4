"""SMS by a 3G or 4G stick: send, receive, commands with a one-time code, and a modem that heals itself."""
