// JupyterLab takes arrow keys and letters for commands of its own wherever no text is edited: not inside our widget.
// Escape leads out of it, to the cell, where JupyterLab's keys count again; so does a control that goes away under its
// user, which would leave the keyboard nowhere. And the grid gets a name that stays.
function often(tries, act) {
  if (!act() && tries > 0) requestAnimationFrame(() => often(tries - 1, act));
}

function mark(host) {
  host.setAttribute("data-lm-suppress-shortcuts", "true");
  const out = () => host.closest(".jp-Cell")?.focus();
  host.addEventListener("keydown", (event) => event.key === "Escape" && out());
  host.addEventListener("focusout", ({ target, relatedTarget }) => {
    const gone = target.disabled || target.offsetParent === null;
    if (gone && relatedTarget === null) requestAnimationFrame(() => document.activeElement === document.body && out());
  });
}

// The press and all that stands in the fields are one message: letters that are still held back cannot come after it.
function tell(host, model) {
  const press = (event) => {
    const button = event.target.closest("button");
    if (button === null) return;
    event.stopPropagation();
    const typed = [...host.querySelectorAll("input[type=text]")].map((input) => input.value);
    model.send({ kind: "pressed", typed });
  };
  host.addEventListener("click", press, true);
}

export default {
  render: ({ model, el }) =>
    often(600, () => {
      const host = el.isConnected ? el.closest(".widget-vbox") : null;
      if (host === null) return false;
      mark(host);
      if (model.get("form")) tell(host, model);
      const name = model.get("table");
      if (name) {
        often(600, () => {
          const table = host.querySelector("table.ph-grid");
          table?.setAttribute("aria-label", name);
          return table !== null;
        });
      }
      return true;
    }),
};
