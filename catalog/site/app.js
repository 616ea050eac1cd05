// The search box: answers as one types, facets, everything written as text and never as markup.
"use strict";

(() => {
  const search = lawfulSearch(LAWFUL);
  const box = document.getElementById("q"), list = document.getElementById("answers"), said = document.getElementById("said");
  const kind = document.getElementById("kind"), optimizer = document.getElementById("optimizer");
  const browse = document.getElementById("browse");
  document.getElementById("search").hidden = false;

  const make = (tag, text, className) => {
    const node = document.createElement(tag);
    if (text) node.textContent = text;
    if (className) node.className = className;
    return node;
  };

  function fate(entry, key) {
    const row = key && entry.fates ? LAWFUL.fates[entry.fates][key] : null;
    return row ? make("p", `${LAWFUL.names[key]}: ${row[0]}: ${row[1]}`, `fate ${row[0]}`) : null;
  }

  function show() {
    const text = box.value.trim();
    const keep = (e) => !kind.value || e.kind === kind.value;
    browse.hidden = Boolean(text);
    list.replaceChildren();
    said.textContent = "";
    if (!text) return;
    const found = search(text, keep);
    const key = optimizer.value || found.optimizer;
    const notes = Object.entries(found.corrected).map(([a, b]) => `read “${a}” as “${b}”`);
    if (key) notes.push(`optimizer: ${LAWFUL.names[key]}`);
    if (!optimizer.value && found.beside.length) notes.push(`also named, and no part of what is said here: ${found.beside.map((k) => LAWFUL.names[k]).join(", ")}`);
    if (found.unknown.length) notes.push(`nothing is known of ${found.unknown.join(", ")}`);
    if (found.nearest) notes.push(found.entries.length ? "nothing answers this; the nearest entries:" : "nothing answers this");
    else notes.unshift(`${found.entries.length} answers`);
    said.textContent = notes.join(" · ");
    for (const entry of found.entries) {
      const item = make("li"), link = make("a", entry.title);
      link.href = entry.url;
      item.append(link, make("code", entry.id), make("p", entry.text.split("\n")[0], "statement"));
      const what = fate(entry, key);
      if (what) item.append(what);
      list.append(item);
    }
  }

  for (const node of [box, kind, optimizer]) node.addEventListener("input", show);
  const asked = new URLSearchParams(location.search).get("q");
  if (asked) box.value = asked;
  show();
})();
