"""Compiled programs, kept between runs of a command."""

from __future__ import annotations

import os
from pathlib import Path

from hlvm._process import complain
from hlvm.cli.input import check_writable

__all__ = ["compilation_cache_folder", "use_compilation_cache"]


def compilation_cache_folder() -> Path:
    """Folder of the compiled programs: the one that JAX is told by the user's environment, or else a default."""
    if chosen := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hlvm" / "jax"


def use_compilation_cache() -> None:
    """Keep compiled programs between runs of the command, unless the user's environment says otherwise."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    import jax

    folder = compilation_cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder)
    except OSError as error:
        complain(f"compiled programs are not kept for the next run: {error}")
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
