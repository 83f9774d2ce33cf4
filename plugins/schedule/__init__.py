"""What is to be announced, and when: the time, reminders of calendars, a hello."""
