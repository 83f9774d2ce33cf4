"""The rules of this house: kept in alerts.db, evaluated by :mod:`agent.rules`, tried on the history."""
