// What is chosen, in order: each can be moved up or down by one place, or dropped.
function render({ model, el }) {
  const list = document.createElement("ol");
  list.className = "ph-lineup";
  list.setAttribute("aria-label", "The order");
  el.appendChild(list);

  function button(sign, words, place, message, disabled) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "jupyter-button";
    made.textContent = sign;
    made.title = words;
    made.setAttribute("aria-label", words);
    made.dataset.place = place;
    made.disabled = disabled;
    made.addEventListener("click", () => model.send(message));
    return made;
  }

  function draw() {
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.place : null;
    const items = model.get("items");
    list.replaceChildren(
      ...items.map((item, number) => {
        const row = document.createElement("li");
        const words = document.createElement("span");
        words.className = "ph-lineup-words";
        const name = document.createElement("b");
        name.textContent = item.label;
        words.append(name, document.createTextNode(item.about ? ` ${item.about}` : ""));
        const last = number === items.length - 1;
        row.append(
          button("▲", `move ${item.label} up`, `up ${item.id}`, { kind: "move", id: item.id, by: -1 }, number === 0),
          button("▼", `move ${item.label} down`, `down ${item.id}`, { kind: "move", id: item.id, by: 1 }, last),
          button("✕", `drop ${item.label}`, `drop ${item.id}`, { kind: "drop", id: item.id }, false),
          words,
        );
        return row;
      }),
    );
    if (focused === null) return;
    // whoever moves one by keyboard goes on moving it; at an end, the other direction is what is left
    const same = list.querySelector(`[data-place="${CSS.escape(focused)}"]`);
    const other = same?.disabled ? same.parentElement.querySelector("button:not(:disabled)") : same;
    other?.focus({ preventScroll: true });
  }

  draw();
  model.on("change:items", draw);
}

export default { render };
