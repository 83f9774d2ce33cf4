"""Sub-GHz radio units (MUTA) behind a USB operator or a serial gateway."""
