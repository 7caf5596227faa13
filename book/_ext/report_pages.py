"""A Sphinx extension for what the report's pages need beyond their theme."""


def setup(app):
    """Connect to Sphinx's events, in the order in which a build meets them."""
    app.connect("config-inited", leave_out_thebe)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}


def leave_out_thebe(app, config):
    """Jupyter Book always loads sphinx_thebe, whose scripts fail on every page where nobody has asked for it."""
    if config.html_theme_options.get("launch_buttons", {}).get("thebe"):
        return
    for event in ("env-before-read-docs", "doctree-resolved"):
        for listener in list(app.events.listeners[event]):
            if listener.handler.__module__ == "sphinx_thebe":
                app.disconnect(listener.id)
