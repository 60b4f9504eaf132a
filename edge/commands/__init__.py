"""The subcommands of `python -m edge`, one a file: `add` registers it, `run` does it."""
