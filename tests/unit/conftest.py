"""Run hypothesis without deadlines: tests assert behaviour, never wall time."""

from hypothesis import settings

settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")
