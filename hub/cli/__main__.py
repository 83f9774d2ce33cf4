"""``python -m hub.cli``: the same as ``hutkeeper-hub``."""

from hub.cli import main

main()
