"""Write every file of this folder from the current code: `python -m tests.golden`. Read the diff afterwards."""

import os
import sys
from pathlib import Path

import pytest

os.environ["BILLVEND_GOLDEN_RENEW"] = "yes"
sys.exit(pytest.main(["--quiet", str(Path(__file__).parent)]))
