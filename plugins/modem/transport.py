"""What the plugin asks of a modem, whatever it is reached by: AT commands now, an HTTP stick or ModemManager later.

A transport talks in messages and words, never in AT. Every call ends within its own time: :class:`Mute` when the modem
says nothing, :class:`Refused` when it says no. The port's own RetryLater passes through.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .pdu import Part


class Mute(Exception):
    """No answer in time: what was asked, and how long it was waited for."""

    handed_over = False
    """An SMS was in the modem's hands already: it may be on its way."""


class Refused(Exception):
    """The modem or the network said no."""

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent
        """Trying the same again changes nothing."""


class Stopping(Exception):
    """The plugin is to end; raised out of a wait."""

    handed_over = False
    """As of :class:`Mute`."""


class Arrived(NamedTuple):
    """One unit from the network. ``memory`` and ``slot`` say where it lies; None: nowhere, it was handed over."""

    unit: bytes
    """SMS-DELIVER or SMS-STATUS-REPORT with the service centre in front; whatever came where it is none."""
    memory: str | None = None
    slot: int | None = None


class UssdReply(NamedTuple):
    text: str
    done: bool
    """False: the network waits for a choice."""


class Signal(NamedTuple):
    rssi_dbm: int | None


class Registered(NamedTuple):
    word: str
    """idle, home, searching, denied, unknown, roaming."""


class OperatorName(NamedTuple):
    name: str | None
    code: str | None


class Model(NamedTuple):
    name: str


class Storage(NamedTuple):
    """How full the fullest memory for messages is."""

    used: int
    total: int


class NewMail(NamedTuple):
    """Something lies in a memory now: call :meth:`Transport.stored`."""


Event = Arrived | UssdReply | Signal | Registered | OperatorName | Model | Storage | NewMail


class Transport(Protocol):
    """One modem that is open."""

    @property
    def damaged(self) -> int:
        """Lines that came damaged."""
        ...

    def wake(self) -> None:
        """Make it answer. Raises Mute."""
        ...

    def sim(self) -> str:
        """ready, pin, puk, net_lock, none, busy, failed or unknown."""
        ...

    def sim_id(self) -> str | None:
        """The serial number of the SIM, where it says it."""
        ...

    def pin_tries(self) -> int | None:
        """How many tries the PIN has left, where it says so."""
        ...

    def enter_pin(self, pin: str) -> None:
        """One try. Raises Refused when it is wrong."""
        ...

    def prepare(self) -> None:
        """After the PIN: make it tell what comes."""
        ...

    def look(self, operator: bool) -> None:
        """Ask for signal and registration, and for the operator where wanted; answers come with :meth:`events`."""
        ...

    def stored(self) -> list[Arrived]:
        """Everything from the network that lies in it. Deletes nothing."""
        ...

    def delete(self, arrived: Arrived) -> None: ...

    def split(self, text: str, reference: int, plain: bool) -> list[Part]:
        """The SMS that a text makes; ``plain``: nearest letters of the GSM alphabet."""
        ...

    def send(self, to: str, part: Part, report: bool) -> int | None:
        """Hand one SMS to the network; its reference for the report. Raises Refused, Mute."""
        ...

    def ussd(self, code: str) -> None:
        """Ask; the reply comes with :meth:`events`. Raises Refused."""
        ...

    def events(self, timeout_s: float) -> list[Event]:
        """What has come by itself, waiting for the first at most ``timeout_s``."""
        ...

    def restart(self) -> None:
        """Make the modem start anew, as far as its own commands reach. Raises none of ours."""
        ...

    def close(self) -> None: ...
