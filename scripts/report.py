"""Make a listening report of sweeps: curves, tables and players in one page that needs no network.

python scripts/report.py runs/tempo --out report/
python scripts/report.py runs/tempo runs/brightness --single-file --out report.html
"""

import sys

from report.cli import main

if __name__ == "__main__":
    sys.exit(main())
