"""The safety proof of the heater: random days of faults against its real control and guard code, in virtual time.

``python -m tests.safety`` runs the long form. ``room.py`` is the world, ``faults.py`` what befalls it, ``scenarios.py``
a day in it, ``checker.py`` the judge, who knows nothing of how control decides, ``machine.py`` a random walk.
"""
