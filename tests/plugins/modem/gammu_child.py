"""Real gammu (GPL-2, so in a process of its own) on a port: what it makes of the modem, and of units. JSON in and out.

``python -m tests.plugins.modem.gammu_child PORT``; stdin: a JSON list of units in hexadecimal."""

from __future__ import annotations

import json
import sys
from typing import Any

import gammu


def decoded(unit: str) -> dict[str, Any]:
    message = gammu.DecodePDU(bytes.fromhex(unit), True)
    # Its length counts septets where a character has two; the text itself ends with a NUL.
    return {"number": message["Number"], "text": message["Text"].partition("\0")[0], "coding": message["Coding"],
            "part": [message["UDH"]["PartNumber"], message["UDH"]["AllParts"], message["UDH"]["ID8bit"]]}


def main(port: str) -> None:
    out: dict[str, Any] = {"units": [decoded(unit) for unit in json.load(sys.stdin)]}
    modem = gammu.StateMachine()
    modem.SetConfig(0, {"Device": port, "Connection": "at115200"})
    modem.Init()
    out["model"] = [modem.GetManufacturer(), modem.GetModel()[1]]
    out["signal"] = modem.GetSignalQuality()["SignalStrength"]
    out["network"] = modem.GetNetworkInfo()["NetworkCode"]
    for text, coding in (("Vanne fermée [€]", "Default_No_Compression"), ("Διαρροή 🏠", "Unicode_No_Compression")):
        modem.SendSMS({"Text": text, "SMSC": {"Location": 1}, "Number": "+33612345678", "Coding": coding})
    parts = gammu.EncodeSMS({"Class": -1, "Unicode": False, "Entries": [{"ID": "ConcatenatedTextLong",
                                                                        "Buffer": "x" * 200}]})
    for part in parts:
        part["SMSC"], part["Number"] = {"Location": 1}, "+33612345678"
        modem.SendSMS(part)
    out["came"] = []
    message = modem.GetNextSMS(Start=True, Folder=0)
    while message is not None:
        out["came"].append([message[0]["Number"], message[0]["Text"].partition("\0")[0], str(message[0]["DateTime"])])
        place = message[0]["Location"]
        try:
            message = modem.GetNextSMS(Location=place, Folder=0)
        except gammu.ERR_EMPTY:
            message = None
        modem.DeleteSMS(Folder=0, Location=place)
    print(json.dumps(out))


if __name__ == "__main__":
    main(sys.argv[1])
