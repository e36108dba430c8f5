// Groups with a checkbox each, open or closed; what is in them is asked for when one is opened.
function render({ model, el }) {
  const list = document.createElement("div");
  list.className = "ph-tree";
  el.appendChild(list);
  const open = new Set();
  const places = new Map(); // group's key -> its elements; what is there already is changed, never made anew

  function box(text, key, member) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = "checkbox";
    input.addEventListener("change", () => model.send({ kind: "toggle", key, member, on: input.checked }));
    input.addEventListener("click", (event) => event.stopPropagation());
    label.append(input, document.createTextNode(" " + text));
    label.addEventListener("click", (event) => event.stopPropagation());
    return { label, input };
  }

  function made(group) {
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    const { label, input } = box(group.label, group.key, null);
    const count = document.createElement("span");
    count.className = "ph-tree-count";
    summary.append(label, count);
    details.append(summary);
    details.addEventListener("toggle", () => {
      if (details.open === open.has(group.key)) return;
      if (details.open) open.add(group.key);
      else open.delete(group.key);
      model.send({ kind: "open", keys: [...open] });
    });
    list.append(details);
    return { details, summary, input, count, inside: new Map() };
  }

  function fill(place, key, members) {
    const same = members.length === place.inside.size && members.every((one) => place.inside.has(one.id));
    if (!same) {
      place.inside = new Map();
      const rows = members.map((one) => {
        const row = document.createElement("div");
        row.className = "ph-tree-member";
        const { label, input } = box(one.label, key, one.id);
        place.inside.set(one.id, input);
        row.append(label);
        return row;
      });
      place.details.replaceChildren(place.summary, ...rows);
    }
    for (const one of members) place.inside.get(one.id).checked = one.chosen;
  }

  function draw() {
    const members = model.get("members");
    for (const group of model.get("groups")) {
      if (!places.has(group.key)) places.set(group.key, made(group));
      const place = places.get(group.key);
      place.input.checked = group.total > 0 && group.chosen === group.total;
      place.input.indeterminate = group.chosen > 0 && group.chosen < group.total;
      place.count.textContent = ` ${group.chosen} of ${group.total} chosen · ${group.sizes}`;
      fill(place, group.key, (open.has(group.key) && members[group.key]) || []);
    }
  }

  draw();
  model.on("change", draw);
}

export default { render };
