"""Makes the checkout's own modules importable for every test."""
import gc
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

gc.disable()                    # what is collected stays: it is not looked through again and again


def pytest_collection_finish():
    gc.freeze()
    gc.enable()
    gc.set_threshold(10000, 20, 100)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown():
    """How wide the screen is that a call of the command line found concerns no other test."""
    if "tools.pve.text" in sys.modules:
        sys.modules["tools.pve.text"].SCREEN = None
