"use strict";
// Shows the rows that fit every filter; a row's data-* attributes hold its values, one a line.
const filters = [...document.querySelectorAll("[data-filter]")];
const rows = [...document.querySelectorAll("[data-row]")];
const count = document.getElementById("count");
function fits(row, filter) {
  const wanted = filter.value.trim().toLowerCase();
  if (!wanted) return true;
  const values = (row.dataset[filter.dataset.filter] || "").toLowerCase().split("\n");
  switch (filter.dataset.how) {
    case "from": return values[0] >= wanted;
    case "until": return values[0] <= wanted;
    case "part": return values.some((value) => value.includes(wanted));
    default: return values.includes(wanted);
  }
}
function apply() {
  let shown = 0;
  for (const row of rows) {
    row.hidden = !filters.every((filter) => fits(row, filter));
    shown += row.hidden ? 0 : 1;
  }
  count.textContent = shown === rows.length ? `${shown} shown` : `${shown} of ${rows.length} shown`;
}
for (const filter of filters) filter.addEventListener("input", apply);
document.querySelector("[data-clear]").addEventListener("click", () => {
  for (const filter of filters) filter.value = "";
  apply();
});
document.querySelector(".filters").hidden = false;
apply();
