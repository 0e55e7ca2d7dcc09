"""Write every file of this folder as it would be now: `python -m tests.golden`, then read the diff."""

import os
import sys
from pathlib import Path

import pytest

os.environ["BILLVEND_GOLDEN_RENEW"] = "yes"
sys.exit(pytest.main(["--quiet", str(Path(__file__).parent)]))
