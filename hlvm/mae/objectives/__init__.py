"""Objectives of training: one frozen class of settings for each.

Give one as ``loss`` to :func:`hlvm.mae.fit`, :class:`hlvm.mae.Member` or, as ``losses``, to :class:`hlvm.study.Study`.
"""

from hlvm.mae.objectives.cross_entropy import CrossEntropy
from hlvm.mae.objectives.data2vec import Data2Vec
from hlvm.mae.objectives.ijepa import IJEPA
from hlvm.mae.objectives.reconstruction import LossConfig
from hlvm.mae.objectives.sigreg import SIGReg
from hlvm.mae.objectives.supervised import Supervised
from hlvm.mae.objectives.uniform_mae import UniformMAE
from hlvm.mae.objectives.vicreg import VICReg

__all__ = ["IJEPA", "CrossEntropy", "Data2Vec", "LossConfig", "SIGReg", "Supervised", "UniformMAE", "VICReg"]
