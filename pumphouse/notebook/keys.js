// JupyterLab takes arrow keys and letters for commands of its own wherever no text is edited: not inside our widget.
function mark(el, tries) {
  const host = el.isConnected ? el.closest(".widget-vbox") : null;
  if (host) host.setAttribute("data-lm-suppress-shortcuts", "true");
  else if (tries > 0) requestAnimationFrame(() => mark(el, tries - 1));
}

export default { render: ({ el }) => mark(el, 600) };
