#!/usr/bin/env bash
# Makes a folder like that of a Pyodide release, from npm alone: .ci/pyodide_folder.sh FOLDER
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
entry = lock["packages"]["numpy"]
entry |= {"file_name": wheel.name, "version": "2.1.1"}
entry["sha256"] = hashlib.sha256(wheel.read_bytes()).hexdigest()
lock["packages"] = {"numpy": entry}
(out / "pyodide-lock.json").write_text(json.dumps(lock))
PYTHON
