"""This machine itself: load, memory, disks, network, temperature, supply, boots."""
