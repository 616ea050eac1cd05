// The search of the catalog in the browser: the analysis and the ranking of `lawful.catalog.search`, on the same data.
"use strict";

function lawfulSearch(data) {
  const { rules, stop, suffixes, phrases, longest, models, optimizers, losses, symbols, frequency, entries, joiners, updates } = data;
  const people = new Set(data.people); // short names, which differ from many English words in one letter
  const others = new Set(data.other); // words of the field that are no typing errors
  const blocks = new Set(data.blocks);
  const stopWords = new Set(stop);
  const common = new Set(Object.keys(phrases).flatMap((p) => p.split(" ")));
  const known = new Set([...Object.keys(frequency), ...common]);
  const docs = entries.map((e) => ({ ...e, name: new Set(e.name), head: new Set(e.head), law: new Set(e.law), body: new Set(e.body), wires: new Set(e.wires) }));

  function tokens(text) {
    for (const [sign, word] of Object.entries(rules.greek)) text = text.split(sign).join(word);
    text = text.normalize("NFKD").replace(/\p{M}/gu, "").replace(/(?<=[\p{L}\p{N}_])['’]s(?![\p{L}\p{N}_])/gu, "");
    return text.toLowerCase().match(/[a-z]+|[0-9]+/g) || [];
  }

  function stem(word) {
    for (let pass = 0; pass < 3; pass++) {
      let changed = null;
      for (const [ending, instead] of suffixes) {
        if (!word.endsWith(ending)) continue;
        let rest = word.slice(0, word.length - ending.length);
        if (rest.length < 3 || (ending === "s" && "sui".includes(rest.at(-1)))) continue;
        if ((ending === "ing" || ending === "ed") && rest.at(-1) === rest.at(-2) && !"lsz".includes(rest.at(-1))) rest = rest.slice(0, -1);
        changed = rest + instead;
        break;
      }
      if (changed === null || changed === word) return word;
      word = changed;
    }
    return word;
  }

  function formulas(text, asked) {
    const found = [];
    let plain = text.replace(/\^\{?\\?(?:top|T)\}?|ᵀ|(?<=[A-Z])'|\.T\b/g, " ");
    plain = plain.replace(/\b[Ww]_?\{?([QKVOqkvo])\}?(?![A-Za-z])|(?<![A-Za-z])([qkvo])_proj/g, (all, a, b) => { found.push((a || b).toLowerCase()); return " "; });
    if (!found.length) {
      const generic = plain.match(/(?<![A-Za-z])[UVW]{1,4}T?(?![A-Za-z])/g) || [];
      if (generic.join("").length > 1 && generic.some((run) => /[UW]/.test(run))) {
        plain = plain.replace(/(?<![A-Za-z])[UVW]{1,4}T?(?![A-Za-z])/g, " ").replace(/(?<![A-Za-z])[QKVOT]{1,4}(?![A-Za-z])/g, " ");
        return [["balanced", "linear"], plain];
      }
    }
    const alone = plain.match(/(?<![A-Za-z])[qk](?![A-Za-z])/g) || [];
    if (asked && alone.includes("q")) found.push(...alone);
    plain = plain.replace(/(?<![A-Za-z])[QKVOT]{1,4}(?![A-Za-z])/g, (run) => { found.push(...run.toLowerCase()); return " "; });
    return [[...new Set(found)].filter((c) => c in symbols).map((c) => "matrix" + c), plain];
  }

  function distance(a, b, most) {
    if (Math.abs(a.length - b.length) > most) return most + 1;
    let before = [], last = Array.from({ length: b.length + 1 }, (_, j) => j);
    for (let i = 1; i <= a.length; i++) {
      const row = [i];
      for (let j = 1; j <= b.length; j++) {
        let cost = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
        if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2] + 1);
        row.push(cost);
      }
      if (Math.min(...row) > most) return most + 1;
      [before, last] = [last, row];
    }
    return last[b.length];
  }

  function nearest(word) {
    const most = word.length < 7 ? 1 : 2;
    let best = null;
    for (const other of known) {
      if (people.has(other) || other.length < 3 || Math.abs(other.length - word.length) > most) continue;
      const edits = distance(word, other, most);
      if (edits > most) continue;
      const rank = edits + 0.5 * (word[0] !== other[0]) + 0.1 * (word.length !== other.length) + 0.2 * !common.has(other);
      if (!best || rank < best[0] || (rank === best[0] && other < best[1])) best = [rank, other];
    }
    return best && best[0] < word.length / 2.5 ? best[1] : null;
  }

  function spelled(word, corrected) {
    if (word.length < 5 || /^[0-9]+$/.test(word) || stopWords.has(word) || known.has(stem(word)) || stopWords.has(stem(word))) return [word];
    if (others.has(stem(word))) return [word];
    const better = (stem(word).length > 4 ? nearest(stem(word)) : null) || nearest(word);
    let found = better ? [better] : [];
    if (!better) {
      for (let i = 3; i < word.length - 2 && !found.length; i++) {
        if (known.has(stem(word.slice(0, i))) && known.has(stem(word.slice(i)))) found = [word.slice(0, i), word.slice(i)];
      }
    }
    if (!found.length) return [word];
    corrected[word] = found.join(" ");
    return found;
  }

  function joined(raw, spans) {
    const found = new Set();
    for (let i = 0; i < raw.length; i++) {
      const row = joiners.find((j) => j.every((w, k) => raw[i + k] === w));
      if (!row) continue;
      const end = i + row.length;
      let left = spans.filter((s) => i - rules.reach <= s[1] && s[1] <= i).slice(-1);
      let right = spans.filter((s) => end <= s[0] && s[0] <= end + rules.reach).slice(0, 1);
      if (raw[i] === "between") {
        left = right;
        right = spans.filter((s) => left.length && left[0][1] < s[0] && s[0] <= left[0][1] + rules.reach).slice(0, 1);
      }
      if (left.length && right.length) for (const s of [...left, ...right]) s[2].forEach((t) => found.add(t));
    }
    return found;
  }

  // The optimizers that a question asks about, in its order; see `updates.py`.
  function named(raw, spans, norms, breaks) {
    const at = (i, row) => i >= 0 && row.every((w, k) => raw[i + k] === w);
    const compared = raw.some((w) => updates.pairs.includes(w)) ? [...updates.compare, ["and"]] : updates.compare;
    const broken = (one, other) => breaks.some((b) => one[1] <= b && b <= other[0]);
    const listed = (i) => {
      const words = raw.slice(spans[i - 1][1], spans[i][0]);
      return words.every((w) => /^[0-9]+$/.test(w) || updates.listing.includes(w)) && (words.includes("and") || broken(spans[i - 1], spans[i]));
    };
    const whole = (i) => !updates.additions.includes(spans[i][2]);
    const items = spans.flatMap((s, i) => {
      const midst = i > 0 && i + 1 < spans.length && whole(i - 1) && whole(i + 1) && listed(i + 1);
      return i > 0 && listed(i) && (whole(i) || (midst && broken(spans[i - 1], s))) ? [s[0]] : [];
    });
    const apart = raw.map((_, i) => i).filter((i) => compared.some((row) => at(i, row)));
    const cuts = [...new Set([...apart, ...items])].sort((a, b) => a - b);
    const out = [];
    for (const span of spans) {
      let [start, end, key] = span;
      const between = out.length ? raw.slice(out.at(-1)[1], start) : ["-"];
      const joins = between.every((w) => updates.along.includes(w)) && (!(between.includes("and") || (out.length && broken(out.at(-1), span))) || updates.additions.includes(key));
      while (start && updates.articles.includes(raw[start - 1])) start--;
      const before = (row) => at(start - row.length, row);
      const denied = !updates.compare.some(before) && updates.without.some(before);
      while (end < raw.length && (updates.set.includes(raw[end]) || updates.articles.includes(raw[end]))) end++;
      const off = updates.nothing.includes(raw[end]);
      let digits = "";
      while (end < raw.length && /^[0-9]+$/.test(raw[end])) digits += raw[end++];
      if (joins || denied || off || (/^0+$/.test(digits) && raw[end] !== "e")) out.push(span);
    }
    const ofNorm = ([start, end, key]) => {
      if (key !== "momentum" || raw[end] === "sgd" || raw[end] === "optimizer") return false;
      let behind = end;
      if (["of", "in", "inside"].includes(raw[end]) && !(start && raw[start - 1] === "sgd")) {
        behind++;
        while (behind < raw.length && updates.articles.includes(raw[behind])) behind++;
      }
      return norms.some(([a, b]) => (b <= start && raw.slice(b, start).every((w) => updates.parts.includes(w))) || (behind > end && a === behind));
    };
    const found = new Set();
    [0, ...cuts].forEach((begin, n) => {
      const inside = spans.filter((s) => begin <= s[0] && s[0] < (n < cuts.length ? cuts[n] : raw.length) && !ofNorm(s));
      const said = inside.filter((s) => !out.includes(s));
      const words = new Set(said.flatMap(([a, b]) => raw.slice(a, b)));
      let keys = [...new Set(said.map((s) => s[2]))];
      for (const [key, rows] of Object.entries(updates.together)) if (rows.some((row) => row.every((w) => words.has(w)))) keys.push(key);
      const gone = new Set(inside.map((s) => s[2]).filter((k) => !keys.includes(k)));
      keys = keys.map((key) => (Object.entries(updates.less[key] || {}).find(([g]) => gone.has(g)) || [0, key])[1]);
      const refined = new Set(keys.flatMap((key) => updates.refines[key] || []));
      keys.filter((key) => !refined.has(key)).forEach((key) => found.add(key));
    });
    return [...found];
  }

  function analyse(text, spelling) {
    if (spelling) text = text.slice(0, rules.longest);
    for (const [name, instead] of Object.entries(data.capitals)) text = text.replace(new RegExp(`(?<![A-Za-z])${name}(?![A-Za-z])`, "g"), instead);
    const corrected = {}, unknown = [], spans = [], places = [], terms = new Map();
    const [letters, rest] = formulas(text, spelling);
    const isKnown = (name) => {
      const row = tokens(name).map(stem);
      return Object.hasOwn(phrases, row.join(" ")) || row.every((t) => known.has(t));
    };
    const inParts = (name) => {
      if (isKnown(name)) return name;
      const parts = name.replace(/(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g, " ").split(" ");
      return parts.every((part) => part.length >= rules.part || isKnown(part)) ? parts.join(" ") : name;
    };
    const raw = [], breaks = new Set();
    for (const part of (spelling ? rest.replace(/[A-Za-z0-9]+/g, inParts) : rest).split(/[,;/&](?![^()]*\))/)) {
      const words = tokens(part);
      raw.push(...(spelling ? words.flatMap((w) => spelled(w, corrected)) : words));
      breaks.add(raw.length);
    }
    const row = raw.map(stem);
    letters.forEach((t) => terms.set(t, 1));
    for (let i = 0; i < row.length; ) {
      let size = Math.min(longest, row.length - i);
      while (size && !Object.hasOwn(phrases, row.slice(i, i + size).join(" "))) size--;
      if (size) {
        const said = phrases[row.slice(i, i + size).join(" ")];
        for (const t of said) terms.set(t, 1);
        const blocksSaid = said.filter((t) => blocks.has(t));
        if (blocksSaid.length) spans.push([i, i + size, blocksSaid]);
        for (const t of said) if (Object.hasOwn(optimizers, t)) places.push([i, i + size, optimizers[t]]);
      } else if (!stopWords.has(raw[i]) && (raw[i].length > 1 || /[0-9]/.test(raw[i]))) {
        terms.set(row[i], /^[0-9]+$/.test(row[i]) ? 0.3 : 1);
        if (spelling && (!known.has(row[i]) || others.has(row[i]))) unknown.push(raw[i]);
      }
      i += Math.max(size, 1);
    }
    if (letters.some((t) => t.startsWith("matrix")) && !terms.has("attention")) terms.set("attention", rules.implied);
    for (const [model, implied] of Object.entries(models)) {
      if (terms.has(model)) for (const t of implied) if (!terms.has(t)) terms.set(t, rules.implied);
    }
    const asked = named(raw, places, spans.filter((s) => s[2].includes("batchnorm")), [...breaks]);
    if (spelling) {
      for (const t of Object.keys(optimizers)) terms.delete(t);
      for (const [t, k] of Object.entries(optimizers)) if (asked.includes(k)) terms.set(t, 1);
    }
    return { terms, joined: joined(raw, spans), corrected, unknown, optimizers: asked, losses: Object.keys(losses).filter((k) => terms.get(losses[k]) >= 1) };
  }

  function weights({ terms, joined }) {
    const about = [...terms].some(([t, w]) => w >= 1 && !t.startsWith("optimizer"));
    const rarity = (t) => Math.log(1 + entries.length / (frequency[t] || 1)) * (frequency[t] ? 1 : rules.unknown);
    return new Map([...terms].map(([t, w]) => [t, w * rarity(t) * (about && t.startsWith("optimizer") ? rules.mentioned : joined.has(t) ? rules.joined : 1)]));
  }

  function score(entry, weight) {
    let total = 0, said = 0, fate = 0;
    for (const [t, w] of weight) {
      total += w;
      said += w * (entry.name.has(t) ? rules.name : entry.head.has(t) ? rules.head : entry.law.has(t) ? rules.law : entry.body.has(t) ? rules.body : 0);
      if (t.startsWith("optimizer")) fate += rules.fate * w;
    }
    if (!said) return 0;
    if (rules.lawKinds.includes(entry.kind) && entry.kind !== "none") said += fate;
    let spare = [...entry.name].filter((t) => !weight.has(t)).length;
    if ([...weight.keys()].some((t) => t.startsWith("matrix"))) spare += [...entry.law].filter((t) => t.startsWith("matrix") && !weight.has(t)).length;
    const basic = Object.hasOwn(rules.basic, entry.kind) ? rules.basic[entry.kind] : 0.01;
    const named = entry.kind === "family" && [...entry.name].some((t) => t.startsWith("model") && weight.has(t));
    return said / total - rules.spare * Math.min(spare, rules.spares) + basic + (named ? rules.modelAsked : 0);
  }

  // How much of two words is alike: twice the letters of the longest common runs over all letters, as difflib has it.
  function likeness(a, b) {
    let same = 0;
    const waiting = [[0, a.length, 0, b.length]];
    while (waiting.length) {
      const [alo, ahi, blo, bhi] = waiting.pop();
      let size = 0, i = alo, j = blo, before = [];
      for (let x = alo; x < ahi; x++) {
        const row = [];
        for (let y = blo; y < bhi; y++) {
          if (a[x] !== b[y]) continue;
          row[y] = (before[y - 1] || 0) + 1;
          if (row[y] > size) [size, i, j] = [row[y], x - row[y] + 1, y - row[y] + 1];
        }
        before = row;
      }
      if (!size) continue;
      same += size;
      waiting.push([alo, i, blo, j], [i + size, ahi, j + size, bhi]);
    }
    return (2 * same) / (a.length + b.length);
  }

  // Where no word is known: the terms that look most like the words of the text.
  function alike(text) {
    const bound = (n, m) => (2 * Math.min(n, m)) / (n + m);
    const rows = tokens(text).filter((w) => !stopWords.has(w)).flatMap((word) =>
      Object.keys(frequency)
        .filter((other) => bound(word.length, other.length) >= rules.alike)
        .map((other) => [likeness(other, word), other])
        .filter(([value]) => value >= rules.alike)
        .sort(([a, x], [b, y]) => b - a || (x < y ? 1 : -1))
        .slice(0, rules.alikes)
    );
    return new Map(rows.map(([, other]) => [other, 1]));
  }

  // The answers to a text: { entries, nearest, optimizer, corrected, unknown }, best first.
  return function search(text, keep = () => true, limit = 20) {
    const question = analyse(text, true);
    const weight = weights(question);
    const pair = text.slice(0, rules.longest).match(/\bbetween\s+(?:an?\s+|the\s+|its\s+)?(.+?)\s+and\s+(?:an?\s+|the\s+|its\s+)?(.+?)[?.!]*$/i);
    const asked = pair ? [pair[1], pair[2]].map((part) => [...analyse(part, false).terms.keys()]) : null;
    const joins = (e) => asked && rules.lawKinds.includes(e.kind) && asked.every((side) => side.length && side.every((t) => e.wires.has(t)));
    const size = (id) => [...id].length;
    const scored = (weight, more) => docs
      .map((e) => [score(e, weight), e])
      .filter(([s]) => s > 0)
      .map(([s, e]) => [Math.round((s + more(e)) * 1e9) / 1e9, e])
      .filter(([, e]) => keep(e))
      .sort(([a, x], [b, y]) => b - a || size(x.id) - size(y.id) || (x.id < y.id ? -1 : 1));
    let found = scored(weight, (e) => (joins(e) ? 0.3 : 0));
    const good = found.filter(([s]) => s >= Math.max(rules.enough, rules.close * (found.length ? found[0][0] : 0)));
    if (!found.length) found = scored(weights({ terms: alike(text), joined: new Set() }), () => 0);
    if (!found.length) found = docs.filter((e) => e.kind === "theorem" && keep(e)).map((e) => [0, e]);
    const answers = good.length ? good.slice(0, limit) : found.slice(0, rules.nearest);
    return { entries: answers.map(([, e]) => e), nearest: !good.length, optimizer: question.optimizers[0] || "", beside: question.optimizers.slice(1), corrected: question.corrected, unknown: question.unknown };
  };
}

if (typeof module !== "undefined") module.exports = { lawfulSearch };
