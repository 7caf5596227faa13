"""What a chapter prints is text on its page: no markup of it is obeyed, in whatever output it comes.

Two kinds of output are not here: HTML, which is there to be obeyed, and errors, which end the build.
"""

import html.parser
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from tiny_book import PIXEL

ROOT = Path(__file__).parents[2]


def attack(name):
    """Markup that would run a script; in each output another one, so that the page tells which it shows."""
    return f"<script>alert('{name}')</script> <b onclick=alert('{name}')>{name}</b>"


MARKDOWN = f"""
Inline {attack("inline")} and [a link](javascript:alert('link')) and ![](javascript:alert('image')).

<div onmouseover="alert('block')">block</div>
{attack("table-before")}

| head |
|---|
| {attack("table")} |

```{{raw}} html
{attack("raw")}
```

```{{eval-rst}}
.. raw:: html

   {attack("rst")}
.. meta::
   :http-equiv=refresh: 0; url=javascript:alert('meta')
```

A note.[^note]

[^note]: {attack("footnote")}

```{{image}} x.png
:target: javascript:alert('target')
```

```{{button-link}} javascript:alert('button')
{attack("button")}
```

```{{include}} ../secret.txt
```

```{{thebe-button}} {attack("thebe")}
```

![picture](../secret.txt)

---
"""
CAPTION = (
    "A {{ env.__class__ }} {download}`../secret.txt` [c](../secret.txt) {bdg-link-danger}`go <javascript:alert('a')>` "
    f"{attack('caption')}"
)
FENCE = "```{include} ../secret.txt"
WIDGET = {"a": f"</script >{attack('widget')}"}
CELLS = [
    "seed = 0  # \"</code><script>alert('source')</script>\"",
    "import sys\nfrom IPython.display import Markdown, display\nfrom myst_nb import glue",
    f"print({attack('stdout')!r})",
    f"print({attack('stderr')!r}, file=sys.stderr)",
    f"class Text:\n    def __repr__(self):\n        return {attack('plain')!r}\nText()",
    f"Markdown({MARKDOWN!r})",
    f"glue('word', {attack('glue')!r}, display=False)",
    f"figure = {{'name': 'fig-dot', 'caption': {CAPTION!r}, 'alt': '\">' + {attack('alt')!r}}}\n"
    f"display({{'image/png': {PIXEL!r}, 'text/plain': 'dot'}}, raw=True, metadata={{'labcode': figure}})",
    f"figure = {{'name': 'fig-fence', 'caption': {FENCE!r}, 'alt': 'dot'}}\n"
    f"display({{'image/png': {PIXEL!r}, 'text/plain': 'dot'}}, raw=True, metadata={{'labcode': figure}})",
    f"display({{'application/vnd.jupyter.widget-view+json': {WIDGET!r}, 'text/plain': 'w'}}, raw=True)",
]
FAR = "https://example.org/far.png"
SHOWN = {"stdout", "stderr", "plain", "glue", "caption", "inline", "block", "table", "raw", "rst", "source", "footnote"}


def configuration():
    """The project's own, with what lies outside the tiny book left out."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    config["sphinx"]["local_extensions"] = dict.fromkeys(config["sphinx"]["local_extensions"], str(ROOT / "book/_ext"))
    for key in ("html_static_path", "html_css_files", "papermill_sources"):
        config["sphinx"]["config"].pop(key)
    return {key: value for key, value in config.items() if key not in ("html", "bibtex_bibfiles")}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of a book whose chapter attacks by each kind of output."""
    root = tmp_path_factory.mktemp("parent") / "book"
    root.mkdir()
    (root.parent / "secret.txt").write_text("a secret")
    make = nbformat.v4
    cells = [make.new_code_cell(source) for source in CELLS]
    cells[0].metadata["tags"] = ["parameters"]
    cells = [
        make.new_markdown_cell(f'# Attack\n\nCode: `">{attack("code")}`. Glued: {{glue:text}}`word`.\n\n![]({FAR})'),
        *cells,
    ]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(make.new_notebook(cells=cells, metadata={"kernelspec": spec}), root / "chapter.ipynb")
    (root / "_config.yml").write_text(yaml.safe_dump(configuration()))
    (root / "_toc.yml").write_text("{format: jb-book, root: chapter}")
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(root)]
    env = os.environ | {"LABCODE_DATASET": "mnist-5k"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "_build" / "html"


@pytest.fixture(scope="module")
def page(pages):
    """The HTML of that chapter."""
    return (pages / "chapter.html").read_text("utf-8")


class Found(html.parser.HTMLParser):
    """What a browser would obey, and the text that it would show."""

    def __init__(self, page):
        super().__init__()
        self.obeyed, self.shown, self.inside = [], "", None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.inside = tag
        self.obeyed += [name for name, value in attributes if name.startswith("on") and "alert" in (value or "")]
        self.obeyed += [value for _, value in attributes if (value or "").strip().lower().startswith("javascript:")]
        self.obeyed += [tag] if tag == "meta" and "refresh" in str(attributes) and "alert" in str(attributes) else []

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside == "script":
            self.obeyed += [data] if "alert(" in data else []
        else:
            self.shown += data


def test_no_markup_of_an_output_is_obeyed(page):
    assert Found(page).obeyed == [] and "a secret" not in page


def test_nothing_of_an_output_s_markdown_reaches_outside_the_book(page, pages):
    assert [path for path in pages.rglob("*") if path.is_file() and b"a secret" in path.read_bytes()] == []
    assert "picture" in Found(page).shown and "<table" in page, "the table of an output is one"


def test_a_caption_is_text(page):
    shown = re.sub("[‘’]", "'", Found(page).shown)
    assert (
        "A {{ env.__class__ }} {download}`../secret.txt` [c](../secret.txt) {bdg-link-danger}`go <javascript:" in shown
    )
    assert "```{include} ../secret.txt" in shown


def test_the_markup_of_every_output_is_shown_as_text(page):
    shown = re.sub("[‘’]", "'", Found(page).shown)  # as Sphinx sets quotes
    assert {name for name in SHOWN if f"alert('{name}')" not in shown} == set()


def test_an_alternative_text_stays_one(page):
    assert """alt="&quot;&gt;&lt;script&gt;alert('alt')""" in page.replace("&#x27;", "'").replace("&#39;", "'")


def test_a_picture_from_elsewhere_is_no_hindrance(page):
    assert f'src="{FAR}"' in page


@pytest.mark.parametrize(
    "markup",
    [
        "<script>alert('x')</script>",
        "<meta http-equiv='refresh' content=\"0; alert('x')\">",
        "<b onclick=\"alert('x')\">b</b>",
        "<a href=\" JavaScript:alert('x')\">a</a>",
    ],
)
def test_markup_that_is_obeyed_would_be_seen(markup):
    assert len(Found(f"<p>{markup}</p>").obeyed) == 1
