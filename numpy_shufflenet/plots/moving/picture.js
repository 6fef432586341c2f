/* Adds controls to a still picture. The script knows no operations. A scene has elements, each with
   a label and a value, and steps, each with an output, the elements it reads, and its sum. */
(function (key, scenes) {
  "use strict";

  function start(root) {
    root.classList.add("live");
    const sections = [...root.querySelectorAll(".scene")];
    const views = sections.map((section, number) => new View(section, scenes[number]));
    let current = 0;
    let timer = null;

    const bar = make("div", "bar");
    bar.setAttribute("role", "toolbar");
    bar.setAttribute("aria-label", "steps");
    const tablist = make("span", "tabs");
    tablist.setAttribute("role", "tablist");
    const tabs = views.length > 1 ? views.map((view, number) => {
      const tab = button(view.scene.name, () => show(number));
      tab.setAttribute("role", "tab");
      tablist.append(tab);
      return tab;
    }) : [];
    if (tabs.length) bar.append(tablist);
    const back = button("◀ Back", () => { stop(); step(-1); });
    const play = button("▶ Play", () => (timer ? stop() : run()));
    const next = button("Next ▶", () => { stop(); step(1); });
    const slider = make("input");
    slider.type = "range";
    slider.min = 0;
    slider.setAttribute("aria-label", "step");
    slider.addEventListener("input", () => { stop(); views[current].select(+slider.value, true); });
    const place = make("output");
    bar.append(back, play, next, slider, place);
    root.insertBefore(bar, sections[0]);

    views.forEach((view) => {
      view.onselect = () => {
        slider.value = view.step;
        place.textContent = `step ${view.step + 1} of ${view.scene.steps.length}`;
      };
      view.onprobe = stop;
    });
    show(0);

    function show(number) {
      stop();
      current = number;
      sections.forEach((section, i) => { section.hidden = i !== number; });
      tabs.forEach((tab, i) => tab.setAttribute("aria-selected", i === number));
      slider.max = views[number].scene.steps.length - 1;
      views[number].select(views[number].step, views[number].progress);
    }
    function step(by) {
      const view = views[current];
      const count = view.scene.steps.length;
      view.select(Math.min(Math.max(view.step + by, 0), count - 1), true);
      return view.step < count - 1;
    }
    function run() {
      const view = views[current];
      view.select(view.progress && view.step < view.scene.steps.length - 1 ? view.step : 0, true);
      const pause = Math.min(1100, Math.max(220, 16000 / view.scene.steps.length));
      timer = setInterval(() => { if (!root.isConnected || !step(1)) stop(); }, pause);
      play.textContent = "❚❚ Pause";
    }
    function stop() {
      clearInterval(timer);
      timer = null;
      play.textContent = "▶ Play";
    }
  }

  class View {
    constructor(section, scene) {
      this.section = section;
      this.scene = scene;
      this.step = scene.still;
      this.progress = false;
      this.onselect = this.onprobe = () => {};
      this.sum = section.querySelector(".sum");
      this.nodes = new Map();
      section.querySelectorAll("[data-e]").forEach((node) => {
        const e = +node.dataset.e;
        this.nodes.set(e, [...(this.nodes.get(e) || []), node]);
      });
      this.stepOf = new Map();
      scene.steps.forEach((step, number) => {
        (step.also || []).forEach((e) => this.stepOf.set(e, number));
      });
      scene.steps.forEach((step, number) => this.stepOf.set(step.output, number));
      this.readers = new Map();
      scene.steps.forEach((step, number) => new Set(step.reads).forEach((e) => {
        this.readers.set(e, [...(this.readers.get(e) || []), number]);
      }));

      const probe = (event) => {
        const node = event.target.closest && event.target.closest("[data-e]");
        if (node && section.contains(node)) this.probe(+node.dataset.e);
      };
      section.addEventListener("pointerover", probe);
      section.addEventListener("pointerdown", probe);
      section.addEventListener("pointermove", (event) => {  // touch events keep their first target
        if (event.pointerType !== "touch") return;
        const under = document.elementFromPoint(event.clientX, event.clientY);
        if (under) probe({ target: under });
      });
      section.querySelectorAll("svg.tile").forEach((svg) => this.walkable(svg));
    }

    /* Let the arrow keys move over the elements of a drawing. */
    walkable(svg) {
      const [first, count, columns] = ["first", "count", "columns"].map((k) => +svg.dataset[k]);
      let at = 0;
      svg.setAttribute("tabindex", "0");
      svg.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
        if (by === undefined) return;
        event.preventDefault();
        if (at + by >= 0 && at + by < count) at += by;
        this.probe(first + at);
      });
      svg.addEventListener("focus", () => {
        if (svg.matches(":focus-visible")) this.probe(first + at);
      });
    }

    probe(e) {
      this.onprobe();
      if (this.stepOf.has(e)) this.select(this.stepOf.get(e), false);
      else if (this.readers.has(e)) this.lookBack(e);
    }

    select(number, progress) {
      this.step = number;
      this.progress = progress;
      this.clear();
      const step = this.scene.steps[number];
      step.reads.forEach((e) => this.mark(e, "read"));
      (step.also || []).forEach((e) => this.mark(e, "also"));
      (step.winners || []).forEach((e) => this.mark(e, "win"));
      (step.extra || []).forEach((e) => this.mark(e, "on"));
      if (this.scene.deep) this.follow(step, new Set());
      this.mark(step.output, "out");
      if (progress) {
        this.scene.steps.slice(number + 1).forEach((later) => {
          this.mark(later.output, "later");
          (later.extra || []).forEach((e) => this.mark(e, "later"));
        });
      }
      this.write(step);
      this.onselect();
    }

    /* Highlight everything that a step depends on, directly or not. */
    follow(step, seen) {
      step.reads.filter((e) => !seen.has(e) && this.stepOf.has(e)).forEach((e) => {
        seen.add(e);
        const before = this.scene.steps[this.stepOf.get(e)];
        [e, ...(before.extra || [])].forEach((lit) => this.mark(lit, "on"));
        this.follow(before, seen);
      });
    }

    /* Show the elements that read this one. */
    lookBack(e) {
      this.clear();
      const readers = this.readers.get(e);
      readers.forEach((number) => {
        this.mark(this.scene.steps[number].output, "out");
        (this.scene.steps[number].extra || []).forEach((wire) => this.mark(wire, "on"));
      });
      this.mark(e, "read");
      const places = readers.slice(0, 12).map((n) => this.scene.labels[this.scene.steps[n].output]);
      const more = readers.length > 12 ? ` and ${readers.length - 12} more` : "";
      this.sum.replaceChildren(
        make("b", "", this.scene.labels[e]),
        ` ${this.scene.verb} ${readers.length === 1 ? "one entry" : `${readers.length} entries`}: `,
        places.join(", ") + more,
      );
    }

    write(step) {
      const { labels, values } = this.scene;
      this.sum.replaceChildren();
      if (step.text) {
        this.sum.append(make("b", "", labels[step.output]), ` ${step.text}`);
      } else {
        this.sum.append(make("b", "", labels[step.output]), " = ");
        const copy = step.terms.length === 1 && step.terms[0].length === 1;
        if (copy && typeof step.terms[0][0] === "number") this.sum.append(`${labels[step.terms[0][0]]} = `);
        if (step.function) this.sum.append(`${step.function}(`);
        step.terms.forEach((term, number) => {
          if (number) this.sum.append(step.function ? ", " : " + ");
          const span = make("span", "t");
          term.forEach((part, i) => {
            if (typeof part === "string") { span.append(part); return; }
            if (i && typeof term[i - 1] === "number") span.append(" × ");
            span.append(make("i", this.kind(part), values[part]));
          });
          const named = term.filter((part) => typeof part === "number");
          span.title = named.map((part) => labels[part]).join(" × ");
          span.addEventListener("pointerenter", () => named.forEach((p) => this.mark(p, "term")));
          span.addEventListener("pointerleave", () => this.clear(["term"]));
          this.sum.append(span);
        });
        if (step.function) this.sum.append(")");
        if (!copy) {
          this.sum.append(step.terms.length ? " = " : "", make("b", "", step.value));
        }
      }
      if (step.note) this.sum.append(make("span", "note", step.note));
    }

    kind(e) {
      const node = (this.nodes.get(e) || [])[0];
      const kind = node && node.closest("[data-k]");
      return kind ? kind.dataset.k : "";
    }
    mark(e, state) {
      (this.nodes.get(e) || []).forEach((node) => node.classList.add(state));
    }
    clear(states = ["out", "read", "also", "win", "on", "later", "term"]) {
      this.nodes.forEach((list) => list.forEach((node) => node.classList.remove(...states)));
    }
  }

  function make(tag, name, text) {
    const node = document.createElement(tag);
    if (name) node.className = name;
    if (text !== undefined) node.textContent = text;
    return node;
  }
  function button(text, action) {
    const node = make("button", "", text);
    node.type = "button";
    node.addEventListener("click", action);
    return node;
  }

  document.querySelectorAll(`.nsn-moving[data-key="${key}"]:not(.live)`).forEach(start);
})
