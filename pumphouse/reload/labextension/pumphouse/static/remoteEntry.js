// A page that is loaded anew while a cell works: the cell goes on showing how far it is, can be stopped, and takes up
// what it prints. JupyterLab drops what a kernel sends for requests of a page that is gone, and a busy kernel tells a
// new page nothing; so JupyterLab's server is asked (pumphouse.reload.server), and messages are taken from the kernel's
// own stream. What is drawn here is in the page only: nothing of it is saved with the notebook.

const EVERY_MS = 1000;
// Looks that a message or a line of the kernel's log may be late.
const LOOKS = 3;

// Where outputs begin: right of the prompt.
const BELOW = "padding:.3em 0 .6em calc(var(--jp-cell-prompt-width, 64px) + 8px);font-size:13px;line-height:1.5";

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// How far the run of one cell is, with its two buttons. Words and tables come from the server, cleaned and escaped.
class Progress {
  constructor(Widget, stop) {
    this.stop = stop;
    this.sure = false;
    this.table = element("div");
    this.bar = element("progress", { max: 1, value: 0, "aria-label": "Steps verified" });
    this.bar.style.cssText = "width:100%;height:12px";
    this.buttons = new Map();
    this.row = element("div");
    this.row.style.cssText = "display:flex;gap:.5em;flex-wrap:wrap;margin:.3em 0";
    this.said = element("div", { role: "status" });
    const note = "This cell was begun before this page was loaded, and goes on.";
    const node = element("section", { role: "region", "aria-label": "Progress of this cell" });
    node.append(element("div", {}, note), this.table, this.bar, this.row, this.said);
    node.style.cssText = BELOW;
    node.dataset.lmSuppressShortcuts = "true";
    // out of here JupyterLab's keys count again; a button that goes away must not leave the keyboard nowhere
    const out = () => node.closest(".jp-Cell")?.focus();
    node.addEventListener("keydown", (event) => event.key === "Escape" && out());
    node.addEventListener("focusout", ({ target, relatedTarget }) => {
      if (target.disabled && relatedTarget === null) requestAnimationFrame(out);
    });
    this.widget = new Widget({ node });
    this.widget.addClass("ph-reloaded");
    this.draw(null);
  }

  draw(work) {
    const known = work !== null && !work.problem;
    this.table.hidden = this.bar.hidden = this.row.hidden = !known;
    if (work !== null && work.problem) this.say(work.problem);
    if (!known) return;
    // a table that did not change is left alone: somebody may be marking words in it
    if (this.html !== work.html) this.table.innerHTML = this.html = work.html;
    this.bar.max = Math.max(work.steps, 1);
    this.bar.value = work.verified;
    for (const one of work.buttons) {
      const button = this.buttons.get(one.kind) ?? this.button(one);
      button.disabled = !one.on;
      button.title = one.title;
      button.style.opacity = one.on ? "" : "0.5";
    }
    this.doubt = work.sure;
    this.label = work.buttons.find((one) => one.kind === work.sure.kind).label;
  }

  button(one) {
    const made = element("button", { type: "button", title: one.title, textContent: one.label });
    made.className = "jupyter-button";
    made.style.cssText = "width:auto;padding:0 1em";
    made.onclick = () => this.press(one.kind);
    this.buttons.set(one.kind, made);
    this.row.append(made);
    return made;
  }

  // what may leave a server down wants a second press, which says what it means
  async press(kind) {
    const { kind: sharp, label, words } = this.doubt;
    const first = kind === sharp && !this.sure;
    this.sure = first;
    this.buttons.get(sharp).textContent = first ? label : this.label;
    this.say(first ? words : await this.stop(kind));
    this.widget.node.scrollIntoView({ block: "nearest" });
  }

  say(words) {
    if (this.said.textContent !== words) this.said.textContent = words;
  }
}

// One cell that another page began: its outputs, as far as they arrive here.
class Taken {
  constructor(cell, message) {
    this.cell = cell;
    this.message = message;
    this.displays = new Map();
    this.renewed = false;
    this.settled = false;
    this.looks = 0;
    // outputs that are saved are those of this very request, or of an earlier one: only lines can be told apart
    const kept = cell.model.outputs.toJSON().filter((one) => one.output_type === "stream");
    cell.model.trusted = true;
    cell.model.outputs.fromJSON(kept);
    cell.model.executionState = "running";
  }

  // a table that the cell shows first goes before its lines, as it would have without the reload
  first(output) {
    const outputs = this.cell.model.outputs;
    outputs.fromJSON([output, ...outputs.toJSON()]);
    for (const [id, place] of this.displays) this.displays.set(id, place + 1);
    this.renewed = true;
  }

  hear({ header, content }) {
    const outputs = this.cell.model.outputs;
    const shown = { output_type: "display_data", data: content.data, metadata: content.metadata ?? {} };
    const id = content.transient?.display_id;
    switch (header.msg_type) {
      case "stream":
        outputs.add({ output_type: "stream", name: content.name, text: content.text });
        break;
      case "display_data":
        if (id) this.displays.set(id, outputs.length);
        outputs.add(shown);
        break;
      case "update_display_data":
        if (this.displays.has(id)) {
          outputs.set(this.displays.get(id), shown);
        } else {
          this.first(shown);
          this.displays.set(id, 0);
        }
        break;
      case "execute_result":
        outputs.add({ ...shown, output_type: "execute_result", execution_count: content.execution_count });
        break;
      case "error": {
        const { ename, evalue, traceback } = content;
        outputs.add({ output_type: "error", ename, evalue, traceback });
        break;
      }
      case "clear_output":
        outputs.clear(content.wait);
        this.displays.clear();
        break;
    }
  }
}

// Follows one notebook's kernel, from the moment that the page knows it.
class Follower {
  constructor(api, panel, kernel) {
    Object.assign(this, { api, panel, kernel, waiting: [], last: -1 });
    Object.assign(this, { taken: new Map(), progress: new Map(), missed: new Map() });
    this.onMessage = (_, message) => (this.waiting === null ? this.hear(message) : this.waiting.push(message));
    kernel.iopubMessage.connect(this.onMessage);
    this.onSaveState = (_, state) => this.wrote(state);
    panel.context.saveState.connect(this.onSaveState);
    kernel.disposed.connect(() => this.end());
    panel.disposed.connect(() => this.end());
  }

  end() {
    this.over = true;
    clearTimeout(this.timer);
    if (!this.kernel.isDisposed) this.kernel.iopubMessage.disconnect(this.onMessage);
    if (!this.panel.isDisposed) this.panel.context.saveState.disconnect(this.onSaveState);
  }

  // one save after the other: JupyterLab takes its own save that is still being written for a stranger's change of
  // the file, and asks the user which of the two is to be kept
  save() {
    this.unsaved = true;
    if (this.writing || !this.panel.context.contentsModel?.writable) return;
    this.unsaved = false;
    this.writing = true; // it says so itself, but only a moment later
    this.panel.context.save().catch(() => this.wrote("failed")); // the user was told, or has called it off
  }

  wrote(state) {
    this.writing = state === "started";
    if (state !== "completed" || !this.unsaved) return;
    this.panel.context.model.dirty = true; // that save was the whole notebook for JupyterLab, and is not
    this.save();
  }

  async begin() {
    await this.connected();
    let { windows, cells } = await this.ask();
    if (windows > 1) {
      await new Promise((go) => setTimeout(go, EVERY_MS)); // the page that is gone may still be counted
      ({ windows, cells } = await this.ask());
    }
    // where another window is open on this kernel, that one keeps the outputs: two that save them would be at odds
    this.alone = windows <= 1;
    for (const one of cells) {
      const place = this.placeOf(one.id);
      if (one.page === this.kernel.clientId) continue; // run from this page: JupyterLab takes care of it
      if (!one.ended) this.take(place, one);
      else if (place >= 0 && this.alone) this.late(this.cells[place], one);
      if (place >= 0) this.last = place;
    }
    const queued = this.waiting;
    this.waiting = null;
    queued.forEach((message) => this.hear(message));
    this.look();
  }

  connected() {
    return new Promise((go) => {
      const look = () => {
        if (!this.over && this.kernel.connectionStatus !== "connected") return;
        this.kernel.connectionStatusChanged.disconnect(look);
        go();
      };
      this.kernel.connectionStatusChanged.connect(look);
      look();
    });
  }

  get cells() {
    return this.panel.content.widgets;
  }

  placeOf(id) {
    return this.cells.findIndex((cell) => cell.model.id === id);
  }

  async ask(ids = []) {
    const query = new URLSearchParams(ids.map((id) => ["cell", id]));
    return this.api.get(`pumphouse/cells/${this.kernel.id}?${query}`);
  }

  take(place, { id, message, work = null }) {
    const cell = place >= 0 ? this.cells[place] : null;
    const stop = (kind) => this.api.stop(`pumphouse/stop/${this.kernel.id}`, { cell: id, kind });
    const shown = new Progress(this.api.Widget, stop);
    shown.draw(work);
    this.progress.set(id, shown);
    if (cell === null) {
      this.panel.contentHeader.addWidget(shown.widget); // the cell is in no saved version of this notebook
      return;
    }
    cell.layout.insertWidget(cell.layout.widgets.length - 1, shown.widget);
    if (this.alone && !this.taken.has(message)) this.taken.set(message, new Taken(cell, message));
    this.panel.content.activeCellIndex = place;
    requestAnimationFrame(() => shown.widget.node.scrollIntoView({ block: "nearest" }));
  }

  hear(message) {
    const parent = message.parent_header;
    if (this.over || !this.alone || !parent.msg_id || parent.session === this.kernel.clientId) return;
    if (message.header.msg_type === "execute_input") this.follow(parent.msg_id, message.content);
    const taken = this.taken.get(parent.msg_id);
    if (taken === undefined || taken.settled) return;
    if (message.header.msg_type !== "status") taken.hear(message);
    else if (message.content.execution_state === "idle") taken.idle = true;
  }

  // "Run All" had sent the cells after it as well: the next one with that source
  follow(message, { code }) {
    if (this.taken.has(message)) return;
    const next = (cell, place) => place > this.last && cell.model.type === "code";
    const place = this.cells.findIndex((cell, at) => next(cell, at) && cell.model.sharedModel.getSource() === code);
    if (place < 0) return;
    this.last = place;
    const taken = new Taken(this.cells[place], message);
    taken.cell.model.outputs.clear();
    this.taken.set(message, taken);
    this.look();
  }

  async look() {
    clearTimeout(this.timer);
    if (this.over) return;
    const open = [...this.taken.values()].filter((one) => !one.settled);
    const ids = new Set([...this.progress.keys(), ...open.map((one) => one.cell.model.id)]);
    if (ids.size === 0) return;
    try {
      const { cells } = await this.ask([...ids]);
      for (const one of cells) this.show(one);
      for (const id of ids) this.count(id, cells.some((one) => one.id === id));
    } catch (problem) {
      if (problem.status === 404) ids.forEach((id) => this.lose(id));
      else for (const shown of this.progress.values()) shown.say(`What is shown may be old: ${problem.message}`);
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), EVERY_MS);
  }

  show(one) {
    const taken = this.taken.get(one.message);
    if (!one.ended && !this.progress.has(one.id) && one.work && taken !== undefined) {
      this.take(this.placeOf(one.id), one); // a cell of "Run All" that has only now begun to carry something out
    }
    this.progress.get(one.id)?.draw(one.work ?? null);
    if (!one.ended) return;
    if (taken !== undefined && !taken.settled) {
      taken.looks += 1;
      if (!taken.idle && taken.looks < LOOKS) return;
      if (!taken.renewed && taken.displays.size === 0 && one.work?.html) taken.first(tableOf(one.work));
      taken.settled = true;
      taken.cell.model.executionCount = one.count;
      taken.cell.model.executionState = "idle";
      this.save(); // no other page has these outputs
    }
    this.progress.get(one.id)?.widget.dispose();
    this.progress.delete(one.id);
  }

  // a kernel that was restarted knows nothing of a cell; one that has just taken it up does so a moment later
  count(id, known) {
    const missed = known ? 0 : (this.missed.get(id) ?? 0) + 1;
    this.missed.set(id, missed);
    if (missed >= LOOKS) this.lose(id);
  }

  // the kernel went away under the cell
  lose(id) {
    this.progress.get(id)?.widget.dispose();
    this.progress.delete(id);
    for (const taken of this.taken.values()) {
      if (taken.cell.model.id !== id || taken.settled) continue;
      taken.settled = true;
      taken.cell.model.executionState = "idle";
      this.note(taken.cell, "The kernel that ran this cell is gone. Run the notebook again from its first cell.");
    }
  }

  // a cell that ended before this page was there, and after the notebook was saved
  late(cell, one) {
    if (cell.model.type !== "code" || cell.model.executionCount === one.count) return;
    const ended = one.failed ? "ended with an error" : "ended";
    if (one.work?.html) {
      cell.model.trusted = true;
      cell.model.outputs.fromJSON([tableOf(one.work)]);
      cell.model.executionCount = one.count;
    }
    const words = `This cell ${ended} after the notebook was saved last: what it printed is not here.`;
    this.note(cell, `${words} Run it again to see it.`);
  }

  // words below a cell, until it runs again
  note(cell, words) {
    const node = element("div", { role: "note" }, `${words} What is done is not done twice.`);
    node.style.cssText = `${BELOW};opacity:.7`;
    const widget = new this.api.Widget({ node });
    widget.addClass("ph-note");
    cell.layout.insertWidget(cell.layout.widgets.length - 1, widget);
    const look = () => {
      if (cell.model.executionState !== "running") return;
      cell.model.stateChanged.disconnect(look);
      widget.dispose();
    };
    cell.model.stateChanged.connect(look);
  }
}

const tableOf = ({ html, text }) => ({
  output_type: "display_data",
  data: { "text/html": html, "text/plain": text },
  metadata: {},
});

// The server's answers, in JupyterLab's own way to log in.
function apiOf(services, Widget) {
  const settings = services.ServerConnection.makeSettings();
  const ask = async (path, init) => {
    const answer = await services.ServerConnection.makeRequest(settings.baseUrl + path, init, settings);
    if (!answer.ok) {
      const words = `JupyterLab's server answers ${answer.status} ${answer.statusText}.`;
      throw Object.assign(new Error(words), { status: answer.status });
    }
    return answer.json();
  };
  return {
    Widget,
    get: (path) => ask(path, {}),
    stop: async (path, asked) => {
      try {
        return (await ask(path, { method: "POST", body: JSON.stringify(asked) })).words;
      } catch (problem) {
        return `Nobody was asked to stop: ${problem.message}`;
      }
    },
  };
}

async function follow(api, panel) {
  await panel.context.ready;
  let follower = null;
  const renew = async () => {
    const kernel = panel.sessionContext.session?.kernel ?? null;
    if (kernel === null || follower?.kernel === kernel || panel.isDisposed) return;
    follower?.end();
    follower = new Follower(api, panel, kernel);
    try {
      await follower.begin();
    } catch (problem) {
      follower.end(); // a server without us: the notebook works as it does without
      console.info("pumphouse:", problem.message);
    }
  };
  panel.sessionContext.kernelChanged.connect(renew);
  await renew();
}

// What webpack makes of an extension, by hand: there is nothing to build, and nothing that is not in this file.
let shared = null;
const library = async (name) => (await Object.values(shared[name])[0].get())();

async function extension() {
  const [notebook, services, lumino] = await Promise.all(
    ["@jupyterlab/notebook", "@jupyterlab/services", "@lumino/widgets"].map(library),
  );
  return {
    id: "pumphouse:reload",
    description: "Shows how far a run is in a notebook that was reloaded while a cell worked.",
    autoStart: true,
    requires: [notebook.INotebookTracker],
    activate: (_app, tracker) => {
      const api = apiOf(services, lumino.Widget);
      tracker.forEach((panel) => follow(api, panel));
      tracker.widgetAdded.connect((_, panel) => follow(api, panel));
    },
  };
}

(window._JUPYTERLAB ??= {}).pumphouse = {
  init: (scope) => {
    shared = scope;
  },
  get: async () => {
    const made = { __esModule: true, default: await extension() };
    return () => made;
  },
};
