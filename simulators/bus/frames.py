"""Modbus frames as the far end makes and reads them: RTU with its check sum, TCP with its header.

Written apart from the product's own frames on purpose, so that one slip is not on both sides.
Sources: MODBUS over Serial Line V1.02, MODBUS Messaging on TCP/IP V1.0b.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_POLYNOMIAL = 0xA001
_HEADER = struct.Struct(">HHHB")
_LONGEST_PDU = 253
"""Bytes, from the application protocol V1.1b3; an RTU frame is 3 longer, one over TCP 7."""


def _row(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_ROWS = tuple(_row(byte) for byte in range(256))


def check_sum(data: bytes) -> bytes:
    """The two bytes that end an RTU frame, low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _ROWS[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


def rtu(unit: int, pdu: bytes) -> bytes:
    """A whole RTU frame."""
    body = bytes([unit]) + pdu
    return body + check_sum(body)


def rtu_parts(frame: bytes) -> tuple[int, bytes] | None:
    """Address and PDU of a frame; None where it is too short, too long or its sum is wrong."""
    if not 4 <= len(frame) <= _LONGEST_PDU + 3 or check_sum(frame[:-2]) != frame[-2:]:
        return None
    return frame[0], frame[1:-2]


@dataclass(frozen=True, slots=True)
class TcpFrame:
    """One Modbus TCP message: transaction id, unit, PDU."""

    transaction: int
    unit: int
    pdu: bytes

    def packed(self) -> bytes:
        """As it goes through the socket."""
        head = _HEADER.pack(self.transaction, 0, len(self.pdu) + 1, self.unit)
        return head + self.pdu


class TcpFrames:
    """Cuts a byte stream into Modbus TCP messages."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, data: bytes) -> list[TcpFrame]:
        """The messages that are whole by now. Raises ValueError where the stream is none."""
        self._waiting += data
        found = []
        while len(self._waiting) >= _HEADER.size:
            transaction, protocol, length, unit = _HEADER.unpack_from(self._waiting)
            if protocol != 0 or not 2 <= length <= _LONGEST_PDU + 1:
                raise ValueError("not a Modbus TCP header")
            end = _HEADER.size - 1 + length
            if len(self._waiting) < end:
                break
            pdu = self._waiting[_HEADER.size : end]
            found.append(TcpFrame(transaction=transaction, unit=unit, pdu=pdu))
            self._waiting = self._waiting[end:]
        return found
