"""The download of MNIST: however the mirrors, the network and the disk behave, whole files are kept or none."""

import contextlib
import gzip
import http.server
import json
import random
import shutil
import socket
import ssl
import subprocess
import threading
import time

import means
import pytest
import small_mnist
from small_mnist import IMAGES_FILE, LABELS_FILE, assert_small_mnist, put, spoil

from labcode import data, download

SHORT = 0.3  # seconds, for limits that are to be met
ENOUGH = 2  # seconds, in which a mirror of this machine has answered


class Mirror:
    """A mirror on this machine: ``faults`` says by file how it fails, ``requests`` which files were asked of it.

    With the files of a certificate and its key it is one by https.
    """

    def __init__(self, contents, faults=None, every_file=None, certificate=None):
        self.contents, self.faults, self.every_file, self.requests = contents, faults or {}, every_file, []
        self.certificate, self.sends_on_to = certificate, ""
        self.closing = threading.Event()

    def answer(self, handler):
        name = handler.path.rsplit("/", 1)[-1].removesuffix(".gz")
        self.requests.append(name)
        fault, body = self.faults.get(name, self.every_file), gzip.compress(self.contents[name])
        body = {
            "wrong content": gzip.compress(spoil(self.contents[name])),
            "a page": b"<html>Sign in to this network</html>",
            "half a gzip": body[: len(body) // 2],
            "a bomb": gzip.compress(self.contents[name] + bytes(10_000_000)),
            "too much": body + bytes(1_000_000),
        }.get(fault, body)
        if fault == "slow":
            self.closing.wait(0.75 * ENOUGH)
        if fault == "a header that drips":
            return self.drip(handler, b"HTTP/1.0 200 OK\r\nX-Header: " + bytes(1_000))
        codes = {"not found": 404, "server error": 503, "endless redirects": 302, "a redirect": 302}
        handler.send_response(codes.get(fault, 200))
        handler.send_header("Location", self.sends_on_to + handler.path)
        if fault == "compresses where it may" and "gzip" in handler.headers.get("Accept-Encoding", ""):
            handler.send_header("Content-Encoding", "gzip")
            body = gzip.compress(body)
        if fault not in ("no length", "whole without its length"):
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if fault == "a body that drips":
            return self.drip(handler, body)
        handler.wfile.write(body[:20] if fault in ("cut", "a body that stops", "no length") else body)
        if fault == "a body that stops":
            self.closing.wait()
        return None

    def drip(self, handler, content):
        """Send a byte at a time, for ever as tests go."""
        for byte in content:
            if self.closing.wait(SHORT / 10):
                return
            handler.wfile.write(bytes([byte]))


@pytest.fixture
def contents(monkeypatch):
    """Those of four small files, known to ``data`` as the published ones."""
    made = small_mnist.contents()
    monkeypatch.setattr(data, "FILES", small_mnist.known(made))
    return made


def free_address():
    """An address that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/mnist/"


@pytest.fixture
def serve(monkeypatch):
    """A function that makes these mirrors, or addresses, ``data.MIRRORS``."""
    with contextlib.ExitStack() as stack:

        def address(mirror):
            if isinstance(mirror, str):
                return mirror
            handler = type("Handler", (http.server.BaseHTTPRequestHandler,), {"log_message": lambda *_: None})
            handler.do_GET = lambda self: mirror.answer(self)
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
            server.daemon_threads, server.handle_error = True, lambda *_: None  # who was killed listens no more
            stack.enter_context(server)
            if mirror.certificate:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*mirror.certificate)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            stack.callback(server.shutdown)
            stack.callback(mirror.closing.set)
            return f"http{'s' if mirror.certificate else ''}://127.0.0.1:{server.server_port}/mnist/"

        yield lambda *mirrors: monkeypatch.setattr(data, "MIRRORS", tuple(map(address, mirrors)))


def cached(cache):
    """What lies in the cache, the lock left out."""
    return {path.name for path in (cache / "mnist").rglob("*") if path.name != "lock"}


def test_mnist_is_downloaded_from_the_first_mirror_and_kept(contents, cache, serve):
    first, second = Mirror(contents), Mirror(contents)
    serve(first, second)
    assert not data.at_hand("mnist")
    assert_small_mnist(data.load("mnist"), contents)
    assert cached(cache) == set(data.FILES) and data.at_hand("mnist")
    assert sorted(first.requests) == sorted(data.FILES) and second.requests == []
    assert_small_mnist(data.load("mnist"), contents)
    assert len(first.requests) == 4, "what is cached was asked for again"


# Mirrors that fail


ANSWERS = ["not found", "server error", "cut", "no length", "wrong content", "a page", "half a gzip", "a bomb"]
FAULTS = [*ANSWERS, "endless redirects", "too much", "a closed port", "no such host"]
SLOW = ["a body that stops", "a body that drips", "a header that drips"]


def failing(contents, fault):
    """A mirror, or an address, that fails so for every file."""
    addresses = {"a closed port": free_address(), "no such host": "http://no-such-host.invalid/mnist/"}
    return addresses.get(fault) or Mirror(contents, every_file=fault)


@pytest.mark.parametrize("fault", [*FAULTS, *SLOW])
def test_where_a_mirror_fails_the_next_one_is_used(contents, cache, serve, fault, monkeypatch):
    if fault in SLOW:
        monkeypatch.setattr(data, "MIRROR_SECONDS", ENOUGH)
    first, second = failing(contents, fault), Mirror(contents)
    serve(first, second)
    assert_small_mnist(data.load("mnist"), contents)
    assert sorted(second.requests) == sorted(data.FILES) and cached(cache) == set(data.FILES)
    assert not isinstance(first, Mirror) or set(first.requests) == {IMAGES_FILE}, "what failed once was not put last"


@pytest.mark.parametrize("fault", [*FAULTS, *SLOW])
def test_where_all_mirrors_fail_one_error_says_so_and_nothing_is_kept(contents, cache, serve, fault, monkeypatch):
    if fault in SLOW:
        monkeypatch.setattr(data, "MIRROR_SECONDS", SHORT)
    serve(*[failing(contents, fault) for _ in range(2)])
    begun = time.monotonic()
    with pytest.raises(data.DataError) as error:
        data.load("mnist")
    assert time.monotonic() - begun < 20
    assert str(error.value).startswith(f"{IMAGES_FILE}.gz: expected it from one of 2 mirrors, found ")
    assert all(mirror in str(error.value) for mirror in data.MIRRORS)
    assert str(error.value).endswith("or use the data set mnist-5k")
    assert cached(cache) == set()


@pytest.mark.parametrize("habit", ["compresses where it may", "whole without its length"])
def test_what_a_mirror_may_do_is_no_fault(contents, cache, serve, habit):
    first, second = Mirror(contents, every_file=habit), Mirror(contents)
    serve(first, second)
    assert_small_mnist(data.load("mnist"), contents)
    assert sorted(first.requests) == sorted(data.FILES) and second.requests == []


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    """The files of a certificate for this machine, which requests trusts, and of its key."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("needs openssl")
    files = tmp_path / "certificate", tmp_path / "key"
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-out", files[0], "-keyout", files[1]]
    subprocess.run(
        [openssl, "req", *made, "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files[0]))
    return files


@pytest.mark.parametrize("onward", ["https", "http"])
def test_a_redirect_never_leads_out_of_https(contents, cache, serve, certificate, onward):
    target = Mirror(contents, certificate=certificate if onward == "https" else None)
    serve(target)
    first = Mirror(contents, every_file="a redirect", certificate=certificate)
    first.sends_on_to = data.MIRRORS[0].removesuffix("/mnist/")
    serve(first)
    if onward == "https":
        assert_small_mnist(data.load("mnist"), contents)
    else:
        with pytest.raises(data.DataError, match="No connection adapters were found"):
            data.load("mnist")
        assert target.requests == [] and cached(cache) == set()


def test_all_files_and_mirrors_together_take_no_longer_than_the_limit(contents, cache, serve, monkeypatch):
    monkeypatch.setattr(data, "DOWNLOAD_SECONDS", SHORT)
    serve(*[Mirror(contents, every_file="a header that drips") for _ in range(20)])
    begun = time.monotonic()
    with pytest.raises(data.DataError, match="not whole after 0 seconds.*or use the data set mnist-5k"):
        data.load("mnist")
    assert time.monotonic() - begun < 10 * SHORT, "the limit, and what a busy machine adds; not that of each mirror"
    assert cached(cache) == set()


def test_the_limit_is_that_of_all_files_together(contents, cache, serve, monkeypatch):
    monkeypatch.setattr(data, "DOWNLOAD_SECONDS", 2 * ENOUGH)
    serve(Mirror(contents, every_file="slow"))
    with pytest.raises(data.DataError, match="from one of 1 mirrors, found .*not whole after"):
        data.load("mnist")
    assert IMAGES_FILE in cached(cache) and len(cached(cache)) < len(data.FILES)


def test_a_body_that_stops_is_given_up_before_the_time_is(contents, serve, monkeypatch):
    monkeypatch.setattr(download, "READ_SECONDS", ENOUGH)
    serve(Mirror(contents, every_file="a body that stops"), Mirror(contents))
    begun = time.monotonic()
    assert_small_mnist(data.load("mnist"), contents)
    assert time.monotonic() - begun < 4 * ENOUGH


def test_what_is_given_up_does_not_go_on(contents, serve, monkeypatch):
    monkeypatch.setattr(data, "MIRROR_SECONDS", SHORT)
    serve(Mirror(contents, every_file="a body that drips"))
    before = set(threading.enumerate())
    with pytest.raises(data.DataError):
        data.load("mnist")
    receiving = [t for t in set(threading.enumerate()) - before if "work" in t.name]
    for thread in receiving:
        thread.join(10 * SHORT)
    assert not any(thread.is_alive() for thread in receiving)


def test_a_download_is_resumed_at_the_file_that_failed(contents, cache, serve):
    serve(Mirror(contents, faults={"t10k-images-idx3-ubyte": "cut"}))
    with pytest.raises(data.DataError, match="t10k-images-idx3-ubyte.gz"):
        data.load("mnist")
    assert cached(cache) == {IMAGES_FILE, LABELS_FILE}
    whole = Mirror(contents)
    serve(whole)
    assert_small_mnist(data.load("mnist"), contents)
    assert sorted(whole.requests) == ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


def test_a_damaged_file_in_the_cache_is_an_error_that_says_how_to_mend_it(contents, cache):
    put(cache / "mnist", contents | {IMAGES_FILE: spoil(contents[IMAGES_FILE])}, packed=False)
    with pytest.raises(data.DataError, match=f"{IMAGES_FILE}: expected .*SHA-256.*remove it and leave the download"):
        data.load("mnist")


def test_a_cache_that_cannot_be_written_is_an_error_that_says_what_to_do(contents, cache, serve):
    serve(Mirror(contents))
    cache.write_text("a file where the folder should be")
    with pytest.raises(data.DataError, match="expected a folder to keep MNIST in, found .*; set LABCODE_CACHE"):
        data.load("mnist")


def test_mnist_dir_spares_the_download(contents, tmp_path, serve, monkeypatch):
    mirror = Mirror(contents)
    serve(mirror)
    put(tmp_path / "mine", contents)
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "mine"))
    data.load("mnist")
    assert mirror.requests == []


# A machine that fails: each download is a process

DOWNLOAD = """
import json, os, sys
from labcode import data
data.FILES, data.MIRRORS = {name: tuple(facts) for name, facts in json.loads(sys.argv[1]).items()}, sys.argv[2:]
try:
    print(len(data.load("mnist").train_images))
except data.DataError as error:
    for folder, _, files in os.walk(data.cache_folder() / "mnist"):
        print({name: os.path.getsize(os.path.join(folder, name)) for name in files if name != "lock"})
    sys.exit(str(error))
"""


def arguments():
    """Those of the code above."""
    return json.dumps(data.FILES), *data.MIRRORS


def wait_while_it_runs(process, condition):
    """Wait, looking often, until a function returns something true."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)


def start():
    """Start a download."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(means.command(DOWNLOAD, *arguments()), **pipes)


@pytest.mark.parametrize("limit", ["a full disk", "a limit on files"])
def test_where_there_is_no_room_one_error_says_so_and_only_whole_files_are_kept(contents, cache, serve, limit):
    cache.mkdir()
    prefix = means.little_room(cache, kilobytes=4) if limit == "a full disk" else means.small_files(kilobytes=1)
    serve(Mirror(contents))
    code, output, errors = means.run(prefix, DOWNLOAD, *arguments())
    assert code == 1
    assert output == (f"{ {IMAGES_FILE: len(contents[IMAGES_FILE])} }\n" if limit == "a full disk" else "{}\n")
    assert "expected a folder to keep MNIST in, found [Errno" in errors and "set LABCODE_CACHE to one" in errors
    assert "Traceback" not in errors and cached(cache) == set()


@pytest.mark.parametrize("which", ["the cache", "mnist in it"])
def test_a_folder_that_cannot_be_written_is_one_error(contents, cache, serve, which):
    (cache / "mnist").mkdir(parents=True)
    (cache if which == "the cache" else cache / "mnist").chmod(0o500 if which == "mnist in it" else 0)
    mirror = Mirror(contents)
    serve(mirror)
    code, _, errors = means.run(means.UNPRIVILEGED, DOWNLOAD, *arguments())
    cache.chmod(0o700)
    assert code == 1 and "found [Errno 13] Permission denied" in errors and "Traceback" not in errors
    assert mirror.requests == [] and cached(cache) == set()


def test_a_download_that_is_killed_leaves_whole_files_and_the_next_one_goes_on(contents, cache, serve):
    stuck = Mirror(contents, faults={"t10k-images-idx3-ubyte": "a body that stops"})
    serve(stuck)
    with start() as process:
        wait_while_it_runs(process, lambda: "t10k-images-idx3-ubyte" in stuck.requests)
        process.kill()
    assert cached(cache) == {IMAGES_FILE, LABELS_FILE}
    serve(Mirror(contents))
    assert_small_mnist(data.load("mnist"), contents)
    assert cached(cache) == set(data.FILES)


def test_what_was_being_written_when_a_process_died_is_replaced(contents, cache, serve):
    (cache / "mnist").mkdir(parents=True)
    (cache / "mnist" / f"{IMAGES_FILE}.writing").write_bytes(contents[IMAGES_FILE][:100])
    serve(Mirror(contents))
    assert_small_mnist(data.load("mnist"), contents)
    assert cached(cache) == set(data.FILES)


def test_where_another_process_downloads_and_does_not_end_one_error_says_so(contents, cache, serve, monkeypatch):
    serve(Mirror(contents))
    monkeypatch.setattr(data, "DOWNLOAD_SECONDS", 0.5)
    (cache / "mnist").mkdir(parents=True)
    command = means.command(means.HOLD, cache / "mnist" / "lock")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(data.DataError, match="another process has held it for 0.5 seconds; wait for it, or end it"):
            data.fetch("mnist")
        other.stdin.close()


def test_a_process_that_gave_up_ends_while_the_mirror_still_drips(contents, serve):
    serve(Mirror(contents, every_file="a header that drips"))  # for half a minute
    impatient = f"from labcode import data\ndata.MIRROR_SECONDS = {SHORT}\n{DOWNLOAD}"
    done = subprocess.run(
        means.command(impatient, *arguments()), capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1 and "not whole after" in done.stderr


def test_four_processes_at_once_download_each_file_once(contents, cache, serve):
    mirror = Mirror(contents)
    serve(mirror)
    processes = [start() for _ in range(4)]
    outputs = [process.communicate(timeout=means.PATIENCE) for process in processes]
    assert [(process.returncode, output) for process, (output, _) in zip(processes, outputs, strict=True)] == [
        (0, "5\n")
    ] * 4
    assert sorted(mirror.requests) == sorted(data.FILES) and cached(cache) == set(data.FILES)


def seconds_of_a_download(contents, cache, serve):
    """How long the four files take, from the first request on; nothing is kept."""
    mirror = Mirror(contents)
    serve(mirror)
    with start() as process:
        wait_while_it_runs(process, lambda: mirror.requests)
        begun = time.monotonic()
        wait_while_it_runs(process, lambda: cached(cache) == set(data.FILES))
        seconds = time.monotonic() - begun
    shutil.rmtree(cache)
    return seconds


@pytest.mark.soak
def test_killed_at_random_moments_a_download_never_leaves_part_of_a_file(contents, cache, serve):
    found, seconds = [], seconds_of_a_download(contents, cache, serve)
    for number in range(25):
        mirror = Mirror(contents)
        serve(mirror)
        with start() as process:
            wait_while_it_runs(process, lambda mirror=mirror: mirror.requests)
            time.sleep(random.Random(number).uniform(0, seconds))
            process.kill()
        for path in (cache / "mnist").glob("*-ubyte"):
            assert path.read_bytes() == contents[path.name]
            path.unlink()
            found.append(number)
    assert {found.count(number) for number in range(25)} & {1, 2, 3}, "some were killed between two files"
    serve(Mirror(contents))
    assert_small_mnist(data.load("mnist"), contents)
    assert cached(cache) == set(data.FILES)
