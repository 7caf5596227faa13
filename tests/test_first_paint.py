"""What a browser needs before it shows a page: rules that no page uses are left out, and all others stay."""

import first_paint
import pytest
import tinycss2

USED = {"card", "wide", "main"}


def kept(css):
    rules = tinycss2.parse_stylesheet(css, skip_whitespace=True)
    return "".join(first_paint.needed(rules, USED))


@pytest.mark.parametrize(
    "css",
    [
        "a{color:red}",
        ".card.wide>#main:hover{color:red}",
        "[class*=fa-]{color:red}",
        ":not(.gone) .card{color:red}",
        "@media print{.card{color:red}}",
        "@keyframes turn{from{opacity:0}}",
        ":root{--a:.gone}",
        "/*! a licence */",
    ],
)
def test_what_a_page_may_use_stays(css):
    assert kept(css) == css


@pytest.mark.parametrize(
    "css",
    [
        ".gone{color:red}",
        ".card .gone{color:red}",
        "a#gone{color:red}",
        "@media print{.gone{color:red}}",
        "@font-face{font-family:x}",
        r'.card{--fa:"\f062"}',
        "/* a remark */",
    ],
)
def test_what_no_page_can_use_goes(css):
    assert kept(css) == ""


def test_of_several_selectors_those_that_are_used_stay():
    assert kept("a,.gone b,.card{color:red}.gone,.card.gone{color:blue}") == "a,.card{color:red}"


def test_an_imported_stylesheet_stands_in_the_place_of_its_import(tmp_path):
    (tmp_path / "styles").mkdir()
    (tmp_path / "basic.css").write_text("a{color:red}")
    (tmp_path / "styles" / "theme.css").write_text('@import "../basic.css";\nb{color:blue}')
    rules = first_paint.read(tmp_path / "styles" / "theme.css")
    assert "".join(first_paint.needed(rules, USED)) == "a{color:red}b{color:blue}"


def test_names_are_read_from_pages_and_scripts(tmp_path):
    (tmp_path / "page.html").write_text('<p class="card wide-1">text</p>')
    (tmp_path / "script.js").write_text('each.classList.add("shown")')
    assert {"card", "wide-1", "shown"} <= first_paint.used_names(tmp_path.iterdir())
