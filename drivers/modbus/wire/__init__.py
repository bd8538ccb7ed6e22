"""From requests to bytes and back: one exchange at a time, silences kept, no late answer believed.

request.py  what can be asked            values.py   registers to requests
line.py     how long things take         lent.py     the port lent to a scan
frame.py    PDUs, CRC (pymodbus)         framing.py  whole frames out of a stream
wire.py     one exchange on a port       owed.py     what units may still say
port.py     the contract of a port       ports.py    which port a bus has
serial.py   a serial device (pyserial)   tcp.py      a connection
inbox.py    bytes that wait              guard.py    holds back what has expired
"""
