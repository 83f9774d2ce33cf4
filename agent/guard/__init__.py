"""``guard``: the only process that moves an actuator's pin; ON is a lease that it takes back (DESIGN section 9).

``lease.py`` decides (pure), ``drive.py`` pulses and probes, ``pins.py`` is the hardware, ``service.py`` the process,
``client.py`` the control side's end.
"""
