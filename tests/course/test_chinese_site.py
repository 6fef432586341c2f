"""The site in two languages: pages link to one another, and search finds Chinese words."""

import re

import pytest
from browser import browser
from peers import need

from numpy_shufflenet.course import editions
from numpy_shufflenet.course.languages import edition
from numpy_shufflenet.course.lessons import find

need("sphinx")
need("myst_nb")
need("sphinx_copybutton")

from numpy_shufflenet.course.site import chinese  # noqa: E402
from numpy_shufflenet.course.site.build import build_site  # noqa: E402

NUMBERS = [3, 8]
UNTRANSLATED, SHUFFLE = find(NUMBERS)
PAGES = (
    "index.html",
    "glossary.html",
    "numbers.html",
    "search.html",
    "genindex.html",
    "api/index.html",
    f"lessons/{SHUFFLE.name}.html",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Nothing runs: the notebooks have no outputs."""
    room = tmp_path_factory.mktemp("course")
    for lesson in (UNTRANSLATED, *find([8]), *find([8], "zh_CN")):
        folder = editions.folder_of(room / "solution", lesson.language)
        folder.mkdir(parents=True, exist_ok=True)
        editions.write_notebook(editions.solution(lesson), folder / f"{lesson.name}.ipynb")
    out = room / "site"
    both = find(NUMBERS), find(NUMBERS, "zh_CN")
    options = {"executed": room / "solution", "packages": ("timing",)}
    texts_of = edition.texts_of
    with pytest.MonkeyPatch.context() as monkeypatch:  # all lessons are translated
        monkeypatch.setattr(
            edition,
            "texts_of",
            lambda source, language: (
                None if source.stem == UNTRANSLATED.name else texts_of(source, language)
            ),
        )
        build_site(out, both[0], translations=both[1:], **options)
    return out


@pytest.mark.parametrize("name", PAGES)
def test_a_page_links_to_itself_in_the_other_language(site, name):
    up = "../" * name.count("/")
    english = (site / name).read_text("utf-8")
    assert f'<a href="{up}zh_CN/{name}" hreflang="zh-CN" lang="zh-CN">中文</a>' in english
    chinese = (site / "zh_CN" / name).read_text("utf-8")
    assert f'<a href="{up}../{name}" hreflang="en" lang="en">English</a>' in chinese
    assert re.search(r'<html[^>]* lang="zh-CN"', chinese)


def test_pages_are_chinese(site):
    index = (site / "zh_CN" / "index.html").read_text("utf-8")
    assert "<title>拆解 ShuffleNet</title>" in index
    assert "8. 通道混洗的前向和反向" in index
    assert "回到顶部" in index
    assert "course start --language zh_CN" in re.sub("<[^>]*>", "", index)
    lesson = (site / "zh_CN" / "lessons" / f"{SHUFFLE.name}.html").read_text("utf-8")
    for words in ("先猜一猜", "下载练习笔记本", "本页内容", "上一页"):
        assert words in lesson
    assert "exercises.language" not in lesson
    assert "打开下一个单元格" not in lesson
    other = (site / "zh_CN" / "lessons" / f"{UNTRANSLATED.name}.html").read_text("utf-8")
    assert "这一课还没有中文译文" in other
    assert "which output" in other
    assert "每个通道" in (site / "zh_CN" / "glossary.html").read_text("utf-8")


def test_search_finds_chinese_words(site):
    with browser() as page:
        page.open(site / "zh_CN" / "search.html")
        query = "通道混洗的dx通道 x_2 逆"
        found = page.evaluate(f"splitQuery('{query}')")
        assert found == ["通道", "道混", "混洗", "洗的", "dx", "通道", "x_2", "逆"]
        assert found == chinese.SearchChinese({}).split(query)
        page.evaluate("document.querySelector('input[name=q]').value = '置换的顺序'")
        page.evaluate("Search.performSearch('逆置换')")
        links = "[...document.querySelectorAll('#search-results li a')].map((a) => a.href)"
        page.wait_for(f"{links}.some((href) => href.includes('/lessons/{SHUFFLE.name}.html'))")
