"""What every test runs under: no window system, no compiled programs from earlier runs, the same examples each time."""

import os
import tempfile

from hypothesis import settings

# Before JAX and Matplotlib are imported, which read these once.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
os.environ["MPLBACKEND"] = "Agg"
# Compiling is most of the time; unoptimised programs compile faster and compute the same up to rounding.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
_cache = tempfile.TemporaryDirectory(prefix="hlvm-tests-")  # removed when the process ends
os.environ["XDG_CACHE_HOME"] = _cache.name

settings.register_profile("deterministic", derandomize=True, database=None, deadline=None)
settings.load_profile("deterministic")
