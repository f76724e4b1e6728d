"""`python -m musicsteer.report`."""

import sys

from musicsteer.report.cli import main

sys.exit(main())
