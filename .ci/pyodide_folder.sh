#!/usr/bin/env bash
# Makes a folder like that of a Pyodide release, from registries alone: .ci/pyodide_folder.sh FOLDER
#
# Pyodide's releases with NumPy are on its CDN and on GitHub; a registry has their interpreter only.
# NumPy for WebAssembly is on npm for one older interpreter, so CI runs these two:
#   pyodide 0.25.1 (Python 3.11.3), and NumPy 2.1.1 of emscripten-forge.
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cat >"$room/package.json" <<'JSON'
{"private": true, "dependencies": {
  "pyodide": "0.25.1", "@emscripten-forge/numpy": "2.1.1-py311hc8e14bb-0"}}
JSON
cp "$(dirname "$0")/pyodide_folder.lock.json" "$room/package-lock.json"
(cd "$room" && npm ci --silent --no-audit --no-fund --ignore-scripts)
cp "$room"/node_modules/pyodide/{pyodide.mjs,pyodide.asm.js,pyodide.asm.wasm,python_stdlib.zip,pyodide-lock.json} "$out"
# This NumPy calls a function of the C library that this Pyodide lacks, when it could reuse a large
# temporary array. With one that answers 0, NumPy makes a new array.
sed -i 's/wasmImports={/wasmImports={backtrace:()=>0,/' "$out/pyodide.asm.js"
grep -q 'wasmImports={backtrace' "$out/pyodide.asm.js"
echo "threadpoolctl==3.6.0 --hash=sha256:43a0b8fd5a2928500110039e43a5eed8480b918967083ea48dc3ab9f13c4a7fb" >"$room/requirements.txt"
python3 -m pip download --quiet --no-deps --require-hashes -r "$room/requirements.txt" -d "$out"
mkdir "$room/numpy"
tar xzf "$room"/node_modules/@emscripten-forge/numpy/pkg/numpy-*.tar.gz -C "$room/numpy"
python3 - "$out" "$room"/numpy/lib/python3.11/site-packages <<'PYTHON'
import hashlib, json, pathlib, sys, zipfile

out, packages = map(pathlib.Path, sys.argv[1:])
wheel = out / "numpy-2.1.1-cp311-cp311-emscripten_3_1_46_wasm32.whl"
with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
    for path in sorted(packages.rglob("*")):
        parts = path.relative_to(packages).parts
        if path.is_file() and parts[0].startswith("numpy") and not {"tests", "__pycache__"} & set(parts):
            archive.write(path, "/".join(parts))
lock = json.loads((out / "pyodide-lock.json").read_text())
like = lock["packages"]["numpy"]
lock["packages"] = {
    path.name.partition("-")[0]: {
        **like,
        "name": path.name.partition("-")[0],
        "imports": [path.name.partition("-")[0]],
        "version": path.name.split("-")[1],
        "file_name": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    for path in out.glob("*.whl")
}
(out / "pyodide-lock.json").write_text(json.dumps(lock))
PYTHON
