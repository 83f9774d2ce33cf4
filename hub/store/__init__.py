"""The hub's memory: the only package of the hub that speaks SQL.

One process (ingest) opens a :class:`~hub.store.writer.Writer`; everybody else reads through
:class:`~hub.store.reader.Reader`. A sample is at home in ``samples`` under ``(series, time)``; what was taken is known
by ``epochs`` (one contiguous ``upto`` and the ranges above it); both change in one transaction, and a receipt is made
from what that transaction left. Times are integer microseconds since 1970 UTC.
"""
