"""The report page as a browser shows it: on a desk and on a phone, without a network, whatever files are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_takes import HOSTILE, finished_take

from mocap.report import page as report_page


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("out") / "take"
    output.mkdir()
    return report_page.write(finished_take(output))


def opened(page, report: Path):
    page.goto(report.as_uri())
    page.wait_for_selector(".plot canvas")
    return page


def test_it_opens_without_an_error_and_asks_nothing_of_a_network(page, said, report):
    opened(page, report)
    page.wait_for_timeout(300)
    assert said.errors == []
    assert said.asked == []


def test_every_plot_has_drawn_coloured_curves(page, said, report):
    opened(page, report)
    coloured = page.evaluate(
        """() => [...document.querySelectorAll(".plot canvas")].map((canvas) => {
             const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
             let n = 0;
             for (let i = 0; i < pixels.length; i += 4)
               if (pixels[i + 3] > 128 && Math.max(pixels[i], pixels[i + 1], pixels[i + 2])
                   - Math.min(pixels[i], pixels[i + 1], pixels[i + 2]) > 40) n++;
             return n; })"""
    )
    assert len(coloured) == page.locator(".plot").count() == 5
    assert min(coloured) > 100


def test_pointing_at_a_curve_shows_its_value_and_the_frame(page, said, report):
    opened(page, report)
    plot = page.locator(".plot").first
    plot.scroll_into_view_if_needed()
    before = plot.locator(".u-legend .u-value").all_inner_texts()
    plot.locator(".u-over").hover(position={"x": 200, "y": 80})
    after = plot.locator(".u-legend .u-value").all_inner_texts()
    assert before != after
    assert " s)" in after[0]
    assert all("px" in text for text in after[1:])


def test_a_phone_shows_it_without_scrolling_sideways(page, said, report):
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, report)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    widths = page.evaluate("[...document.querySelectorAll('.plot .uplot')].map((p) => p.getBoundingClientRect().right)")
    assert max(widths) <= 390


def test_plots_follow_the_window_when_it_gets_narrower(page, said, report):
    opened(page, report)
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_view_called_like_a_script_is_shown_as_text_and_not_run(page, said, report):
    opened(page, report)
    assert HOSTILE in page.inner_text("body")
    assert page.evaluate("window.harmed") is None
    assert page.locator("img[src='x']").count() == 0


def test_even_a_script_that_got_into_the_page_would_not_run(page, said, report, tmp_path):
    harmed = tmp_path / "harmed.html"
    text = report.read_text(encoding="utf-8")
    harmed.write_text(
        text.replace("<h1>", "<script>window.harmed = 1</script><img src=x onerror='window.harmed=2'><h1>")
    )
    opened(page, harmed)
    page.wait_for_timeout(200)
    assert page.evaluate("window.harmed") is None
    assert any("Content Security Policy" in told for told in said.errors)
