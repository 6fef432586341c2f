// Runs a Python program in WebAssembly under Node: node .ci/wasm.mjs PYODIDE CHECKOUT PACKAGES FILE ...
// PYODIDE is a folder with the files of a Pyodide release (.ci/pyodide_folder.sh makes one); the
// folders CHECKOUT and PACKAGES are there as /checkout and /pure, and importable. Ends with the program's exit code.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [pyodide, checkout, packages, file, ...args] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(resolve(pyodide, "pyodide.mjs")));
const python = await loadPyodide({ indexURL: resolve(pyodide) });
await python.loadPackage(["numpy", "threadpoolctl"], { messageCallback: () => {} });
for (const [place, root] of [
  ["/checkout", checkout],
  ["/pure", packages],
]) {
  python.FS.mkdir(place);
  python.FS.mount(python.FS.filesystems.NODEFS, { root: resolve(root) }, place);
}
python.globals.set("arguments", python.toPy([file, ...args]));
const code = python.runPython(
  `
import os, sys
sys.path[:0] = ["/checkout", "/checkout/tests", "/pure"]
sys.dont_write_bytecode = True
os.chdir("/checkout")
sys.argv = list(arguments)
code = 0
try:
    exec(compile(program, arguments[0], "exec"), {"__name__": "__main__"})
except SystemExit as end:
    code = end.code if isinstance(end.code, int) else bool(end.code)
int(code)
`.replace("program,", `${JSON.stringify(readFileSync(file, "utf-8"))},`),
);
process.exit(code);
