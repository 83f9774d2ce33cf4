"""Electricity meters on a serial line: Téléinfo, DSMR P1, SML and PZEM-004T, read without trusting the line."""
