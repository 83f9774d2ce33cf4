"""What may be commanded and how often, without pages and network: ``values`` knows what fits a property, ``rate``
guards the door. ``hub.web.sender`` sends."""

from __future__ import annotations
