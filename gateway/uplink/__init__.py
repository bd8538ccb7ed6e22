"""The only MQTT: the contract of a connection, paho behind it, and what keeps it up.

link.py      the contract                mqtt.py     paho keeps it
dial.py      TCP and TLS, bounded        uplink.py   up again, with back-off
"""
