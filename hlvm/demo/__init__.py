"""The main job on one small image model: graph, prediction, training, scores, verdicts.

Predictions are computed from graph and masks alone, before anything is trained; then bottleneck autoencoders test
Theorem 2 mask by mask, and small vision transformers show what random masks over ratio and masking unit recover.
"""

from hlvm.demo.run import DemoResult, run_demo
from hlvm.demo.setting import DemoConfig

__all__ = ["DemoConfig", "DemoResult", "run_demo"]
