"""Notices a hub that is dead, from a second device, and tells people by SMS."""
