"""Water meter: pulses of a reed or optical head to litres, flow, and leaks."""
