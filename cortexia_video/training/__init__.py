"""How depth networks are trained, the built-in `compact` among them: `cortexia train`. Needs the extra `train`."""
