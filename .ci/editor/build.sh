#!/usr/bin/env bash
# Bundles the editor of the exercises: .ci/editor/build.sh [FOLDER]
# Writes editor.js and its licences into FOLDER (default: the static files of the site). All packages
# come from npm, pinned by version and checksum in package-lock.json.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "${1:-$here/../../numpy_shufflenet/course/site/static}" && pwd)
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cp "$here"/{package.json,package-lock.json,entry.js} "$room"
cd "$room"
npm ci --silent --no-audit --no-fund --ignore-scripts
npx esbuild entry.js --bundle --minify --format=esm --legal-comments=none --log-level=warning \
  --metafile=parts.json --outfile="$out/editor.js"
# The licence of every package that is in the bundle.
node -e '
const { readFileSync } = require("fs");
const inputs = Object.keys(require("./parts.json").inputs).map((name) => name.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/));
for (const name of [...new Set(inputs.filter(Boolean).map((found) => found[1]))].sort()) {
  const { version } = require(`./node_modules/${name}/package.json`);
  console.log(`${name} ${version}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf-8")}\n`);
}' >"$out/editor.LICENSE.txt"
