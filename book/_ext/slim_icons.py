"""A Sphinx extension that leaves out of the theme's script of icons those that no page shows.

The script holds some two thousand icons, more bytes than all else that a page loads.
"""

import re
from pathlib import Path

SCRIPT = Path("_static", "scripts", "fontawesome.js")
# name:[width,height,[other names],"code","path" or ["path","path"]]
ICON = re.compile(r'"?([\w-]+)"?:\[\d+,\d+,\[([^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?')
USED = re.compile(r"\bfa-([a-z0-9-]+)")


def setup(app):
    """Connect to the end of the build."""
    app.connect("build-finished", slim)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}


def slim(app, exception):
    """Keep the icons that a page or a script names; a theme without that script stays as it is."""
    pages, script = Path(app.outdir), Path(app.outdir) / SCRIPT
    if exception or not script.exists():
        return
    sources = [path for suffix in ("html", "js") for path in pages.rglob(f"*.{suffix}") if path != script]
    used = {name for path in sources for name in USED.findall(path.read_text("utf-8"))}

    def keep(match):
        names = {match[1], *re.findall(r'"([\w-]+)"', match[2])}
        return match[0] if names & used else ""

    script.write_text(ICON.sub(keep, script.read_text("utf-8")), "utf-8")
