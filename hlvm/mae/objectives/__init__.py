"""What a masked autoencoder can be trained to make small: one frozen class of settings per objective.

Give one as ``loss`` to :func:`hlvm.mae.fit`, :class:`hlvm.mae.Member` or, as ``losses``, to :class:`hlvm.study.Study`.
"""

from hlvm.mae.objectives.cross_entropy import CrossEntropy
from hlvm.mae.objectives.reconstruction import LossConfig

__all__ = ["CrossEntropy", "LossConfig"]
