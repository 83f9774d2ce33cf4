"""Pairing at the hub: codes, the two open routes, and what is known of paired devices. Protocol: agent.wire.pairing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.pairing.registry import Issued, PairingError, Registry

if TYPE_CHECKING:
    from flask import Blueprint

    from hub.settings import Settings

__all__ = ["Issued", "PairingError", "Registry", "blueprint"]


def blueprint(settings: Settings) -> Blueprint:
    """The routes to register on the hub's Flask app; CSRF exempts exactly ``pairing.hello`` and ``pairing.sign``."""
    from hub.pairing import routes  # flask: not in the broker's process and not in a command

    return routes.blueprint(settings)
