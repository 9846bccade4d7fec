from __future__ import annotations

import html
import re
from dataclasses import replace

import polars as pl
import pytest

from irsl.report.page import accuracy, interval, percent, place, render, write_report
from irsl.report.pictures import MAX_BENCHMARKS


@pytest.fixture(scope="module")
def page(analysis, tmp_path_factory):
    return write_report(analysis, tmp_path_factory.mktemp("out"))


def words(text: str) -> str:
    """Visible words of a page, white space made one."""
    body = re.sub(r"<(style|svg)\b.*?</\1>", " ", text[text.index("<body") :], flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", body)))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.294, "29 %"), (0.0, "< 1 %"), (0.009, "< 1 %"), (1.0, "> 99 %"), (None, "–"), (float("nan"), "–")],
)
def test_percent(value, text):
    assert percent(value).replace("\u00a0", " ") == text


def test_numbers():
    assert accuracy(0.12345) == "0.123"
    assert accuracy(-0.12345, 2) == "−0.12"
    assert accuracy(None) == "–"
    assert interval(0.1, 0.25) == "0.100 to 0.250"
    assert interval(None, 0.2) == ""
    assert interval(float("nan"), 0.2) == ""
    assert place(0.5, 0.5, 0.5) == "50.0"
    assert place(9.0, 0.0, 1.0) == "98.0"


def test_answer_comes_first_with_its_numbers(analysis, page):
    text = words(page.read_text())
    best = analysis.laws.choice.filter(pl.col("benchmark") == "all").row(0, named=True)
    start = text[:900]
    assert f"Train {best['recipe']} at {analysis.target}" in start
    assert percent(best["p_best"]).replace("\u00a0", " ") in start
    assert accuracy(best["accuracy"]) in start
    assert interval(best["accuracy_lower"], best["accuracy_upper"]) in start
    assert accuracy(best["observed"]) in start


def test_comparison_shows_every_method_and_benchmark(analysis, page):
    text = words(page.read_text())
    for row in analysis.laws.comparison.to_dicts():
        assert accuracy(row["decision_accuracy"], 2) in text
        if row["method"] in ("irsl", "classical"):
            assert accuracy(row["error"]) in text
    for name in ("item-response law", "classical law", "ranking by the smallest size"):
        assert name in text


def test_names_of_users_are_escaped(page):
    text = page.read_text()
    assert "<b>x</b>" not in text
    assert "&lt;b&gt;x&lt;/b&gt; &amp; $y$" in text
    assert "<i>one</i>" not in text


def test_page_needs_nothing_else(page):
    text = page.read_text()
    assert "http" not in text
    assert "<script" not in text
    assert "<link" not in text
    assert not re.findall(r"\b(?:src|href)=\"(?!#)", text)
    assert "url(" not in text.replace("url(#", "")


def test_ids_are_unique_and_references_lead_somewhere(page):
    text = page.read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert {*re.findall(r'href="#([^"]+)"', text), *re.findall(r"url\(#([^)]+)\)", text)} <= {*ids}


def test_every_table_is_written_and_read_back(analysis, page):
    for name, table in analysis.tables().items():
        assert pl.read_parquet(page.parent / "tables" / f"{name}.parquet").equals(table)
        assert pl.read_json(page.parent / "tables" / f"{name}.json").height == table.height
    assert sorted(p.name for p in page.parent.iterdir()) == ["report.html", "tables"]


def test_report_is_the_same_every_time(analysis, page):
    assert render(analysis) == page.read_text()


def test_other_files_of_the_folder_stay(analysis, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    write_report(analysis, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_without_laws_subjects_are_ranked(analysis_without_laws, tmp_path):
    analysis = analysis_without_laws
    assert analysis.laws is None
    assert analysis.replays is None
    text = words(write_report(analysis, tmp_path).read_text())
    first = analysis.abilities.sort("accuracy", descending=True).row(0, named=True)
    assert f"{first['subject']} is the most accurate of" in text[:400]
    assert accuracy(first["accuracy"]) in text[:900]
    assert "No scaling law" in text
    assert "No replay" in text
    assert "Forecasts against what came" not in text


def test_laws_without_all_and_without_second_seed(analysis):
    laws = analysis.laws
    only = {
        name: getattr(laws, name).filter(pl.col("benchmark") == "order")
        for name in ("points", "trends", "forecasts", "comparison", "choice")
    }
    text = words(render(replace(analysis, laws=replace(laws, **only), replays=None)))
    assert "accuracy on order" in text[:900]
    assert "Another seed" not in text


def test_second_seed_is_the_ceiling(analysis):
    laws = analysis.laws
    seeds = laws.comparison.filter(pl.col("method") == "smallest").with_columns(method=pl.lit("seed"))
    with_seed = replace(laws, comparison=pl.concat([laws.comparison, seeds]))
    text = words(render(replace(analysis, laws=with_seed)))
    assert "Another seed of the same recipe" in text
    assert "another seed of the largest size" in text


def test_fits_that_did_not_converge_are_seen(analysis):
    fits = analysis.calibration.fits.with_columns(converged=pl.lit(value=False), message=pl.lit("stopped early"))
    broken = replace(analysis, calibration=replace(analysis.calibration, fits=fits), notes=("facts: stopped early",))
    text = words(render(broken))
    assert "2 of 2 calibrations did not converge" in text
    assert text.count("stopped early") == fits.height


def test_one_fit_that_did_not_converge_is_named(analysis):
    late = pl.col("scale") == "facts"
    fits = analysis.calibration.fits.with_columns(
        converged=~late, message=pl.when(late).then(pl.lit("stopped early")).otherwise(pl.lit("converged"))
    )
    broken = replace(analysis, calibration=replace(analysis.calibration, fits=fits), notes=("facts: stopped early",))
    assert words(render(broken)).count("facts: stopped early") == 1


def test_many_benchmarks_show_the_first_pictures_and_say_so(analysis_without_laws):
    analysis = analysis_without_laws
    bank = analysis.calibration.bank
    n = MAX_BENCHMARKS + 3
    long = "a-benchmark-with-quite-a-long-name-that-nobody-would-want-to-break"

    def repeated(frame: pl.DataFrame) -> pl.DataFrame:
        copies = []
        for k in range(n):
            changed = [pl.lit(f"{long}-{k}").alias(c) for c in ("benchmark", "scale") if c in frame.columns]
            if "item" in frame.columns:
                changed.append(pl.format(f"{k}-{{}}", "item").alias("item"))
            copies.append(frame.with_columns(changed))
        return pl.concat(copies)

    scales = tuple(replace(bank.scales[0], scale=f"{long}-{k}", benchmarks=(f"{long}-{k}",)) for k in range(n))
    calibration = replace(
        analysis.calibration,
        bank=replace(bank, items=repeated(bank.items), scales=scales),
        fits=repeated(analysis.calibration.fits),
    )
    many = replace(
        analysis,
        calibration=calibration,
        abilities=repeated(analysis.abilities),
        proportions=repeated(analysis.proportions),
        item_fit=repeated(analysis.item_fit),
    )
    page = render(many)
    assert f"Pictures show the first {MAX_BENCHMARKS} of {n} benchmarks" in words(page)
    assert page.count("Difficulties and abilities on") == MAX_BENCHMARKS
