// Makes the exercises of a lesson's page live: each becomes an editor with buttons, whose answer
// runs in Python in a worker (live_worker.js). Answers stay in the browser's storage.
//
// An answer, its outputs and its errors are never HTML of this page. Texts become text nodes. What
// Python shows as HTML goes into a frame in a sandbox, which has no access to the page.
import { makeEditor } from "./editor.js";
import { say, SECONDS } from "./live_texts.js";

const LONG = 3; // seconds after which a run may well have to be ended
const MOST_TEXT = 30000; // characters of output that the page shows
const TALLEST = 3000; // pixels of a frame

// Python in a worker. One answer runs at a time. When a run takes long, a second worker begins to
// load: it will be there if the first has to be ended.
class Python {
  #worker = null;
  #spare = null;
  #module = null; // the interpreter, compiled by the first worker
  #run = null; // of the answer that runs: {output, running, end}, and its timers

  // Start to load, if that hasn't happened yet.
  start() {
    this.#worker ??= this.#create();
  }

  // Run an answer. `output` receives each output, `running` is called when Python is there, and
  // `end` receives the state at the end ("right", "wrong" or "ended") and a text.
  run(request, { output, running, end }) {
    this.start();
    this.#run = { output, running, end };
    this.#worker.postMessage(request);
  }

  // End the worker with whatever runs in it, and go on with another.
  restart(text) {
    this.#worker?.terminate();
    this.#worker = this.#spare ?? this.#create();
    this.#spare = null;
    this.#finish("ended", text);
  }

  #create() {
    const worker = new Worker(new URL("live_worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => this.#receive(worker, data);
    worker.onerror = (event) => this.#fail(worker, String(event.message ?? "no worker"));
    const language = document.documentElement.lang.replace("-", "_");
    worker.postMessage({ module: this.#module, language });
    return worker;
  }

  #receive(worker, data) {
    if (data.kind === "compiled") this.#module = data.module;
    if (data.kind === "failed") this.#fail(worker, String(data.reason));
    if (worker !== this.#worker) return;
    const run = this.#run;
    if (data.kind === "ended") this.restart(say.ended);
    else if (!run) return;
    else if (data.kind === "running") {
      run.timers = [
        setTimeout(() => this.restart(say.slow), 1000 * SECONDS),
        setTimeout(() => (this.#spare ??= this.#create()), 1000 * LONG),
      ];
      run.running();
    } else if (data.kind === "output")
      run.output(data.type, String(data.content), String(data.alt ?? ""));
    else if (data.kind === "done")
      this.#finish(data.right === true ? "right" : "wrong", String(data.verdict));
  }

  #fail(worker, reason) {
    worker.terminate();
    if (worker === this.#spare) this.#spare = null;
    if (worker !== this.#worker) return;
    this.#worker = null; // the next run tries again
    this.#finish("ended", say.failed(reason));
  }

  #finish(state, text) {
    const run = this.#run;
    this.#run = null;
    run?.timers?.forEach(clearTimeout);
    run?.end(state, text);
  }
}

// The answers of a lesson in the browser's storage, which may be off or full.
const storage = {
  key: (id) => `numpy_shufflenet/${id}`,
  read(id) {
    try {
      return localStorage.getItem(this.key(id));
    } catch {
      return null;
    }
  },
  // Store a text, or remove it if it is null; return whether that worked.
  write(id, text) {
    try {
      if (text === null) localStorage.removeItem(this.key(id));
      else localStorage.setItem(this.key(id), text);
      return true;
    } catch {
      return false;
    }
  },
};

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// The student's notebook of this lesson, which the page offers for download.
const notebookLink = document.querySelector("a.download[href$='.ipynb']");
const lesson = notebookLink?.getAttribute("href").replace(/^.*\/|\.ipynb$/g, "");
let notebookFile = null;
function notebook() {
  notebookFile ??= fetch(notebookLink.href).then((response) => {
    if (!response.ok) throw new Error(`${response.status}`);
    return response.text();
  });
  notebookFile.catch(() => (notebookFile = null)); // the next run tries again
  return notebookFile.then(JSON.parse);
}

// The notebook with the answers of this page in it.
async function filledNotebook() {
  const filled = await notebook();
  const cells = filled.cells.filter((cell) => cell.metadata.tags?.includes("exercise"));
  cells.forEach((cell, number) => (cell.source = exercises[number].editor.text));
  return { filled, cells };
}

class Exercise {
  constructor(cell, number) {
    this.id = `${lesson}/${number + 1}`;
    this.cell = cell;
    this.blank = cell.querySelector("pre").textContent.trimEnd();
    const heading = cell.closest("section")?.querySelector("h2, h3, h4");
    const title = (heading?.firstChild?.textContent ?? `${number + 1}`).replace(/[\s●○]+$/, "");
    const helpId = `live-help-${number}`;
    const button = (name, action) => {
      const made = element("button", { type: "button", class: `live-${name}` }, say[name]);
      made.addEventListener("click", action);
      return made;
    };
    this.help = element("p", { class: "live-help", id: helpId }, say.help);
    this.buttons = {
      run: button("run", () => this.run()),
      stop: button("stop", () => python.restart(say.stopped)),
      reset: button("reset", () => this.reset()),
      take: button("take", () => this.takeOut()),
    };
    this.verdict = element("p", { class: "live-verdict", role: "status", "aria-live": "polite" });
    this.output = element("div", {
      class: "live-output",
      role: "region",
      "aria-label": say.output(title),
    });
    const place = element("div", { class: "live-editor" });
    this.editor = makeEditor(place, {
      text: storage.read(this.id) ?? this.blank,
      attributes: { "aria-label": say.code(title), "aria-describedby": helpId },
      changed: (text) => this.keep(text),
      run: () => this.run(),
    });
    place.addEventListener("focusin", () => python.start()); // loads while the student thinks
    const row = element("div", { class: "live-buttons" }, ...Object.values(this.buttons));
    cell
      .querySelector(".cell_input")
      .replaceWith(
        element("div", { class: "live" }, place, this.help, row, this.verdict, this.output),
      );
    this.show("idle", "");
  }

  keep(text) {
    const kept = storage.write(this.id, text === this.blank ? null : text);
    this.help.textContent = kept ? say.help : `${say.help} ${say.unsaved}`;
  }

  show(state, text, first = "") {
    this.cell.dataset.state = state;
    // Where a frame shows the result, only screen readers need the text: see site.css.
    this.verdict.replaceChildren(element("b", {}, first), element("span", {}, text && ` ${text}`));
    const busy = ["loading", "running"].includes(state);
    this.buttons.stop.hidden = !busy;
    this.buttons.run.hidden = busy;
  }

  async run() {
    if (exercises.some(({ cell }) => ["loading", "running"].includes(cell.dataset.state))) return;
    const hadFocus = document.activeElement === this.buttons.run;
    this.output.replaceChildren();
    this.show("loading", say.loading);
    if (hadFocus) this.buttons.stop.focus(); // the run button is hidden now
    python.start();
    let request;
    try {
      const { filled, cells } = await filledNotebook();
      const above = filled.cells.slice(0, filled.cells.indexOf(cells[exercises.indexOf(this)]));
      const source = ({ source }) => (Array.isArray(source) ? source.join("") : source);
      const code = above.filter((cell) => cell.cell_type === "code").map(source);
      request = { cells: code, answer: this.editor.text };
    } catch (error) {
      return this.end("ended", say.missing(error.message));
    }
    this.left = MOST_TEXT;
    python.run(request, {
      output: (type, content, alt) => this.add(type, content, alt),
      running: () => this.show("running", say.running),
      end: (state, text) => this.end(state, text),
    });
  }

  end(state, text) {
    const hadFocus = document.activeElement === this.buttons.stop;
    this.show(state, text, { right: say.right, wrong: say.wrong }[state]);
    if (hadFocus) this.buttons.run.focus();
  }

  add(type, content, alt) {
    if (type === "png" && /^[A-Za-z0-9+/=]+$/.test(content)) {
      this.output.append(
        element("img", { src: `data:image/png;base64,${content}`, alt: alt || say.picture }),
      );
    } else if (type === "html") {
      this.output.append(frame(content, this.output));
    } else if (this.left > 0) {
      const text = content.slice(0, this.left);
      this.left -= text.length;
      const last = this.output.lastElementChild;
      if (last?.tagName === "PRE") last.append(text);
      else this.output.append(element("pre", { tabindex: "0" }, text));
    }
  }

  reset() {
    this.editor.text = this.blank;
    this.output.replaceChildren();
    if (this.buttons.stop.hidden) this.show("idle", "");
  }

  async takeOut() {
    try {
      const { filled } = await filledNotebook();
      const file = new Blob([JSON.stringify(filled, null, 1)], {
        type: "application/x-ipynb+json",
      });
      const link = element("a", { href: URL.createObjectURL(file), download: `${lesson}.ipynb` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    } catch (error) {
      this.show("ended", say.missing(error.message));
    }
  }
}

// What Python shows as HTML, in a frame that can't reach the page, nor load anything. Its own
// script tells its height.
const HEIGHT = `<script>new ResizeObserver(() => parent.postMessage(
  {height: document.documentElement.getBoundingClientRect().height}, "*")).observe(document.documentElement)</script>`;
const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
function frame(html, output) {
  const { color } = getComputedStyle(output);
  const { backgroundColor } = getComputedStyle(output.closest(".live"));
  const style = `body { margin: 0; color: ${color}; background: ${backgroundColor}; }`;
  const title = output.getAttribute("aria-label");
  const made = element("iframe", { sandbox: "allow-scripts", title, class: "live-frame" });
  made.srcdoc = `<!DOCTYPE html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${POLICY}">
<style>${style}</style>${html}${HEIGHT}`;
  return made;
}
addEventListener("message", ({ source, data }) => {
  const made = [...document.querySelectorAll(".live-frame")].find(
    ({ contentWindow }) => contentWindow === source,
  );
  if (made && data?.height > 0)
    made.style.height = `${Math.min(Math.ceil(data.height), TALLEST)}px`;
});

const python = new Python();
const exercises = lesson
  ? [...document.querySelectorAll("div.cell.tag_exercise")].map(
      (cell, number) => new Exercise(cell, number),
    )
  : [];
