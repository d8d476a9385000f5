"""What holds for every test: inputs of hypothesis are the same on each run, and a busy machine is not a failure."""

from hypothesis import settings

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
