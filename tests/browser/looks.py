"""What can be seen of a page that stands still: its words, what does not fit, what lies upon something else."""

from playwright.async_api import Page

# Everything that can be seen and read, a line each; not what people have written.
_VISIBLE = """() => {
  const lines = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const { parentElement, data } = walk.currentNode;
    if (!data.trim() || parentElement.closest("script, noscript, svg, .mark, .brand, [dir=auto]")) continue;
    lines.push(data.trim());
  }
  for (const name of ["aria-label", "placeholder", "title", "alt"])
    for (const one of document.querySelectorAll(`[${name}]`)) lines.push(one.getAttribute(name));
  return [document.title, ...lines.filter(Boolean)];
}"""
# Whatever is wider than the page, or is cut off by its box.
_TOO_LARGE = """() => {
  const { scrollWidth, clientWidth } = document.documentElement;
  const cut = [...document.querySelectorAll(".screen, .screen main, .screen .tile, .button, .tile")].filter(
    (one) => one.offsetParent && (one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1));
  const wide = [...document.querySelectorAll("body *")].filter(
    (one) => scrollWidth > clientWidth && one.getBoundingClientRect().right > clientWidth + 1);
  return [...wide, ...cut].map((one) => `${one.tagName}.${one.className}: `
    + `${one.scrollWidth}×${one.scrollHeight} in ${one.clientWidth}×${one.clientHeight}`);
}"""
# No two of these lie on another, and the text of every choice is within its tile.
_OVERLAPS = """() => {
  const parts = [...document.querySelectorAll(".prompt, .tile, .countdown, .bar, .screen > header, .screen > footer")]
    .map((one) => [one, one.getBoundingClientRect()]);
  const found = [];
  for (const [one, a] of parts) for (const [other, b] of parts) {
    if (one === other || one.contains(other) || other.contains(one)) continue;
    if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
      found.push(`${one.className} on ${other.className || other.tagName}`);
  }
  for (const text of document.querySelectorAll(".tile > span[dir]")) {
    const [inner, outer] = [text.getBoundingClientRect(), text.parentNode.getBoundingClientRect()];
    if (inner.bottom > outer.bottom || inner.right > outer.right) found.push(`out of its tile: ${text.innerText}`);
  }
  return found;
}"""
_STILL = """async () => {
  await document.fonts.ready;
  const running = document.getAnimations().filter((one) => one.playState === "running");
  await Promise.all(running.map((one) => one.finished.catch(() => {})));
}"""


async def still(page: Page) -> None:
    """Wait until what comes in has come."""
    await page.evaluate(_STILL)


async def words(page: Page) -> list[str]:
    """What the page says by itself, its title first."""
    said: list[str] = await page.evaluate(_VISIBLE)
    return said


async def misfits(page: Page) -> list[str]:
    """What is too large for its place, or upon something else."""
    found: list[str] = [*await page.evaluate(_TOO_LARGE), *await page.evaluate(_OVERLAPS)]
    return found
