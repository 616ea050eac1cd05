// Formulas to MathML, which browsers draw without scripts and fonts: reads a JSON list of LaTeX, writes a JSON table.
// Run by `python -m lawful.catalog.site.formulas`; needs the npm package katex (NODE_PATH or node_modules beside the caller).
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.cwd() + "/");
const katex = require("katex");
const out = {};
for (const latex of JSON.parse(readFileSync(0, "utf-8"))) {
  out[latex] = katex
    .renderToString(latex, { output: "mathml", throwOnError: true, strict: "ignore", trust: false })
    .replace(/<annotation.*?<\/annotation>/s, "")
    .replace(/^<span class="katex">|<\/span>$/g, "");
}
process.stdout.write(JSON.stringify(out));
