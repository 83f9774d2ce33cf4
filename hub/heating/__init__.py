"""What the heating page knows, without pages: the shape of a heater, its levels, its weeks, its picture. Pure."""

from __future__ import annotations
