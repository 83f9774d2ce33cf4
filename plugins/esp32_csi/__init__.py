"""Motion (and the health of the link) from the Wi-Fi channel state that an ESP32 reports."""
