"""Takes the README's two pictures from the built pages: ``make screenshots``."""

from pathlib import Path

import browser

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "_build" / "html" / "book"
PICTURES = ROOT / "book" / "_static"
WINDOW = {"viewport": {"width": 1180, "height": 760}, "device_scale_factor": 0.75}  # below 150 kB a picture
# A 3, drawn in one stroke: places on the paper, as shares of its width and height.
STROKE = [(0.32, 0.26), (0.44, 0.18), (0.58, 0.19), (0.66, 0.29), (0.61, 0.41), (0.47, 0.48)]
STROKE += [(0.62, 0.52), (0.70, 0.64), (0.65, 0.77), (0.52, 0.84), (0.38, 0.82), (0.29, 0.74)]


def main():
    """Write ``report.png``, the first page, and ``draw.png``, the drawing page with a digit."""
    with browser.page(**WINDOW) as page:
        page.goto((PAGES / "index.html").as_uri())
        page.screenshot(path=PICTURES / "report.png")
        page.goto((PAGES / "10_draw.html").as_uri())
        draw(page)
        page.screenshot(path=PICTURES / "draw.png")


def draw(page):
    """Draw the stroke with the mouse, the paper at the top of the window, and wait for the answers."""
    paper = page.locator("#draw-paper")
    page.locator("#draw").evaluate("drawing => scrollBy(0, drawing.getBoundingClientRect().top - 100)")
    box = paper.bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in STROKE]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=4)
    page.mouse.up()
    page.locator("#draw-said", has_text="reads").wait_for()


if __name__ == "__main__":
    main()
