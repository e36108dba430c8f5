"""What a person would call wrong about a table, asked of the browser that laid it out."""

from __future__ import annotations

from playwright.sync_api import Page

_FAULTS = """(longest) => {
  const faults = [];
  for (const folded of document.querySelectorAll('details:has(div.ph)')) folded.open = true;
  for (const box of document.querySelectorAll('div.ph div.ph-s')) {
    if (!box.offsetParent) continue;
    const title = box.closest('div.ph').querySelector('.ph-title')?.innerText ?? '?';
    for (const cell of box.querySelectorAll('th, td')) {
      const range = document.createRange();
      range.selectNodeContents(cell);
      const bottoms = [...range.getClientRects()].map((r) => Math.round(r.bottom / 6));
      if (cell.innerText.length <= longest && Math.max(...bottoms) - Math.min(...bottoms) > 1)
        faults.push(`${title}: "${cell.innerText}" is broken into lines`);
    }
    for (let outer = box.parentElement; outer && !outer.matches('.jp-Cell, main'); outer = outer.parentElement)
      if (outer.scrollWidth > outer.clientWidth + 1) faults.push(`${title}: something around its box scrolls, too`);
    if (box.scrollWidth > box.clientWidth && !['auto', 'scroll'].includes(getComputedStyle(box).overflowX))
      faults.push(`${title}: is wider than its box, which does not scroll`);
    box.scrollLeft = box.scrollWidth;
    const head = box.querySelector('thead th:last-child');
    if (!head) continue;
    const last = head.getBoundingClientRect();
    const seen = box.getBoundingClientRect();
    if (last.right > seen.right + 1 || last.left < seen.left - 1) faults.push(`${title}: its last column is cut`);
    if (seen.right > document.documentElement.clientWidth) faults.push(`${title}: its box is cut`);
    box.scrollLeft = 0;
  }
  return faults;
}"""


def table_faults(page: Page, *, longest: int = 36) -> list[str]:
    """Words that are broken (in values of up to ``longest`` characters), columns that cannot be brought into sight."""
    found: list[str] = page.evaluate(_FAULTS, longest)
    return found
