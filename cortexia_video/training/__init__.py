"""How depth networks are trained, the built-in `compact` among them (extra `train`): `cortexia train`."""
