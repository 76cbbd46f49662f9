"use strict";

// Tables: a click on a heading sorts the rows of each kind among themselves.
for (const table of document.querySelectorAll("table")) {
  const headings = [...table.tHead.rows[1].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const numeric = heading.classList.contains("number");
      const before = heading.getAttribute("aria-sort");
      const first = numeric ? "descending" : "ascending";
      const other = numeric ? "ascending" : "descending";
      const direction = before === first ? other : first;
      headings.forEach((cell) => cell.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      for (const body of table.querySelectorAll("tbody:not(.missing)")) {
        const rows = [...body.rows];
        rows.sort((a, b) => compare(a.cells[column], b.cells[column], numeric, sign));
        body.append(...rows);
      }
    });
  });
}

// Empty cells stay at the end, whatever the direction.
function compare(a, b, numeric, sign) {
  if (!numeric) return sign * a.textContent.trim().localeCompare(b.textContent.trim());
  const [x, y] = [a.dataset.order, b.dataset.order];
  if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
  return sign * (Number(x) - Number(y));
}

// Examples: one at a time, with buttons or the arrow keys; without scripts all are shown.
const examples = [...document.querySelectorAll(".example")];
const pager = document.querySelector(".pager");
if (pager && examples.length > 1) {
  let current = 0;
  const show = (next) => {
    current = (next + examples.length) % examples.length;
    examples.forEach((example, index) => { example.hidden = index !== current; });
    pager.querySelector(".position").textContent = String(current + 1);
  };
  pager.hidden = false;
  pager.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show(current + Number(button.dataset.step));
  });
  document.querySelector("#examples").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) show(current + step);
  });
  show(0);
}
