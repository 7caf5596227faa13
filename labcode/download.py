"""Downloads a file, bounded in size and time, however a server behaves."""

import queue
import threading
import time

import requests
from tqdm import tqdm

CONNECT_SECONDS, READ_SECONDS = 5, 20  # until a server answers, and between two parts of what it sends
REDIRECTS = 5


def get(url, largest, seconds):
    """Return what ``url`` serves, as bytes, not yet verified.

    Args:
        url: where from.
        largest: how many bytes are accepted.
        seconds: after which it must be whole.

    Raises:
        OSError: the server is not there, refuses, sends on for ever, less than it promised, too much or too slowly.
    """
    outcome, end = queue.SimpleQueue(), time.monotonic() + seconds

    def work():
        try:
            outcome.put((_receive(url, largest, end), None))
        except Exception as error:  # below requests, urllib3 has errors of its own
            outcome.put((None, error))

    # In a thread, for neither the name's resolution nor a header that drips can be timed; it ends with the process.
    threading.Thread(target=work, daemon=True).start()
    try:
        content, error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(_late(seconds)) from None
    if error:
        raise error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}") from error
    return content


def _receive(url, largest, end):
    limit = end - time.monotonic()
    session = requests.Session()
    session.max_redirects = REDIRECTS
    session.headers["Accept-Encoding"] = "identity"  # what is served is a gzip, and taken as it is
    if url.startswith("https:"):
        session.adapters = {"https://": session.get_adapter(url)}  # nor may a redirect lead out of https
    with session, session.get(url, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as response:
        response.raise_for_status()
        total, content = int(response.headers.get("Content-Length", 0)), bytearray()
        with tqdm(desc=url.rsplit("/", 1)[-1], total=total, unit="B", unit_scale=True, leave=False) as bar:
            while part := response.raw.read1(65536):
                content += part
                bar.update(len(part))
                if len(content) > largest:
                    raise OSError(f"more than the {largest} bytes that were expected")
                if time.monotonic() > end:
                    raise TimeoutError(_late(limit))
        return bytes(content)


def _late(seconds):
    return f"not whole after {seconds:.0f} seconds"
