"""Files: written whole or not at all, read back only as they were written; text, digests, and arrays inside."""

from hlvm._files.writing import (
    as_path,
    atomic_folder,
    atomic_path,
    check_new_folder,
    is_new_folder,
    make_folder,
    only_writer,
    put_in_place,
    write_text_atomically,
)

__all__ = [
    "as_path",
    "atomic_folder",
    "atomic_path",
    "check_new_folder",
    "is_new_folder",
    "make_folder",
    "only_writer",
    "put_in_place",
    "write_text_atomically",
]
