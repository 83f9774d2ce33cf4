"""The lines in which ESP32 firmware reports Wi-Fi channel state (CSI): bytes in, rows out. No port, no clock, no numpy.

``LineDecoder`` takes bytes in any pieces. ``DIALECTS`` are the line formats known by their columns; a firmware with
other columns is understood when its header line (``type,id,mac,...``) was seen. ``subcarriers`` says which of the
values carry no signal, by chip and layout. ``write`` makes lines, for simulated sources and tests.
"""

from firmware_bridges.esp32_csi.lines import BadLine, Header, LineDecoder, Other, parse_line
from firmware_bridges.esp32_csi.row import CHIPS, DIALECTS, Chip, CsiRow
from firmware_bridges.esp32_csi.subcarriers import Layout, layout_of
from firmware_bridges.esp32_csi.write import write_row

__all__ = ["CHIPS", "DIALECTS", "BadLine", "Chip", "CsiRow", "Header", "Layout", "LineDecoder", "Other", "layout_of",
           "parse_line", "write_row"]
