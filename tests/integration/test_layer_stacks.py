"""Any stack of layers is the same tree here as umoci unpacks it: paths, metadata, xattrs, links, contents."""

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from support import trees
from support.stacks import Stack, stacks, unpack_with_umoci, unpack_with_us

pytestmark = pytest.mark.skipif(os.getuid() != 0 or not shutil.which("umoci"), reason="needs root and umoci")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(stacks())
def test_a_stack_of_layers_is_what_umoci_makes_of_it(stack: Stack) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        base, since = Path(scratch), time.time()
        theirs = trees.of(unpack_with_umoci(stack.layers, base))
        with unpack_with_us(stack.layers, base) as merged:
            ours = trees.of(merged)
    assert trees.differences(ours, theirs, since) == []
