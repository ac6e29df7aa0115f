"""Properties have no time limit of their own: a busy machine is no counterexample."""

from hypothesis import settings

settings.register_profile("comity", deadline=None)
settings.load_profile("comity")
