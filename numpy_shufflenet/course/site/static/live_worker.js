// Runs students' answers in Python (Pyodide), in a thread of its own: a Web Worker that the page can
// end at any time. It has no access to the page; it sends texts and pictures as messages:
//
//   {kind: "compiled", module}            the interpreter, which the next worker needn't compile
//   {kind: "ready"}                       Python and the package are loaded
//   {kind: "running"}                     the answer runs now, so its time counts from here
//   {kind: "output", type, content, alt}  type is "text", "html" or "png"
//   {kind: "done", right, verdict}
//   {kind: "ended"}                       Python has ended; this worker can't go on
//   {kind: "failed", reason}              Python could not be loaded
//
// It receives {module, language} first, whose module may be null, and then {cells, answer}: the code
// of the cells above, and the cell to run.

const settingsURL = new URL("live/runtime.json", import.meta.url);
const asked = []; // answers that came before Python was there
let receive = (message) => asked.push(message);
const first = new Promise((resolve) => {
  self.onmessage = ({ data }) => {
    resolve(data);
    self.onmessage = (event) => receive(event.data);
  };
});

// Fetch a file of the runtime; its checksum must be that of the settings.
function checkedFetch(base, integrity) {
  const plain = self.fetch.bind(self);
  return async (resource, options) => {
    const url = new URL(resource.url ?? resource, base).href;
    const name = url.startsWith(base) ? url.slice(base.length) : "";
    const checked = integrity[name] ? { integrity: integrity[name] } : {};
    const response = await plain(resource, { ...options, ...checked });
    if (!response.ok) throw new Error(`${url} gives ${response.status}`);
    return response;
  };
}

// Import a module from bytes whose checksum has been checked: a browser checks none of an import.
async function checkedImport(url) {
  const source = await (await fetch(url)).text();
  const object = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  try {
    return await import(object);
  } finally {
    URL.revokeObjectURL(object);
  }
}

// Let Pyodide use an interpreter that another worker has compiled, or tell the page of a new one.
function shareInterpreter(module) {
  const { compileStreaming, instantiateStreaming } = WebAssembly;
  WebAssembly.instantiateStreaming = async (response, imports) => {
    WebAssembly.instantiateStreaming = instantiateStreaming;
    if (!module) {
      module = await compileStreaming(response);
      postMessage({ kind: "compiled", module });
    }
    return { module, instance: await WebAssembly.instantiate(module, imports) };
  };
}

async function load() {
  const { module, language } = await first;
  shareInterpreter(module);
  const settings = await (await fetch(settingsURL, { cache: "no-cache" })).json();
  const base = new URL(settings.base, settingsURL).href;
  self.fetch = checkedFetch(base, settings.integrity);
  const wheel = fetch(new URL(settings.package, settingsURL)).then((response) =>
    response.arrayBuffer(),
  );
  wheel.catch(() => {}); // awaited below
  const [{ loadPyodide }, runtime] = await Promise.all(
    ["pyodide.mjs", settings.module].map((name) => checkedImport(base + name)),
  );
  const python = await loadPyodide({
    indexURL: base,
    lockFileURL: new URL("pyodide-lock.json", settingsURL).href, // names a checksum for each package
    packageBaseUrl: new URL(settings.packages, settingsURL).href,
    createPyodideModule: runtime.default,
    packages: ["numpy", "threadpoolctl"],
  });
  python.unpackArchive(await wheel, "zip", { extractDir: "/package" });
  python.runPython("import sys; sys.path.insert(0, '/package')");
  const environment = python.pyimport("os").environ;
  environment.set("MPLBACKEND", "agg");
  environment.set("NUMPY_SHUFFLENET_LANGUAGE", language);
  return { python, live: python.pyimport("numpy_shufflenet.course.live") };
}

async function run({ python, live }, { cells, answer }) {
  const show = (type, content, alt) => {
    if (type === "status") verdict = content;
    else postMessage({ kind: "output", type, content, alt });
  };
  let verdict = "";
  const above = python.toPy(cells);
  const setup = live.setup_for(above, answer);
  above.destroy();
  await python.loadPackagesFromImports(`${setup}\n${answer}`).catch(() => {}); // the import will say it
  postMessage({ kind: "running" });
  const right = live.run(setup, answer, show);
  postMessage({ kind: "done", right, verdict });
}

try {
  const loaded = await load();
  receive = async (message) => {
    try {
      await run(loaded, message);
    } catch (error) {
      // live.run catches each error of Python, so this is the end of Python itself.
      console.info(String(error));
      postMessage({ kind: "ended" });
    }
  };
  postMessage({ kind: "ready" });
  asked.forEach(receive);
} catch (error) {
  const lines = String(error.message ?? error)
    .trim()
    .split("\n"); // of a traceback, the last
  postMessage({ kind: "failed", reason: lines.at(-1) });
}
