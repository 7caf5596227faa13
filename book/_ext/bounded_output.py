"""papermill's engine, but for what a cell says: of more than ``LIMIT`` characters it keeps the first part."""

import binascii
from collections import Counter

from nbformat.v4 import new_output
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines

ENGINE = "bounded-output"
PNG = b"\x89PNG\r\n\x1a\n"
LIMIT = 100_000  # characters, some 30 screens


class BoundedClient(PapermillNotebookClient):
    """Keeps the first ``LIMIT`` characters that a cell prints, of each text that it shows, and of its error.

    Then it says how many it leaves out, of prints at least. What a cell shows after so many is left out, too.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.printed = Counter()  # characters, by the cell's index
        self.notices = {}

    def process_message(self, msg, cell, cell_index):
        """Called by nbclient for each message of a kernel, also for one that changes an output."""
        if msg["msg_type"] in ("display_data", "execute_result", "update_display_data", "error"):
            bound(msg["content"])
        return super().process_message(msg, cell, cell_index)

    def output(self, outs, msg, display_id, cell_index):
        """Called by nbclient for each output of a cell."""
        if self.clear_before_next_output:
            self.forget(cell_index)
        room = max(0, LIMIT - self.printed[cell_index])
        if msg["msg_type"] == "stream":
            text = msg["content"]["text"]
            self.printed[cell_index] += len(text)
            msg["content"]["text"] = text[:room]
            is_kept, is_cut = room > 0, len(text) > room
        else:
            texts = [len(text) for kind, text in msg["content"].get("data", {}).items() if kind.startswith("text/")]
            self.printed[cell_index] += max(texts, default=0)
            is_kept = room > 0 or not texts
            is_cut = not is_kept
        output = super().output(outs, msg, display_id, cell_index) if is_kept else None
        if is_cut:
            self.tell_what_is_left_out(outs, cell_index)
        return output

    def tell_what_is_left_out(self, outs, cell_index):
        """Put a notice behind the last output that is kept, or change it."""
        if cell_index not in self.notices:
            outs.append(new_output("stream", name="stdout"))
            self.notices[cell_index] = outs[-1]
        left_out = self.printed[cell_index] - LIMIT
        self.notices[cell_index].text = f"\n[Left out here: at least {left_out:,} characters more.]\n"

    def clear_output(self, outs, msg, cell_index):
        """Called by nbclient where a cell clears its output: now, or before its next one."""
        super().clear_output(outs, msg, cell_index)
        if not self.clear_before_next_output:
            self.forget(cell_index)

    def forget(self, cell_index):
        """Count anew: what was printed is no longer shown."""
        self.printed.pop(cell_index, None)
        self.notices.pop(cell_index, None)


def bound(content):
    """Shorten the texts of an output that is no print; ValueError where a page could not show its image or figure."""
    if "traceback" in content:
        content["evalue"], content["traceback"] = shortened(content["evalue"]), [*map(shortened, content["traceback"])]
    data = content.get("data", {})
    for kind in [kind for kind in data if kind.startswith("text/")]:
        data[kind] = text = str(data[kind])
        if len(text) > LIMIT and kind != "text/plain":  # markup that is cut would be other markup
            del data[kind]
            data["text/plain"] = f"[Left out here: {kind} of {len(text):,} characters.]"
    if "text/plain" in data:
        data["text/plain"] = shortened(data["text/plain"])
    for kind in data.keys() & {"image/png", "image/jpeg", "image/gif", "application/pdf"}:
        check_image(kind, data[kind])
    check_figure(content.get("metadata", {}).get("labcode", {}))


def check_image(kind, text):
    """Raise ValueError where an image is no base64 of one: found later, the chapter would count as done."""
    try:
        image = binascii.a2b_base64(text)
        if kind == "image/png" and not (image.startswith(PNG) and len(image) > 24):  # a page tells its size
            raise ValueError("it does not begin as a PNG")
    except (ValueError, TypeError) as error:
        raise ValueError(f"the cell shows {kind} that is no base64 of one: {error}. Encode its bytes.") from error


def check_figure(figure):
    """Raise ValueError where a figure has no name, caption or alternative text of one line."""
    wrong = [key for key in ("name", "caption", "alt") if not is_line(figure.get(key))] if figure else []
    if wrong:
        raise ValueError(f"the cell shows a figure whose {', '.join(wrong)} is missing or no line. Use plots.show.")


def is_line(text):
    """Whether this is one line of text."""
    return isinstance(text, str) and len(text.splitlines()) == 1


def shortened(text):
    """The text, or its first ``LIMIT`` characters and how many were left out."""
    rest = len(text) - LIMIT
    return f"{text[:LIMIT]}\n[Left out here: {rest:,} characters more.]" if rest > 0 else text


class Engine(NBClientEngine):
    """papermill's engine with that client."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, input_path, start_timeout, **options):
        """Called by papermill; the options are nbclient's."""
        client = BoundedClient(nb_man, kernel_name=kernel_name, startup_timeout=start_timeout, **options)
        try:
            client.execute()
        finally:
            if client.kc:  # nbclient leaves it to him who started the kernel
                client.kc.stop_channels()
                client.kc.context.destroy()


papermill_engines.register(ENGINE, Engine)
