"""Makes the checkout's own modules importable for every test."""
import gc
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

gc.disable()                    # what is collected stays: it is not looked through again and again


def pytest_collection_finish():
    gc.freeze()
    gc.enable()
