"""A camera: motion in a region of interest, and clips that stay on the device."""
