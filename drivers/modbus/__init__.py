"""Modbus: the port, the frames, the poll plan, the units. pymodbus and pyserial stop here."""
