"""Encoders from outside: functions, modules of PyTorch, transformers of scikit-learn, anything with ``encode``.

:func:`wrap` makes one kind of thing of all of them; :meth:`hlvm.study.Study.run` and
:func:`hlvm.scoring.score_by_height` score it beside own fits.
"""

from hlvm.encoders.encoder import Encoder, EncoderWarning
from hlvm.encoders.wrapping import wrap

__all__ = ["Encoder", "EncoderWarning", "wrap"]
