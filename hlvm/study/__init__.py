"""Studies: a masking ablation on any data, from the prediction to the page.

:class:`Study` says what is compared; ``study.predict()`` what theory expects; ``study.run(key)`` trains, scores and
decides.
"""

from hlvm.study.arms import Arm
from hlvm.study.batches import Batch, Batches
from hlvm.study.comparisons import Comparison
from hlvm.study.planning import StudyPlan
from hlvm.study.prediction import Prediction
from hlvm.study.progress import StudyProgress
from hlvm.study.results import StudyResult, load_study
from hlvm.study.scores import ScoreConfig
from hlvm.study.study import Study

__all__ = [
    "Arm",
    "Batch",
    "Batches",
    "Comparison",
    "Prediction",
    "ScoreConfig",
    "Study",
    "StudyPlan",
    "StudyProgress",
    "StudyResult",
    "load_study",
]
