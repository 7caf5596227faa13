"""A Sphinx extension that lets a phone show a page soon: one small stylesheet, and nothing else, comes before the text.

The theme's stylesheets hold some 500 kB, most of it for what no page has, and a browser shows nothing before it has
read them all. The icons are drawn by the theme's script, so their font, 156 kB, is left out too.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

import tinycss2

SHEET = Path("_static", "styles", "pages.css")
LINK = re.compile(r'<link\b[^>]*\brel="stylesheet"[^>]*>\s*')
ADDRESS = re.compile(r'\bhref="([^"]+)"')
LETTER = "--fa:"  # of the font of icons: begins the rule of an icon that the font draws
# scripts that only the search page needs, and the hurry of those that the text need not wait for
NOT_NEEDED = re.compile(
    r'<script src="[^"]*\b(?:searchtools|language_data|searchindex)\.js"></script>\s*|<link rel="preload"[^>]*>\s*'
)


def setup(app):
    """Connect to the end of the build, after ``slim_icons``, so that only icons that a page shows count as used."""
    app.connect("build-finished", finish, priority=600)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}


def finish(app, exception):
    """Put the rules that the pages use into one stylesheet, and name it in place of those that all pages share."""
    folder = Path(app.outdir)
    search = folder / "search.html"  # it is written in every build, and has no stylesheet of its own
    if exception or not search.exists():
        return
    shared = sheets(search)
    if SHEET.name in (Path(sheet).name for sheet in shared):
        return  # nothing was written in this build
    pages = [path for path in folder.rglob("*.html") if "_static" not in path.parts]
    used = used_names([*pages, *folder.rglob("*.js")])
    rules = [rule for sheet in shared for rule in needed(read(folder / sheet), used)]
    (folder / SHEET).write_text("\n".join(rules), "utf-8")
    for page in pages:
        text = page.read_text("utf-8")
        shorter = name_one_sheet(text, shared)
        page.write_text(shorter if page == search else NOT_NEEDED.sub("", shorter), "utf-8")


def sheets(page):
    """The stylesheets that a page names, as paths from the folder of all pages."""
    return [sheet_of(link) for link in LINK.findall(page.read_text("utf-8"))]


def sheet_of(link):
    """The stylesheet of a link, as a path from the folder of all pages."""
    return urlsplit(ADDRESS.search(link)[1]).path.removeprefix("../")


def name_one_sheet(text, shared):
    """A page's text that names ``SHEET`` where it named the first of the shared stylesheets, and none of the others."""

    def replace(link):
        sheet = sheet_of(link[0])
        if sheet not in shared:
            return link[0]
        up = ADDRESS.search(link[0])[1].partition(sheet)[0]
        return f'<link rel="stylesheet" href="{up}{SHEET.as_posix()}" />\n' if sheet == shared[0] else ""

    return LINK.sub(replace, text)


def used_names(paths):
    """Every word of pages and scripts: any may be the name of a class or an id."""
    return {word for path in paths for word in re.findall(r"[\w-]+", path.read_text("utf-8"))}


def read(path):
    """The rules of a stylesheet; one that is imported at its top stands in the place of its import."""
    for rule in tinycss2.parse_stylesheet(path.read_text("utf-8"), skip_whitespace=True):
        if rule.type == "at-rule" and rule.lower_at_keyword == "import":
            imported = next(token.value for token in rule.prelude if token.type in ("string", "url"))
            yield from read(path.parent / imported)
        else:
            yield rule


def needed(rules, used):
    """The text of each rule with a selector whose classes and ids are all used, and licences; not the icons' font."""
    for rule in rules:
        if rule.type == "qualified-rule":
            selectors = [part for part in selectors_of(rule.prelude) if names_in(part) <= used]
            content = tinycss2.serialize(rule.content)
            if selectors and not content.startswith(LETTER):
                head = ",".join(tinycss2.serialize(part).strip() for part in selectors)
                yield f"{head}{{{content}}}"
        elif rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports"):
            inner = "".join(needed(tinycss2.parse_rule_list(rule.content), used))
            if inner:
                yield f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{inner}}}"
        elif rule.type == "comment":
            yield from [rule.serialize()] if rule.value.startswith("!") else []
        elif rule.type == "at-rule" and rule.lower_at_keyword not in ("charset", "font-face"):
            yield rule.serialize()


def selectors_of(prelude):
    """The selectors, each a list of tokens, that commas part."""
    parts = [[]]
    for item in prelude:
        if item == ",":
            parts.append([])
        else:
            parts[-1].append(item)
    return parts


def names_in(selector):
    """The classes and ids that an element must have; what stands within ``:not(...)`` and the like is not looked at."""
    after_dot = {b.value for a, b in zip(selector, selector[1:], strict=False) if a == "." and b.type == "ident"}
    return after_dot | {token.value for token in selector if token.type == "hash"}
