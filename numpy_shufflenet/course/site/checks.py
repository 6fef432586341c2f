"""Checks that every internal link of a site has a target, and no page loads from other hosts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}
NOT_LOADED = {"canonical", "index", "search", "next", "prev", "author", "help"}
OUTSIDE_CSS = re.compile(r"(?:@import\s+|url\()['\"]?((?:https?:)?//[^'\")]+)")


@dataclass
class _Links(HTMLParser):
    """The links of a page, the files that it loads, and its anchors."""

    names: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the anchors, links and files of a tag."""
        found = {key: value or "" for key, value in attrs}
        self.names.update(found[key] for key in ("id", "name") if key in found)
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        url = found.get(LOADED.get(tag, ""), "")
        if url and not NOT_LOADED & set(found.get("rel", "").split()):
            self.loads.append(url)
        self.loads += re.findall(r"url\((?!['\"]?#)['\"]?([^'\")]+)", found.get("style", ""))


def problems_of(site: Path) -> list[str]:
    """Return a sentence for each broken link in a site and for each file from another host."""
    site = site.resolve()
    pages = {path: _read(path) for path in site.rglob("*.html")}
    found = [
        f"{path.relative_to(site)} {problem}"
        for path, page in sorted(pages.items())
        for problem in (*_loads(path, page), *_links(site, path, pages))
    ]
    found += [
        f"{path.relative_to(site)} loads {url} from outside"
        for path in site.rglob("*.css")
        for url in OUTSIDE_CSS.findall(path.read_text("utf-8"))
    ]
    return list(dict.fromkeys(found))


def _loads(path: Path, page: _Links) -> Iterator[str]:
    """Yield the problems of the files that a page loads."""
    for url in page.loads:
        if url.startswith("//") or urlsplit(url).scheme not in ("", "data"):
            yield f"loads {url} from outside"
        elif not url.startswith("data:") and not _target(path, url).exists():
            yield f"loads {url}, which isn't there"


def _links(site: Path, path: Path, pages: dict[Path, _Links]) -> Iterator[str]:
    """Yield the problems of the links of a page to this site."""
    for url in pages[path].links:
        if not urlsplit(url).scheme and (problem := _broken(site, path, url, pages)):
            yield f"links to {url}: {problem}"


def _read(path: Path) -> _Links:
    page = _Links()
    page.feed(path.read_text("utf-8"))
    return page


def _target(page: Path, url: str) -> Path:
    """Return the file to which a relative link points."""
    path = unquote(urlsplit(url).path)
    target = (page.parent / path).resolve() if path else page
    return target / "index.html" if target.is_dir() else target


def _broken(site: Path, page: Path, url: str, pages: dict[Path, _Links]) -> str:
    """Return the problem of a link to this site, or ""."""
    target = _target(page, url)
    if not target.exists():
        return "there is no such file"
    if not target.is_relative_to(site.resolve()):
        return "the file is outside the site"
    anchor = unquote(urlsplit(url).fragment)
    there = pages.get(site / target.relative_to(site.resolve()))
    if anchor and there and anchor not in there.names:
        return f"the page has no id {anchor!r}"
    return ""
