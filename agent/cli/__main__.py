"""``python -m agent.cli``: what supervision starts, so that the Python in use is the one that rendered the file."""

from __future__ import annotations

from agent.cli import main

if __name__ == "__main__":
    main()
