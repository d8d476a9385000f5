"""The pictures that a reader moves: what each says is what the package computes, and anybody can read and move it."""

import json
import os
import re
from contextlib import ExitStack
from io import StringIO
from itertools import product

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from scipy.special import xlogy
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from companion import isotropic_mixture, partition
from companion.exact import two_gaussians
from companion.exact.laws import half_level
from companion.forward import linear, ornstein_uhlenbeck, rectified_flow, variance_exploding
from derivations.guidance.half_levels import cross_entropy, posterior_entropy
from derivations.guidance.half_levels import half_level as half_level_of_guided
from derivations.kit import landmarks, speciation
from tools import book, chromium, widgets

NAMES = [pytest.param(name, id=name) for name in widgets.names()]


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    """Each widget on a page of its own, opened once."""
    folder = tmp_path_factory.mktemp("widgets")
    pages = {}
    with ExitStack() as stack:

        def open_once(name: str) -> chromium.Visit:
            if name not in pages:
                file = folder / f"{name}.html"
                file.write_text(widgets.stand_alone(name), encoding="utf-8")
                pages[name] = stack.enter_context(chromium.visit(browser, file))
            return pages[name]

        yield open_once


@pytest.fixture
def numbers(opened):
    """What a widget's pure function gives for a state, once through JSON."""

    def of(name: str, **state: object) -> dict[str, object]:
        code = f"JSON.stringify(window.widgets.{name}.numbers({json.dumps(state)}))"
        return json.loads(opened(name).page.evaluate(code))

    return of


def states(seed: int, count: int, **ranges: tuple[float, float]):
    """So many states with each number uniform in its range."""
    generator = np.random.default_rng(seed)
    return [{key: float(generator.uniform(*ends)) for key, ends in ranges.items()} for _ in range(count)]


# ---- what each says. Trapezoids on normal variables are exact to 1e-13, if a test says nothing else; a root has the
# error of its curve divided by its slope.


def test_two_classes(numbers):
    drawn = states(1, 6, power=(-5.0, 5.0), weight=(0.05, 0.95), x=(-3.0, 3.0))
    for state in [{"power": 0.0, "weight": 0.5, "x": 0.5}, *drawn]:
        kappa, weight, x = 4.0 * 2.0 ** state["power"], state["weight"], state["x"]
        found = numbers("two_classes", kappa=kappa, weight=weight, x=x)
        entropy, prior = (float(two_gaussians.entropy(each, weight)) for each in (kappa, 0.0))
        points, sigma = isotropic_mixture([[1.0], [-1.0]], 0.0, [weight, 1.0 - weight]), 2.0 / kappa**0.5
        line = torch.tensor([[x], *np.linspace(-4.0, 4.0, 4001)[:, None].tolist()], dtype=torch.float64)
        noise = torch.full((len(line),), sigma, dtype=torch.float64)
        both = points.posterior(line, noise)[0].exp().numpy()
        expected = {
            "prior": prior,
            "entropy": entropy,
            "left": entropy / prior,
            "production": kappa * float(two_gaussians.production(kappa, weight)),
            "logSnr": -2.0 * np.log(sigma),
            "posterior": both[0],
            "open": -xlogy(both, both).sum(),
        }
        assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-11)
        marks = {
            "split": landmarks.score_splits(weight),
            "half": landmarks.half_entropy(weight),
            "varies": landmarks.largest_variance(weight),
            "fastest": landmarks.largest_production(weight),
        }
        assert {key: found[key] for key in marks} == pytest.approx(marks, rel=1e-9)
        density = points.log_density(line, noise).numpy()[1:]
        tops = int(np.sum((density[1:-1] > density[:-2]) & (density[1:-1] >= density[2:])))
        assert found["humps"] == tops


CLOCKS = {
    "VP, constant rate": ornstein_uhlenbeck(),
    "VP, linear rate": linear(),
    "VE, σ = t": variance_exploding(),
    "rectified flow": rectified_flow(),
}


def test_clocks(numbers):
    for d, delta in ((1, 2.0), (1, 4.0), (256, 2.0), (4096, 0.7), (2**20, 3.1)):
        found, distance = numbers("clocks", d=d, delta=delta), delta * d**0.5
        assert list(found) == list(CLOCKS)
        for name, process in CLOCKS.items():
            times = [float(speciation.decision_time(process, share, distance, 1.0)) for share in (0.1, 0.5, 0.9)]
            said = [found[name][key] for key in ("first", "half", "last")]
            assert [np.nan if each is None else each for each in said] == pytest.approx(times, rel=1e-9, nan_ok=True)
            if found[name]["window"] is not None:
                assert found[name]["window"] == pytest.approx(times[0] - times[2], rel=1e-8)
            if found[name]["peak"] is None:  # the process ends with all decided: what is left is below 1e-22
                end = process.alpha(process.span[1]), process.sigma(process.span[1])
                assert two_gaussians.control_parameter(*end, distance, 1.0) > 400.0
                continue
            # Golden sections find a top of 1 - x^2 to the root of the rounding error; the height is good to that.
            top = speciation.peak(process, distance, 1.0)
            assert found[name]["peak"]["height"] == pytest.approx(top.height, rel=1e-6)
            assert found[name]["peak"]["time"] == pytest.approx(top.time, rel=1e-5, abs=1e-5)


def test_tree(numbers):
    """Trapezoids of a fifth of a deviation: at most 2e-9 of a pair's entropy, at kappa near 54."""
    asked = ["AABB----", "ABABABAB", "ABBBBBBB", "AAAABBBB", "-A-BB-AB"]
    for sides, state in zip(asked, states(2, 5, ratio=(0.1, 0.5), level=(-5.0, 8.0)), strict=True):
        found = numbers("tree", **state, **{f"side{k}": side for k, side in enumerate(sides)})
        sizes = state["ratio"] ** np.arange(3)
        points = (2.0 * np.array(list(product((0, 1), repeat=3))) - 1.0) @ sizes
        assert found["points"] == pytest.approx(points.tolist())
        mixture = isotropic_mixture(points[:, None], 0.0)

        def question(sides: str, mixture=mixture):
            groups = [[k for k in range(8) if sides[k] == side] for side in "AB"]
            return mixture.sides(partition(mixture, *groups, prior="true"))

        # Halves mirror each other and so do quarters: one of them stands for both (prop-grouping).
        branchings = {"half": question("AAAABBBB"), "quarter": question("AABB----"), "asked": question(sides)}
        expected = {key: float(law.entropy(state["level"])) for key, law in branchings.items()}
        expected["all"] = float(mixture.entropy(state["level"]))
        expected["point"] = expected["all"] - expected["half"] - expected["quarter"]
        assert found["at"] == pytest.approx(expected, abs=1e-8)
        levels = {key: half_level(law) for key, law in {**branchings, "point": question("AB------")}.items()}
        assert found["half"] == pytest.approx(levels, abs=1e-7)
    assert numbers("tree", ratio=0.3, level=0.0, **{f"side{k}": "A" for k in range(8)})["half"]["asked"] is None


@pytest.mark.parametrize("sampler", ["flow", "diffusion"])
def test_guidance(numbers, sampler):
    """Runge and Kutta's rule in steps of 0.05 of tau leaves 1e-6; differences of two spacings, extrapolated, 2e-4."""
    tolerance, name = {"flow": (1e-6, "ode"), "diffusion": (2e-4, "sde")}[sampler]
    shown = 0.02 * 2000.0 ** (np.arange(49) / 48.0)
    intervals = [(0.0, 40.0), (0.5, 4.0), (2.0**1.75, 2.0**2.25)]
    for w, (low, high) in zip((1.0, 2.3, 7.0, 4.0, 3.0), [*intervals[:1] * 3, *intervals[1:]], strict=True):
        chosen, interval = [20, 30, 38], (low, np.inf if high == 40.0 else high)
        exact = [measure(shown[chosen], w, name, interval=interval) for measure in (cross_entropy, posterior_entropy)]
        for k, cross, entropy in zip(chosen, *exact, strict=True):
            found = numbers("guidance", w=w, low=low, high=high, place=shown[k], sampler=sampler)
            at = {key: found["at"][key] for key in ("cross", "entropy")}
            assert at == pytest.approx({"cross": cross, "entropy": entropy}, abs=tolerance), (w, low, high)
        if high == 40.0:
            halves = [half_level_of_guided(w, name, quantity) for quantity in ("cross entropy", "posterior entropy")]
            # A cubic through points a factor of 1.17 apart leaves 1e-4 of a half level.
            assert [found["half"][key] for key in ("cross", "entropy")] == pytest.approx(halves, rel=3e-4)


def test_digits(numbers):
    """The network drawn again: float32 on another processor leaves the posterior within a hundredth of it."""
    kept = json.loads((widgets.FOLDER / "digits.json").read_text(encoding="utf-8"))
    again = widgets.NUMBERS["digits"]()
    assert kept["log_snr"] == again["log_snr"]
    for place, (path, new) in enumerate(zip(kept["paths"], again["paths"], strict=True)):
        assert (path["seed"], path["digit"]) == (new["seed"], new["digit"])
        for key in ("state", "prediction"):
            old, drawn = (np.array([[int(c, 16) for c in each[key]] for each in one["levels"]]) for one in (path, new))
            assert old.shape == (49, 64)
            assert np.abs(old - drawn).max() <= 1
        probabilities = np.array([level["posterior"] for level in path["levels"]]) / 1e4
        assert np.abs(probabilities - np.array([level["posterior"] for level in new["levels"]]) / 1e4).max() < 0.01
        assert probabilities[-1].argmax() == path["digit"]
        for level in (0, 20, 24, 28, 48):
            found = numbers("digits", path=place, level=level)
            share = probabilities[level] / probabilities[level].sum()
            assert found["posterior"] == pytest.approx(share.tolist())
            assert found["entropy"] == pytest.approx(-xlogy(share, share).sum(), abs=1e-12)
            assert found["likely"] == share.argmax() and found["logSnr"] == kept["log_snr"][level]


def test_estimators(numbers):
    kept = json.loads((widgets.FOLDER / "estimators.json").read_text(encoding="utf-8"))
    assert kept == widgets.NUMBERS["estimators"]()
    for case, rules in kept["cases"].items():
        for step, paths in ((0, 50), (1, 300), (4, 20_000)):
            found = numbers("estimators", which=case, step=step, paths=paths)
            assert found["evaluations"] == 2 * kept["levels"][step] * paths
            for rule in ("published", "default"):
                bias, chance = abs(rules[rule]["bias"][step]), rules[rule]["deviation"] * (300.0 / paths) ** 0.5
                assert found[rule]["error"] == pytest.approx(np.hypot(bias, chance))


# ---- anybody can read and move it


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_asks_for_nothing_and_stands_on_one_page(name):
    script = widgets.script(name)
    assert len(script.encode()) < 60_000
    timers = "setInterval|setTimeout|requestAnimationFrame"
    assert not re.search(rf"//|https?:|fetch|XMLHttp|import\b|\beval\b|</script|{timers}", script)
    page, directive = widgets.placed()[name]
    assert page in book.chapters()
    assert len(directive.options["alt"].split()) >= 6
    assert len(directive.body.split()) >= 6


@pytest.mark.parametrize("name", NAMES)
def test_its_still_picture_is_the_one_that_its_script_draws(name):
    drawn_by, now = widgets.digest_of_still(name)
    assert drawn_by == now, f"run `python -m tools.widgets {name}`"
    assert (widgets.FOLDER / f"{name}.png").stat().st_size < 100_000


def test_every_widget_stands_in_the_book_and_every_name_in_the_book_is_one():
    assert set(widgets.placed()) == set(widgets.names())


@pytest.mark.parametrize("name", NAMES)
def test_a_keyboard_moves_it_and_what_it_says_follows(name, opened):
    visit = opened(name)
    page = visit.page
    page.get_by_role("button", name="Start again").click()
    live = page.locator("[aria-live=polite]")
    first = live.inner_text()
    assert len(re.findall(r"\d", first)) >= 3
    assert page.locator("svg[role=img]").get_attribute("aria-label")
    sliders, lists = page.get_by_role("slider"), page.get_by_role("combobox")
    for control in (*sliders.all(), *lists.all()):
        assert page.locator(f"label[for='{control.get_attribute('id')}']").inner_text().strip()
    moved = 0
    for slider in sliders.all():
        slider.focus()
        before = live.inner_text(), slider.get_attribute("aria-valuetext")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        moved += live.inner_text() != before[0]
        if slider.get_attribute("aria-valuetext") == before[1]:  # it stands at its end
            page.keyboard.press("ArrowLeft")
            assert slider.get_attribute("aria-valuetext") != before[1]
    assert moved > 0
    page.get_by_role("button", name="Start again").press("Enter")
    assert live.inner_text() == first
    assert visit.errors == []
    assert all(url.startswith("file:") for url in visit.requests)


@pytest.mark.parametrize("name", NAMES)
def test_paper_and_a_browser_without_scripts_have_the_still_picture(name, opened, browser):
    page = opened(name).page
    assert page.locator("svg").is_visible() and not page.locator("img").is_visible()
    page.emulate_media(media="print")
    assert page.locator("img").is_visible() and not page.locator("svg").is_visible()
    page.emulate_media(media="screen")
    with browser.new_context(java_script_enabled=False) as context, context.new_page() as plain:
        plain.goto(page.url, timeout=chromium.PATIENCE)
        assert plain.locator("img").is_visible()
        assert not plain.locator(".widget-live").is_visible()


@pytest.mark.parametrize("name", NAMES)
def test_it_fits_a_telephone_and_follows_the_theme(name, opened):
    page = opened(name).page
    before = page.viewport_size
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("document.querySelector('.widget svg').viewBox.baseVal.width < 390")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    outside = """[...document.querySelectorAll('.widget svg text')].filter(each => {
      const box = each.getBoundingClientRect(), all = each.ownerSVGElement.getBoundingClientRect();
      return box.left < all.left - 1 || box.right > all.right + 1; }).map(each => each.textContent)"""
    assert page.evaluate(outside) == []
    page.set_viewport_size(before)
    ink = "getComputedStyle(document.querySelector('.widget')).color"
    light = page.evaluate(ink)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(ink) != light
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ink) == light  # what the reader chose on the page comes first
    page.evaluate("delete document.documentElement.dataset.theme")
    assert page.evaluate(ink) != light
    page.emulate_media(color_scheme="light")
    page.evaluate("document.documentElement.dataset.theme = 'light'")


@pytest.fixture
def project(tmp_path):
    """A book of one page, built by Sphinx with this extension and MyST alone: what it says, and its HTML."""
    (tmp_path / "book").symlink_to(book.ROOT / "book")
    settings = ("extensions = ['myst_parser', 'tools.widgets']", "myst_enable_extensions = ['colon_fence']")
    (tmp_path / "conf.py").write_text("\n".join((*settings, "exclude_patterns = ['book']", "")))

    def build(text: str) -> tuple[str, str]:
        (tmp_path / "index.md").write_text(text, encoding="utf-8")
        said = StringIO()
        with patch_docutils(tmp_path), docutils_namespace():  # what one book registers is not there for the next
            app = Sphinx(tmp_path, tmp_path, tmp_path / "html", tmp_path / "trees", "html", status=None, warning=said)
            app.build()
        return said.getvalue(), (tmp_path / "html" / "index.html").read_text(encoding="utf-8")

    return build


def test_the_directive_puts_all_of_it_into_a_page(project):
    text = ":::{widget} two_classes\n---\nalt: A density\n  that splits.\n---\nMove *it*.\n:::"
    said, html = project(f"# A page\n\n{text}\n")
    assert said == ""
    page = BeautifulSoup(html, "html.parser").find(id="widget-two-classes")
    assert "widget" in page["class"]
    assert page.img["alt"] == "A density that splits." and page.img["src"].endswith("two_classes.png")
    assert page.script.string.strip() == widgets.script("two_classes")
    assert page.find(class_="widget-live") is not None and page.find("em").text == "it"


def test_a_wrong_name_and_a_missing_description_are_named(project):
    said, _ = project("# A page\n\n:::{widget} nothing\n:alt: A density.\n:::\n\n:::{widget} tree\n:::\n")
    assert "widget is nothing, expected one of" in said
    assert "widget is tree, expected" in said and ":alt:" in said
    with pytest.raises(ValueError, match="widget is nothing, expected some of"):
        widgets.write(["nothing"])


@pytest.mark.skipif(not os.environ.get("BOOK_BUILT"), reason="pages are built by `make test` only")
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_its_page(name, browser):
    page, _ = widgets.placed()[name]
    with chromium.visit(browser, book.ROOT / "_build" / "html" / f"{page.path}.html") as visit:
        box = visit.page.locator(f"#{book.widget_anchor(name)}.widget-runs")
        assert box.locator("svg").is_visible() and not box.locator("img").is_visible()
        assert len(re.findall(r"\d", box.locator("[aria-live=polite]").inner_text())) >= 3
