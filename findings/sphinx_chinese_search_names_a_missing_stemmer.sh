#!/usr/bin/env bash
# The search of every Chinese site that Sphinx builds ends in a ReferenceError in the browser.
#
# Versions: Sphinx 9.0.4; JavaScript by V8 (mini-racer 0.14.1).
#
# With language = "zh_CN" Sphinx writes the English stemmer into _static/language_data.js, but ends
# the file with "window.Stemmer = ChineseStemmer", a name that nothing defines. searchtools.js then
# calls "new Stemmer()", so no query gives a result, neither a Chinese nor an English one. The build
# succeeds without a warning, also with -W. The same site in English, German and Japanese is right.
#
# Ends with exit code 0 if Sphinx still behaves so, and 1 if it has changed.
set -euo pipefail

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip install --quiet sphinx==9.0.4 mini-racer==0.14.1
mkdir source
printf 'Networks\n========\n\nConvolution, 卷积.\n' >source/index.rst
touch source/conf.py
for language in en de ja zh_CN; do
  venv/bin/sphinx-build -q -W -D language=$language source "site-$language"
done
venv/bin/python - <<'PYTHON'
from contextlib import closing
from pathlib import Path

from py_mini_racer import JSEvalException, MiniRacer


def stem(language):
    """Return what the page's stemmer makes of a word, or the error of the script."""
    with closing(MiniRacer()) as browser:
        browser.eval("var window = globalThis")
        try:
            browser.eval(Path(f"site-{language}/_static/language_data.js").read_text("utf-8"))
            return browser.eval('new Stemmer().stemWord("networks")')
        except JSEvalException as error:
            return next(line for line in str(error).splitlines() if "Error" in line)


found = {language: stem(language) for language in ("en", "de", "ja", "zh_CN")}
for language, result in found.items():
    print(f"{language}: {result}")
assert found["en"] == "network"
assert all("Error" not in found[language] for language in ("de", "ja"))
assert "ChineseStemmer is not defined" in found["zh_CN"], "the Chinese search works now"
PYTHON
