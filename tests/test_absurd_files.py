"""A file that asks for absurd resources is refused by name within seconds and in little memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import absurd_files


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """How reading each of the files ended."""
    folder = tmp_path_factory.mktemp("absurd")
    program = [sys.executable, absurd_files.__file__, str(folder)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    output = subprocess.run(program, capture_output=True, text=True, check=True, env=environment, timeout=300).stdout
    return {one["kind"]: one for one in map(json.loads, output.splitlines())}


@pytest.mark.parametrize("kind", absurd_files.KINDS)
def test_it_is_refused_by_name_at_little_cost(ended, kind):
    found = ended[kind]
    assert found["code"] == 2, found
    assert Path(kind).name in found["said"]
    assert found["seconds"] < absurd_files.SECONDS and found["peak"] < absurd_files.BYTES, found
