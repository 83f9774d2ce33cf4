"""A plugin whose C library takes its process down at the import; whoever only looks at it lives."""

from __future__ import annotations

import os
import sys

from hutkeeper_stand_ins import StandIn

if "plugin" in sys.argv:
    sys.stderr.write("libfancy.so.9: cannot open shared object file, token=hunter22\n")
    sys.stderr.flush()
    os._exit(127)


class Broken(StandIn, name="stand_in_broken"):
    """Never runs."""
