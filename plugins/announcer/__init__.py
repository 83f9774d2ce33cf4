"""Speech: announcements through a text-to-speech program and ALSA, one at a time."""
