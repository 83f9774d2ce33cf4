"""How light it is: a sensor on the kernel's IIO bus, or a board that prints it on a serial line, and is it dark."""
