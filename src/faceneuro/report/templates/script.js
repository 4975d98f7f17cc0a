// Everything can be read without this: it sorts tables, marks the part that is looked at, and opens what is folded.
"use strict";
(() => {
  // Numbers by their value, with or without an interval behind them; everything else as text.
  const valueOf = (cell) => {
    const text = cell.textContent.trim().replace(/^<\s*/, "").replace(/\u2212/g, "-").replace(/,(?=\d{3}\b)/g, "");
    const found = text.match(/^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?(?=$|\s|%)/);
    return found ? Number(found[0]) : null;
  };
  const compareTexts = (a, b) => a.textContent.trim().localeCompare(b.textContent.trim(), "en", { numeric: true });
  const sort = (table, heading) => {
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const column = heading.cellIndex, body = table.tBodies[0];
    const rows = [...body.rows];
    const hasNumber = (row) => valueOf(row.cells[column]) !== null;
    const hasText = (row) => !/^[-\u2013\u2014]?$/.test(row.cells[column].textContent.trim());
    const numbers = 2 * rows.filter(hasNumber).length >= rows.filter(hasText).length;
    const counts = numbers ? hasNumber : hasText;
    const compare = numbers ? (a, b) => valueOf(a) - valueOf(b) : compareTexts;
    rows.sort((a, b) => {
      // What is no number among numbers, or empty, stays at the end, whichever way.
      if (!counts(a) || !counts(b)) return counts(b) - counts(a);
      return (descending ? -1 : 1) * compare(a.cells[column], b.cells[column]);
    });
    body.append(...rows);
  };
  for (const table of document.querySelectorAll("table")) {
    if (!table.tBodies[0] || table.tBodies[0].rows.length < 2) continue;
    for (const heading of table.tHead.querySelectorAll("th")) {
      if (!heading.textContent.trim()) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.title = "Sort by this column";
      button.addEventListener("click", () => sort(table, heading));
      heading.append(button);
    }
  }

  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id).setAttribute("aria-current", "true");
    }
  }, { rootMargin: "0px 0px -75% 0px" });
  for (const id of links.keys()) {
    const part = document.getElementById(id);
    if (part) seen.observe(part);
  }

  // A link into something folded opens it; on paper everything is open.
  const unfold = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const part of opened) part.open = true;
  });
  addEventListener("afterprint", () => {
    for (const part of opened) part.open = false;
  });
})();
