"""``python -m crossfade.harness.cli`` is ``crossfade``."""

import sys

from crossfade.harness.cli import main

sys.exit(main())
