"""The glossary: enough terms, in order, in both languages, each with a lesson that exists."""

import re

from numpy_shufflenet.course.lessons import lessons
from numpy_shufflenet.course.site.docstrings import inline
from numpy_shufflenet.course.site.glossary import glossary_page, terms

TERMS = terms()
# What the course grew from: the subjects of a note on light networks, in Chinese.
SUBJECTS = {
    *("浮点运算量", "内存访问量", "四条准则", "通道宽度相等", "分组卷积", "碎片化", "并行度"),
    *("逐元素操作", "下采样", "上采样", "平均池化", "插值", "批归一化", "小批量", "收敛", "正则化"),
    *("逐通道卷积", "逐点卷积", "深度可分离卷积", "滤波器间的对角相关性", "通道混洗", "感受野"),
    *("ShuffleNet V1", "ShuffleNet V2", "AlexNet", "MobileNet", "雅可比矩阵", "参数"),
}

CALLED = {"fusion": "fusing", "receptive field": "window"}  # what the lesson calls it


def test_there_are_at_least_60_terms_in_order_and_each_once():
    names = [term.english.lower() for term in TERMS]
    assert len(names) >= 60
    assert names == sorted(names)
    every = [name.lower() for t in TERMS for name in {t.english, t.chinese, *t.also}]
    assert len(every) == len(set(every))


def test_the_subjects_of_the_course_are_there():
    assert {name for term in TERMS for name in (term.chinese, *term.also)} >= SUBJECTS


def test_translators_find_at_least_80_terms():
    assert len(TERMS) >= 80
    assert sum(term.strict for term in TERMS) >= 25


def test_terms_are_explained_in_a_sentence():
    for term in TERMS:
        assert re.fullmatch(r"[^\s].{20,300}\.", term.text), term.english
        assert re.search("[\u4e00-\u9fff]", term.chinese) or term.chinese == term.english


def test_a_term_leads_to_its_lesson_which_speaks_of_it():
    there = {lesson.number: lesson for lesson in lessons()}
    for term in TERMS:
        assert 0 <= term.lesson <= 16
        if term.lesson in there:
            name = CALLED.get(term.english, term.english)
            stems = {word[:5] for word in re.findall(r"\w+", name.lower())}
            text = there[term.lesson].source.read_text("utf-8").lower()
            assert any(stem in text for stem in stems), term.english
    text = glossary_page(lessons(), lambda name: None)
    assert text.count(":doc:`Lesson ") == sum(term.lesson in there for term in TERMS)


def test_names_in_the_api_exist():
    from numpy_shufflenet.course.site.api import Reference

    link = Reference().link
    assert all(link(term.see) for term in TERMS if term.see)


def test_characters_of_markup_mean_themselves():
    assert inline("a * b_ | c\\d") == r"a \* b\_ \| c\\d"
    assert inline("a `b_c`s", lambda name: f"<{name}>") == r"a <b_c>\ s"
