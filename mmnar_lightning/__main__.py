"""`python -m mmnar_lightning` is `mmnar`."""

import sys

from mmnar_lightning.cli import main

sys.exit(main())
