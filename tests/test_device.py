"""Memory kept between forward passes."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, threading, torch
from explorer.compute.device import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
torch.set_num_threads(1)
def passes():
    for _ in range(2):
        torch.ones(4_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        torch.ones(4_000_000)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=passes)
thread.start()
thread.join()
"""


def faults(mode):
    done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_large_tensor_takes_the_pages_of_the_one_before():
    assert 5 * faults("kept") < faults("default")
