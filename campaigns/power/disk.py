"""The emulated machine's disk: what the guest has not flushed is lost at a cut, sector by sector.

Serves one image over NBD (the protocol's fixed newstyle handshake and simple replies) at a unix
socket. Holds what each block had been at the last flush; a cut puts some of them back, as a disk
does whose cache has lost its power. Knows nothing of file systems.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from pathlib import Path
from typing import Self

BLOCK_BYTES = 4_096
SECTOR_BYTES = 512

_OPTION_MAGIC, _REPLY_MAGIC = b"IHAVEOPT", 0x3E889045565A9
_REQUEST, _ANSWER = 0x25609513, 0x67446698
_FIXED, _NO_ZEROES = 1, 2
_EXPORT_NAME, _ABORT, _INFO, _GO = 1, 2, 6, 7
_ACK, _TELL, _UNSUPPORTED = 1, 3, (1 << 31) + 1
_READ, _WRITE, _DISCONNECT, _FLUSH = 0, 1, 2, 3
_FLAGS = 1 | 1 << 2 | 1 << 3
"""Of the export: flags are told, it can flush, and force a single write through (FUA)."""

_FUA = 1
_INVALID = 22


class Disk:
    """One image behind a socket, for one machine after another."""

    def __init__(self, image: Path, at: Path, dice: random.Random) -> None:
        """image: its file, of whole blocks. at: the socket, made here. dice: what a cut spares."""
        self._file = os.open(image, os.O_RDWR)
        self._size = os.fstat(self._file).st_size
        self._dice = dice
        self._before: dict[int, bytes] = {}
        self.socket = at
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(at))
        self._listener.listen(1)
        self._served = threading.Event()
        self._served.set()
        self.flushes = 0
        self.lost_sectors = 0
        self._failed: OSError | None = None
        threading.Thread(target=self._serve, name="disk", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept; close does not
        self._listener.close()
        self._served.wait(10)
        os.close(self._file)
        self.socket.unlink(missing_ok=True)

    def cut(self) -> int:
        """The machine is off: lose of what was not flushed what the dice say; how many sectors.

        All, nothing, or each sector by itself. Raises OSError when the image itself could not be
        read or written: what the machine then lost says nothing of power cuts.
        """
        self._served.wait(10)
        if self._failed is not None:
            raise self._failed
        before, self._before = self._before, {}
        share = self._dice.choice((0.0, 1.0, self._dice.random()))
        lost = 0
        for number, was in sorted(before.items()):
            for first in range(0, len(was), SECTOR_BYTES):
                if self._dice.random() < share:
                    piece = was[first : first + SECTOR_BYTES]
                    os.pwrite(self._file, piece, number * BLOCK_BYTES + first)
                    lost += 1
        self.lost_sectors += lost
        return lost

    # --- the far end of the machine's cable -------------------------------------------------------

    def _serve(self) -> None:
        while True:
            try:
                machine, _ = self._listener.accept()
            except OSError:
                return  # closed: the story is over
            self._served.clear()
            try:
                with machine:
                    if self._shaken(machine):
                        self._answer_all(machine)
            except ConnectionError:
                pass  # its power went in the middle of a request
            except OSError as error:
                self._failed = error  # ours, not the machine's: `cut` tells
            finally:
                self._served.set()

    def _shaken(self, machine: socket.socket) -> bool:
        """The handshake; True when requests follow."""
        machine.sendall(b"NBDMAGIC" + _OPTION_MAGIC + struct.pack(">H", _FIXED | _NO_ZEROES))
        (client,) = struct.unpack(">I", _exactly(machine, 4))
        while True:
            magic, option, length = struct.unpack(">8sII", _exactly(machine, 16))
            _exactly(machine, length)
            if magic != _OPTION_MAGIC or option == _ABORT:
                return False
            about = struct.pack(">QH", self._size, _FLAGS)
            if option == _EXPORT_NAME:
                machine.sendall(about + (b"" if client & _NO_ZEROES else bytes(124)))
                return True
            if option not in {_INFO, _GO}:
                machine.sendall(_reply(option, _UNSUPPORTED))
                continue
            told = _reply(option, _TELL, struct.pack(">H", 0) + about)
            machine.sendall(told + _reply(option, _ACK))
            if option == _GO:
                return True

    def _answer_all(self, machine: socket.socket) -> None:
        while True:
            head = _exactly(machine, 28)
            magic, flags, kind, cookie, offset, length = struct.unpack(">IHHQQI", head)
            if magic != _REQUEST or kind == _DISCONNECT:
                return
            error, data = 0, b""
            if kind == _READ:
                data = os.pread(self._file, length, offset)
            elif kind == _WRITE:
                self._write(_exactly(machine, length), offset, through=bool(flags & _FUA))
            elif kind == _FLUSH:
                self._before.clear()
                self.flushes += 1
            else:
                error = _INVALID
            machine.sendall(struct.pack(">IIQ", _ANSWER, error, cookie) + data)

    def _write(self, data: bytes, offset: int, *, through: bool) -> None:
        touched = range(offset // BLOCK_BYTES, (offset + len(data) - 1) // BLOCK_BYTES + 1)
        for number in touched:
            if number not in self._before and not through:
                was = os.pread(self._file, BLOCK_BYTES, number * BLOCK_BYTES)
                self._before[number] = was
        os.pwrite(self._file, data, offset)
        if through:
            for number in touched:
                self._forced(number, data, offset)

    def _forced(self, number: int, data: bytes, offset: int) -> None:
        """What was forced through stays, though the block around it was not flushed."""
        was = self._before.get(number)
        if was is None:
            return
        start = number * BLOCK_BYTES
        first, last = max(offset, start), min(offset + len(data), start + len(was))
        piece = data[first - offset : last - offset]
        self._before[number] = was[: first - start] + piece + was[last - start :]


def _reply(option: int, kind: int, data: bytes = b"") -> bytes:
    return struct.pack(">QIII", _REPLY_MAGIC, option, kind, len(data)) + data


def _exactly(machine: socket.socket, length: int) -> bytes:
    """So many bytes; OSError when the machine is gone."""
    got = bytearray()
    while len(got) < length:
        piece = machine.recv(length - len(got))
        if not piece:
            raise ConnectionResetError("the machine is off")
        got += piece
    return bytes(got)
