"""What a centre does with tokens, to embed in a monitoring service or to port: see `core.py`.

No MQTT, no screen, no clock, no disk in this folder. It needs `gateway.core` (and through it
`cryptography`) and nothing else.
"""
