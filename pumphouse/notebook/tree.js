// Groups with a checkbox each, open or closed; what is in them is asked for when one is opened.
function render({ model, el }) {
  const list = document.createElement("div");
  list.className = "ph-tree";
  el.appendChild(list);
  const open = new Set();

  function box(text, key, member, total, chosen) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = "checkbox";
    input.checked = total > 0 && chosen === total;
    input.indeterminate = chosen > 0 && chosen < total;
    input.addEventListener("change", () => model.send({ kind: "toggle", key, member, on: input.checked }));
    input.addEventListener("click", (event) => event.stopPropagation());
    label.append(input, document.createTextNode(" " + text));
    label.addEventListener("click", (event) => event.stopPropagation());
    return label;
  }

  function draw() {
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.place : null;
    const members = model.get("members");
    const rows = model.get("groups").map((group) => {
      const details = document.createElement("details");
      const summary = document.createElement("summary");
      details.open = open.has(group.key);
      summary.append(box(group.label, group.key, null, group.total, group.chosen));
      const count = document.createElement("span");
      count.className = "ph-tree-count";
      count.textContent = ` ${group.chosen} of ${group.total} chosen · ${group.sizes}`;
      summary.append(count);
      details.append(summary);
      details.addEventListener("toggle", () => {
        if (details.open === open.has(group.key)) return;
        if (details.open) open.add(group.key);
        else open.delete(group.key);
        model.send({ kind: "open", keys: [...open] });
      });
      for (const one of open.has(group.key) ? members[group.key] || [] : []) {
        const row = document.createElement("div");
        row.className = "ph-tree-member";
        row.append(box(one.label, group.key, one.id, 1, one.chosen ? 1 : 0));
        details.append(row);
      }
      return details;
    });
    list.replaceChildren(...rows);
    list.querySelectorAll("input, summary").forEach((node, place) => (node.dataset.place = String(place)));
    if (focused !== null) list.querySelector(`[data-place="${focused}"]`)?.focus({ preventScroll: true });
  }

  draw();
  model.on("change:groups change:members", draw);
}

export default { render };
