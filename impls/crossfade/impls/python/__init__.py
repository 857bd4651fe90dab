"""The ``python`` variant: an asyncio shell (uvloop when installed) around the Python cores."""
