"""``hutkeeper-agent``: what a person types, and the entry of every supervised process.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration; each failure is one line on stderr.
``plugin``, ``guard``, ``uplink`` and ``watchdog`` run for months on small boards: they are recognised before click is
imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

SERVICES = ("plugin", "guard", "uplink", "rules", "watchdog")
OURS_ALONE = ("uplink", "rules", "watchdog")
"""No code of a plugin or its libraries runs in these."""


def main(argv: Sequence[str] | None = None) -> None:
    """The entry point: errors of ours become one line and an exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in SERVICES and not {"-h", "--help"} & set(arguments):
        if arguments[0] in OURS_ALONE:
            # msgspec takes it where something else has brought it along, and needs it for nothing: 1.1 MiB for months
            sys.modules.setdefault("typing_extensions", None)  # type: ignore[arg-type]
        from agent.cli.services import run

        sys.exit(run(arguments))
    from agent.cli.group import run_group

    sys.exit(run_group(arguments))


def one_line(text: str) -> str:
    """An error as one line that a terminal shows and does not obey."""
    flat = " ".join(text.split("\n"))
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in flat)
