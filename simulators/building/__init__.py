"""The building without a building: pins, waveforms, and the socket fingers come in through."""
