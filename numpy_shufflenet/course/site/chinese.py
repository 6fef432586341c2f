"""What the site needs for Chinese: search by pairs of characters, and links between languages."""

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

from numpy_shufflenet.locale import ENGLISH, LANGUAGES, marked, translate

NAMES = {ENGLISH: "English", **LANGUAGES}
CODE, TITLE = marked("Code"), marked("ShuffleNet, taken apart")
HAN = "\u3400-\u4dbf\u4e00-\u9fff"
SPLIT = re.compile(rf"([{HAN}]+)|([^\W{HAN}]+)")
SPLIT_QUERY = f"""
var splitQuery = (query) =>
  [...query.matchAll(/([{HAN}]+)|([^{HAN}\\P{{L}}]|[\\p{{N}}_])+/gu)].flatMap(([text, han]) =>
    han && han.length > 1
      ? Array.from({{ length: han.length - 1 }}, (_, i) => han.slice(i, i + 2))
      : [text]);
"""


class SearchChinese(SearchEnglish):
    """Search in Chinese and English text.

    Chinese has no spaces between words. Each pair of neighbouring characters is a word of the
    index, and a query is split in the same way: whoever asks for 通道混洗 finds the pages that have
    通道, 道混 and 混洗. Sphinx's own Chinese search needs the package jieba, whose dictionary lacks
    many terms, and it doesn't split queries.
    """

    lang = "zh"
    language_name = "English"  # names the stemmer in JavaScript, which is for English words
    js_splitter_code = SPLIT_QUERY

    def split(self, input: str) -> list[str]:
        """Return the words of a text."""
        found: list[str] = []
        for han, word in SPLIT.findall(input):
            pairs = [han[i : i + 2] for i in range(len(han) - 1)]
            found += pairs or [han or word]
        return found


def translate_settings(app: Sphinx, config: Any) -> None:
    """Translate the title of the site and the labels of folded code."""
    language = config.language
    config.html_title = translate(TITLE, language)
    config.nb_code_prompt_show = config.nb_code_prompt_hide = translate(CODE, language)


def link_languages(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Give a page the links to itself in the other languages: (tag, name, address)."""
    languages = app.config.languages
    own = app.config.language
    up = "../" if languages and own != languages[0] else ""
    context["page_languages"] = [
        (
            name.replace("_", "-"),
            NAMES[name],
            context["pathto"](f"{up}{'' if name == languages[0] else f'{name}/'}{page}.html", 1),
        )
        for name in languages
        if name != own
    ]
