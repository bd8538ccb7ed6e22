"""Finding units that nobody has named: only ever by reading.

sweep.py     which address, at which speed  scan.py  asks, on a port of its own or a lent one
recognise.py which model answers like that
"""
