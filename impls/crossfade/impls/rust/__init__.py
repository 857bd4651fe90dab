"""The ``rust`` variant: a thin wrapper of ``crossfade_native``."""
