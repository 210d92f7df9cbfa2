"""The main job on small image models: graph, prediction, training, scores, verdicts.

Predictions are computed from graphs and masks alone, before anything is trained. Then a small transformer fills in
scenes; bottleneck autoencoders test Theorem 2 mask by mask; and a study of small vision transformers shows what random
masks over ratio and masking unit recover.
"""

from hlvm.demo.run import DemoResult, run_demo
from hlvm.demo.setting import DemoConfig

__all__ = ["DemoConfig", "DemoResult", "run_demo"]
