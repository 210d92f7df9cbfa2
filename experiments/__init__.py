"""The experiments, each run by ``python -m experiments.NAME``."""

import sys

from hlvm._process import begin

if sys.argv[0] == "-m":  # as long as Python looks for the module NAME: this process is nothing but that experiment
    begin("experiments")
