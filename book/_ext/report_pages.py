"""A Sphinx extension for what the report's pages need beyond their theme."""

import re
import struct
import textwrap
import zipfile
import zlib
from html import escape
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform

USED_AT_ONCE = ("documentation_options", "doctools")  # by scripts within the page
PICTURE = re.compile(r'(?<=<img )(?=[^>]*src="[^"]*/([^"/]+\.png)")')
# code as a whole, or, in the text, a blank between a number and its sign or its unit
WITHIN_NUMBER = re.compile(r"(<pre.*?</pre>)|(?:(?<=≈) (?=[-+\d])|(?<=\d) (?=%|pp\b))(?![^<>]*>)", re.S)
# the address of a text in a link or a button that downloads it; a later build finds its zip there
DOWNLOAD = re.compile(r'(?<=href=")([^"#:]+\.(?:json|ipynb))(?:\.zip)?(?="[^>]*\bdownload)')


def setup(app):
    """Connect to Sphinx's events, in the order in which a build meets them."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_display, None))
    app.connect("config-inited", leave_out_thebe)
    app.add_transform(ShowMarkupAsText)
    app.connect("html-page-context", finish_page)
    app.connect("build-finished", zip_downloads, priority=700)  # when all that is offered is written
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}


def leave_out_thebe(app, config):
    """Jupyter Book always loads sphinx_thebe, whose scripts fail on every page where nobody has asked for it."""
    if config.html_theme_options.get("launch_buttons", {}).get("thebe"):
        return
    for event in ("env-before-read-docs", "doctree-resolved"):
        for listener in list(app.events.listeners[event]):
            if listener.handler.__module__ == "sphinx_thebe":
                app.disconnect(listener.id)


class ShowMarkupAsText(SphinxTransform):
    """Show the markup in an output as text, but in HTML: what a cell computes must not become a script.

    Nor may a Markdown output bring along pictures, which would be copied from wherever they are, or rules, which
    docutils allows only between sections.
    """

    default_priority = 800  # before docutils looks at rules

    def apply(self):
        """Called by Sphinx for each page."""
        for output in list(self.document.findall(nodes.container)):
            if output.get("mime_type", "text/html") != "text/html":
                for raw in list(output.findall(nodes.raw)):
                    raw.replace_self(nodes.inline("", raw.astext()))
            if output.get("mime_type") == "text/markdown":
                for image in list(output.findall(nodes.image)):
                    image.replace_self(nodes.inline("", image.get("alt", "")))
                for rule in list(output.findall(nodes.transition)):
                    rule.parent.remove(rule)


def write_formula(translator, node):
    """Write a formula in a sentence as MathML, which browsers draw and screen readers read without any script."""
    translator.body.append(as_mathml(node))
    raise nodes.SkipNode


def write_display(translator, node):
    """Write a formula on a line of its own."""
    translator.body.append(f'<div class="math" tabindex="0">{as_mathml(node, as_block=True)}</div>')
    raise nodes.SkipNode


def as_mathml(node, **options):
    """The MathML of a node's LaTeX."""
    try:
        return tex2mathml(node.astext(), **options)
    except ValueError as error:  # docutils' MathError is one
        raise ExtensionError(f"{node.astext()!r}: {error}. Write the formula with what docutils can read.") from error


def finish_page(app, pagename, templatename, context, doctree):
    """Say in a page's head what it is about; offer what was executed; mend the text for narrow screens and tables."""
    if doctree and (paragraph := next(doctree.findall(nodes.paragraph), None)):
        description = escape(textwrap.shorten(paragraph.astext(), 160, placeholder=" ..."))
        context["metatags"] = context.get("metatags", "") + f'<meta name="description" content="{description}" />'
    for script in context["script_files"]:  # the text comes first
        if script.filename and not any(name in script.filename for name in USED_AT_ONCE):
            script.attributes["defer"] = "defer"
    if doctree is None or not context.get("sourcename", "").endswith(".ipynb"):
        return
    body = context["body"].replace('<th class="head"><p></p></th>', "<td></td>")
    files = {name: source for source, name in app.builder.images.items()}
    body = WITHIN_NUMBER.sub(lambda found: found[1] or "\N{NO-BREAK SPACE}", body)
    body = PICTURE.sub(lambda image: size_of(app.srcdir, files.get(image[1])), body)
    notebook = context["pathto"](f"_sources/{context['sourcename']}", resource=True)
    link = f'<a href="{notebook}" download>This chapter as it was executed (.ipynb, zipped)</a>'
    context["body"] = f'{body}\n<p class="download">{link}</p>'


def size_of(folder, name):
    """The attributes of a PNG that leave room for it and let the text come first; none of what is not here."""
    head = Path(folder, name).read_bytes()[16:24] if name else b""
    if len(head) < 8:
        return ""
    width, height = struct.unpack(">II", head)
    return f'width="{width}" height="{height}" decoding="async" fetchpriority="low" '


def zip_downloads(app, exception):
    """Offer texts zipped: on a page opened from disk, a browser shows a text in place of downloading it."""
    for page in Path(app.outdir).rglob("*.html") if exception is None else ():
        text = page.read_text("utf-8")
        if names := set(DOWNLOAD.findall(text)):
            for name in names:
                write_zip(page.parent / name)
            if (zipped := DOWNLOAD.sub(r"\1.zip", text)) != text:
                page.write_text(zipped, "utf-8")


def holds(zipped, name, content):
    """Whether a zip is there, is whole and has a file of this name with this content."""
    try:
        with zipfile.ZipFile(zipped) as archive:
            return archive.read(name) == content
    except (OSError, LookupError, ValueError, zipfile.BadZipFile, zlib.error):
        return False


def write_zip(path):
    """Write beside a file a zip of it, the same bytes each time, unless one is there."""
    content, zipped = path.read_bytes(), Path(f"{path}.zip")
    if not holds(zipped, path.name, content):
        with zipfile.ZipFile(zipped, "w") as archive:
            archive.writestr(zipfile.ZipInfo(path.name), content, zipfile.ZIP_DEFLATED)
