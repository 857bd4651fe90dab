"""The page as a file: the same bytes every time, one file that asks for nothing, and no word of a caller taken for
markup."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from tests.fabricated_standard import make_standard
from tests.reports import build

from crossfade.harness.samples import Block, ScenarioKind
from crossfade.reports import insert, markdown, render
from crossfade.reports.groups import KINDS

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)"> `$\\frac{1}{2}$` & {{ 7*7 }} --> | \x00\x07'
VOID = {"meta", "link", "br", "img", "col", "hr", "input"}


class Outline(HTMLParser):
    """Tags and attributes of a document; fails on an end tag that closes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()


def outline(path: Path) -> Outline:
    found = Outline()
    found.feed(path.read_text(encoding="utf-8"))
    assert found.open == []
    return found


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(build.full(), tmp_path_factory.mktemp("report"))


def test_it_lands_in_the_folder_or_under_the_name_given(tmp_path: Path) -> None:
    results = build.full(blocks=(), order=())
    assert render(results, tmp_path / "new" / "folder") == tmp_path / "new" / "folder" / "report.html"
    assert render(results, tmp_path / "page.html") == tmp_path / "page.html"


def test_the_same_results_give_the_same_bytes(full: Path, tmp_path: Path) -> None:
    assert render(build.full(), tmp_path).read_bytes() == full.read_bytes()


def test_it_is_small_enough_to_pass_on(full: Path) -> None:
    assert full.stat().st_size < 3_000_000


def test_it_asks_the_network_for_nothing(full: Path) -> None:
    """Nothing but the relative link to the results, fragments, and one empty data address points anywhere."""
    for tag, attributes in outline(full).tags:
        assert tag not in {"script", "img", "iframe", "object", "embed", "image"}
        for name in ("href", "src", "xlink:href", "action", "srcset", "poster"):
            address = attributes.get(name) or "#"
            assert address.startswith("#") or address in {"results.json", "data:,"}, (tag, address)
    text = full.read_text(encoding="utf-8")
    assert not re.search(r"@import|url\((?!#)", text)
    assert "default-src 'none'" in text


def test_ids_are_unique_and_every_reference_has_one(full: Path) -> None:
    text = full.read_text(encoding="utf-8")
    ids = re.findall(r"<[^>]* id=\"([^\"]+)\"", text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"(?:url\(#|href=\"#)([\w.-]+)", text)) <= set(ids)


def test_figures_draw_with_variables_of_the_page_and_no_colour_of_their_own(full: Path) -> None:
    text = full.read_text(encoding="utf-8")
    used = set(re.findall(r"var\(--([\w-]+)\)", text))
    defined = set(re.findall(r"--([\w-]+):", text))
    assert used <= defined
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert not re.search(r"(?:fill|stroke): (?!none|var\()[^;\"]*", svg)


def test_every_figure_has_a_label_a_caption_and_its_numbers(full: Path) -> None:
    text = full.read_text(encoding="utf-8")
    figures = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
    assert len(figures) == 7
    for figure in figures:
        assert len(re.findall(r'<svg class="fig (?:wide|narrow)" role="img" aria-label="[^"]{20,}"', figure)) == 2
        assert re.search(r"<figcaption>\w", figure)
        assert "<table>" in figure


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    page = render(build.hostile(HOSTILE), tmp_path)
    found = outline(page)
    assert {tag for tag, _ in found.tags} & {"script", "img"} == set()
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    text = page.read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{ 7*7 }}" in text
    assert "\x00" not in text


def test_a_hostile_attachment_cannot_become_a_script_address(tmp_path: Path) -> None:
    page = render(build.hostile("javascript:alert(1)"), tmp_path)
    addresses = [attributes.get("href") or "" for _, attributes in outline(page).tags]
    assert not any(address.lower().startswith("javascript:") for address in addresses)


@pytest.mark.parametrize("gone", ["rust", "nginx", "ceiling"])
def test_it_renders_without(gone: str, tmp_path: Path) -> None:
    outline(render(build.without(build.full(), gone), tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_it_renders_one_kind_alone(kind: str, tmp_path: Path) -> None:
    results = make_standard(rounds=2)
    kept = tuple(s for s in results.scenarios if s.kind == kind)
    names = {s.name for s in kept}
    blocks = tuple(b for b in results.blocks if b.scenario in names)
    outline(render(msgspec.structs.replace(results, scenarios=kept, blocks=blocks), tmp_path))


def test_it_renders_one_round_and_blocks_with_nothing_in_them(tmp_path: Path) -> None:
    results = build.full()
    one = msgspec.structs.replace(results, blocks=tuple(b for b in results.blocks if b.round == 0))
    outline(render(one, tmp_path / "one"))
    bare = tuple(msgspec.structs.replace(b, metrics={}, points=(), ladder=(), status="failed") for b in results.blocks)
    outline(render(msgspec.structs.replace(results, blocks=bare), tmp_path / "bare"))


def test_it_renders_what_no_variant_survived(tmp_path: Path) -> None:
    """Limits alone in every figure: both variants failed on everything."""
    results = build.full()
    blocks = tuple(
        b if b.kind == "limit" else msgspec.structs.replace(b, metrics={}, points=(), ladder=(), status="failed")
        for b in results.blocks
    )
    page = render(msgspec.structs.replace(results, blocks=blocks), tmp_path)
    outline(page)
    assert "no block gave a throughput" in page.read_text(encoding="utf-8")


def test_it_renders_memory_that_shrinks_and_services_that_stall(tmp_path: Path) -> None:
    results = build.full()

    def odd(block: Block) -> Block:
        ladder = tuple(msgspec.structs.replace(r, pss_kib=90_000.0 - r.connections) for r in block.ladder)
        points = tuple(
            msgspec.structs.replace(
                p, series=tuple(msgspec.structs.replace(s, completed=0, errors=0) for s in p.series), latency=""
            )
            for p in block.points
        )
        metrics = dict.fromkeys(block.metrics, 0.0)
        return msgspec.structs.replace(block, ladder=ladder, points=points, metrics=metrics)

    outline(render(msgspec.structs.replace(results, blocks=tuple(map(odd, results.blocks))), tmp_path))


def test_headings_form_an_outline(full: Path) -> None:
    levels = [int(level) for level in re.findall(r"<h([1-6])", full.read_text(encoding="utf-8"))]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_markdown_says_what_the_page_says() -> None:
    text = markdown(build.full())
    assert text.startswith("**rust serves 2.5 times the requests of python")
    assert "| gateway-echo | Throughput | 12,000/s | 30,000/s | 2.5 (2.5 to 2.5) | \u25b6 better |" in text
    assert text.rstrip().endswith("Again: `crossfade run --profile quick --seed 7`")


def test_the_markdown_of_a_large_run_is_folded_and_what_is_worse_is_not() -> None:
    results = make_standard(rounds=4)
    text = markdown(results)
    assert re.search(r"^\| Throughput and CPU \| \d+ better", text, flags=re.MULTILINE)
    assert text.count("<details>") == text.count("</details>") == 1
    worse = msgspec.structs.replace(results, baseline="rust", candidates=("python",))
    head = markdown(worse).partition("<details>")[0]
    assert head.count("**worse**") > 20


def test_hostile_words_do_not_break_a_markdown_table() -> None:
    text = markdown(build.hostile(HOSTILE))
    rows = [line for line in text.splitlines() if line.startswith("| gateway-echo")]
    assert rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 7 for row in rows)
    assert not re.search(r"(?<!\\)<(?:script|img)", text.rpartition("Again:")[0])


def test_markdown_goes_between_its_markers_and_touches_nothing_else() -> None:
    document = "before\n<!-- crossfade:begin -->\nold\n<!-- crossfade:end -->\nafter\n"
    once = insert(document, "new\n")
    assert once == "before\n<!-- crossfade:begin -->\nnew\n<!-- crossfade:end -->\nafter\n"
    assert insert(once, "new\n") == once
    for broken in ("", "<!-- crossfade:end -->\n<!-- crossfade:begin -->", document + document):
        with pytest.raises(ValueError, match="must mark"):
            insert(broken, "new\n")


def test_every_kind_of_scenario_has_its_place_on_the_page() -> None:
    assert set(KINDS) == set(get_args(ScenarioKind))


def test_a_standard_run_folds_its_verdicts_and_never_those_that_are_worse(tmp_path: Path) -> None:
    results = make_standard(rounds=3)
    slower = tuple(
        msgspec.structs.replace(b, metrics={**b.metrics, "drain_ms": b.metrics["drain_ms"] * 9})
        if (b.scenario, b.variant) == ("burst", "rust")
        else b
        for b in results.blocks
    )
    text = render(msgspec.structs.replace(results, blocks=slower), tmp_path).read_text(encoding="utf-8")
    outside = re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL)
    assert "Where rust is worse" in outside
    assert ">Burst to its last answer<" in outside.partition("Where rust is worse")[2]
    assert outside.count('class="g"') < 12 < text.count('class="g"')


def test_an_update_that_loses_a_request_is_marked(tmp_path: Path) -> None:
    text = render(make_standard(rounds=2), tmp_path).read_text(encoding="utf-8")
    table = text.partition("<h3>Updates under load</h3>")[2].partition("</table>")[0]
    assert re.findall(r'<span class="bad">(\d+)</span>', table) == ["3"] * 4
