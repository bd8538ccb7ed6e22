"""Modbus: units on RS-485 and TCP as a driver. pymodbus and pyserial stop in here.

driver.py   the driver's contract        bus.py    the one task that owns a port
bell.py     wakes it                     wire/     bytes, frames, exchanges
plan/       which read to which unit     unit/     one unit: who it is, its inputs, its outputs
search/     finding units nobody has named
"""
