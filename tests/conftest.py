"""Makes the checkout's own modules importable for every test."""
import gc
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def pytest_collection_finish():
    gc.freeze()                 # thousands of collected tests are not looked through again and again
