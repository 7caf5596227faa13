"""Files that nobody ever sees half of."""


def write(path, content):
    """Write a file in one move: under another name, which then becomes its own.

    Args:
        path: a ``Path``, whose folder is there.
        content: bytes.

    Raises:
        OSError: there is no room, or no permission; the file is then as it was.
    """
    scratch = path.with_name(f"{path.name}.writing")
    scratch.unlink(missing_ok=True)  # of a process that was killed; or a link, which would lead elsewhere
    try:
        with open(scratch, "xb") as file:
            file.write(content)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
