"""What the browser tests measure: what is told to a screen reader, and how texts stand out."""

from __future__ import annotations

from typing import Any, Literal

from playwright.sync_api import Page


def tree_of(page: Page) -> list[dict[str, Any]]:
    """What assistive technology is told of a page, element by element."""
    session = page.context.new_cdp_session(page)
    nodes: list[dict[str, Any]] = session.send("Accessibility.getFullAXTree")["nodes"]
    return [node for node in nodes if not node["ignored"]]


def property_of(node: dict[str, Any], name: str) -> Any:
    found = [entry["value"]["value"] for entry in node["properties"] if entry["name"] == name]
    return found[0] if found else None


CONTRASTS = """() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], under) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a));
  const luminance = (rgb) => rgb
    .map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const backOf = (element) => {
    if (!element) return [255, 255, 255];
    return over(numbers(getComputedStyle(element).backgroundColor), backOf(element.parentElement));
  };
  const ratio = (a, b) => {
    const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (light + 0.05) / (dark + 0.05);
  };
  const speaks = (element) => element.matches("input")
    || [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll("body, body *")]
    .filter((element) => speaks(element) && element.checkVisibility() && !element.disabled)
    .map((element) => {
      const back = backOf(element);
      const style = getComputedStyle(element);
      return {
        text: `${element.tagName} ${element.textContent.trim().slice(0, 30)}`,
        contrast: ratio(over(numbers(style.color), back), back),
        edge: element.matches("input")
          ? ratio(over(numbers(style.borderTopColor), back), backOf(element.parentElement)) : null,
      };
    });
}"""

Scheme = Literal["light", "dark"]
SCHEMES: list[Scheme] = ["light", "dark"]


def contrasts(page: Page, scheme: Scheme) -> list[dict[str, Any]]:
    """How each text, and the edge of each input, stands out (WCAG 2.2)."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    measured: list[dict[str, Any]] = page.evaluate(CONTRASTS)
    assert len(measured) >= 3
    return measured
