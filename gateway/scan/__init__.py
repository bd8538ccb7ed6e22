"""`qorgan scan`: what hangs on a bus, and the YAML to paste.

command.py   the command                 handler.py  the daemon's part, on a bus in service
outcome.py   what was found, in words    progress.py how far it has come
"""
