// Sorts, filters and hides what the page shows, and draws its numbers against each other. Without it nothing is missing:
// tables and plots stand in the page. What is chosen stands in location.hash, so that a link shows the same.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tables = [...document.querySelectorAll("table")].filter(t => t.querySelector("tr[data-row]"));
  const heads = c => document.querySelectorAll(`th[data-col="${c}"]`);
  const byName = new Map(data.columns.map((c, i) => [c.name, i]));
  const make = (name, attributes = {}, text = "") => {
    const e = document.createElement(name);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    e.textContent = text;
    return e;
  };
  const number = (row, c) => data.rows[row].v[c];
  const shown = (row, c) => {
    const x = number(row, c);
    return x === null ? "–" : String(Number(x.toPrecision(5)));
  };

  // State: only what is not the default goes into the hash.
  const defaults = {sort: "", down: "", filter: "", hide: "", x: "stored_bytes", y: "accuracy", logx: "1", logy: ""};
  const state = {...defaults};
  const read = () => {
    Object.assign(state, defaults);
    for (const [k, v] of new URLSearchParams(location.hash.slice(1))) if (k in defaults) state[k] = v;
    for (const axis of ["x", "y"]) {
      const names = data.columns.map(c => c.name).filter(n => axis === "x" || n !== state.x);
      if (!byName.has(state[axis])) state[axis] = names[axis === "x" ? names.length - 1 : 0] ?? "";
    }
  };
  const set = changes => {
    Object.assign(state, changes);
    const kept = Object.entries(state).filter(([k, v]) => v !== defaults[k]);
    history.replaceState(null, "", "#" + new URLSearchParams(kept));
    show();
  };

  // Words that a label must hold; `accuracy>74` compares with a column, in the unit shown.
  const wanted = text => text.split(/\s+/).filter(w => w).map(word => {
    const m = /^([\w.]+)(<=|>=|<|>|=)(-?[\d.eE+-]+)$/.exec(word);
    if (m && byName.has(m[1])) {
      const c = byName.get(m[1]), x = Number(m[3]);
      const holds = {"<": v => v < x, ">": v => v > x, "<=": v => v <= x, ">=": v => v >= x, "=": v => v === x}[m[2]];
      return row => number(row, c) !== null && holds(number(row, c));
    }
    return row => data.rows[row].label.toLowerCase().includes(word.toLowerCase());
  });
  const visible = row => wanted(state.filter).every(holds => holds(row));

  // Tables.
  const rowsOf = table => [...table.tBodies[0].rows];
  const order = (a, b) => {
    if (state.sort === "") return a - b;
    const down = state.down ? -1 : 1;
    if (state.sort === "model") return down * data.rows[a].label.localeCompare(data.rows[b].label, "en", {numeric: true});
    const c = byName.get(state.sort), x = number(a, c), y = number(b, c);
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    return down * (x - y) || a - b;
  };
  const sortBy = name => set(state.sort !== name ? {sort: name, down: ""} : state.down ? {sort: "", down: ""} : {down: "1"});
  const showTables = () => {
    const hidden = new Set(state.hide.split(",").filter(n => n));
    let n = 0;
    for (const table of tables) {
      const index = tr => Number(tr.dataset.row);
      table.tBodies[0].append(...rowsOf(table).sort((a, b) => order(index(a), index(b))));
      for (const tr of rowsOf(table)) tr.classList.toggle("off", !visible(index(tr)));
      [...table.tHead.rows[0].cells].forEach((th, i) => {
        const name = i === 0 ? "model" : th.dataset.col === undefined ? null : data.columns[th.dataset.col].name;
        const sorted = name === state.sort ? (state.down ? "descending" : "ascending") : "none";
        if (name !== null) th.setAttribute("aria-sort", sorted);
        for (const tr of table.rows) tr.cells[i].classList.toggle("off", i > 0 && hidden.has(name));
      });
    }
    data.rows.forEach((_, row) => { n += visible(row); });
    count.textContent = `${n} of ${data.rows.length}`;
    for (const box of boxes) box.checked = !hidden.has(box.value);
    if (document.activeElement !== filter) filter.value = state.filter;
  };

  // The chart.
  let W = 900, H = 520; // of the room there is, so that letters keep their size
  const L = 76, R = 32, T = 16, B = 52;
  // Marks as in the pictures: six filled shapes, then four open ones; the reference is a star, what has no name is small.
  const shapes = ["M-6,0a6,6 0 1 0 12,0a6,6 0 1 0 -12,0z", "M-5.3,-5.3h10.6v10.6h-10.6z", "M0,-7l6.6,11.5h-13.2z", "M0,-7.5l6,7.5l-6,7.5l-6,-7.5z",
    "M0,7l6.6,-11.5h-13.2z", "M0,-6.8l6.5,4.7l-2.5,7.6h-8l-2.5,-7.6z"];
  const star = "M0,-8.5l2,6.2h6.5l-5.2,3.8l2,6.2l-5.3,-3.8l-5.3,3.8l2,-6.2l-5.2,-3.8h6.5z", small = "M-3.5,0a3.5,3.5 0 1 0 7,0a3.5,3.5 0 1 0 -7,0z";
  const looks = group => {
    if (group === "reference" || group < 0) return {class: `dot ${group < 0 ? "other" : "reference"}`, d: group < 0 ? small : star};
    const shape = (group + Math.floor(group / 10)) % 10;
    return {class: `dot${shape < 6 ? "" : " open"}`, d: shapes[shape % 6], style: `--c:${data.groups[group].color}`};
  };
  const groupOf = row => data.rows[row].reference ? "reference" : data.rows[row].group;
  const svg = (name, attributes, text) => {
    const e = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    if (text !== undefined) e.textContent = text;
    return e;
  };
  // Whole bars are in the frame, unless they would squeeze the values into less than a quarter of it.
  const scale = (values, log, from, to, bars = []) => {
    const f = log ? Math.log10 : x => x;
    let lo = f(Math.min(...values)), hi = f(Math.max(...values));
    const low = Math.min(lo, ...bars.map(f)), high = Math.max(hi, ...bars.map(f));
    if (high > low && (hi === lo || high - low <= 4 * (hi - lo))) { lo = low; hi = high; }
    if (!(hi > lo)) { lo -= log ? 0.5 : Math.abs(lo) / 10 || 1; hi += log ? 0.5 : Math.abs(hi) / 10 || 1; }
    const pad = (hi - lo) * 0.06;
    lo -= pad;
    hi += pad;
    const at = x => from + (f(x) - lo) / (hi - lo) * (to - from);
    const ticks = [];
    if (log && hi - lo > 0.7) {
      for (let e = Math.floor(lo); e <= hi; e++) {
        for (const m of hi - lo > 3 ? [1] : [1, 2, 5]) if (e + Math.log10(m) >= lo && e + Math.log10(m) <= hi) ticks.push(m * 10 ** e);
      }
    } else {
      const a = log ? 10 ** lo : lo, b = log ? 10 ** hi : hi, raw = (b - a) / 6, p = 10 ** Math.floor(Math.log10(raw));
      const step = [1, 2, 5, 10].map(m => m * p).find(s => s >= raw);
      for (let x = Math.ceil(a / step) * step; x <= b; x += step) ticks.push(Math.abs(x) < step / 1e6 ? 0 : x);
    }
    return {at, ticks};
  };
  const title = c => data.columns[c].title + (data.columns[c].unit ? ` / ${data.columns[c].unit}` : "");
  // Points that no other beats in both, by what is better in each column.
  const frontOf = (points, x, y) => {
    const sx = data.columns[x].better, sy = data.columns[y].better;
    if (!sx || !sy) return [];
    const beats = (a, b) => sx * a.x >= sx * b.x && sy * a.y >= sy * b.y && (a.x !== b.x || a.y !== b.y);
    return points.filter(p => !points.some(q => beats(q, p))).sort((a, b) => a.x - b.x);
  };
  const showChart = () => {
    const x = byName.get(state.x), y = byName.get(state.y);
    W = Math.max(320, Math.min(1100, chart.clientWidth || 900));
    H = Math.round(Math.max(280, 0.58 * W));
    chart.setAttribute("viewBox", `0 0 ${W} ${H}`);
    chart.replaceChildren();
    key.replaceChildren();
    if (x === undefined || y === undefined) return;
    const usable = (v, log) => v !== null && (!log || v > 0);
    const points = data.rows.map((_, row) => ({row, x: number(row, x), y: number(row, y)}))
      .filter(p => usable(p.x, state.logx) && usable(p.y, state.logy) && visible(p.row));
    if (!points.length) {
      chart.append(svg("text", {x: W / 2, y: H / 2, "text-anchor": "middle"}, "no model has both numbers"));
      return;
    }
    const bars = points.flatMap(p => [data.rows[p.row].lo[y], data.rows[p.row].hi[y]]).filter(v => usable(v, state.logy));
    const sx = scale(points.map(p => p.x), state.logx, L, W - R), sy = scale(points.map(p => p.y), state.logy, H - B, T, bars);
    const label = v => String(Number(v.toPrecision(6)));
    let end = -Infinity; // of the last number below the frame
    for (const t of sx.ticks) {
      const text = label(t), half = 4.5 * text.length;
      chart.append(svg("line", {class: "grid", x1: sx.at(t), x2: sx.at(t), y1: T, y2: H - B}));
      if (sx.at(t) - half < end + 4) continue;
      chart.append(svg("text", {x: sx.at(t), y: H - B + 18, "text-anchor": "middle"}, text));
      end = sx.at(t) + half;
    }
    for (const t of sy.ticks) chart.append(svg("line", {class: "grid", x1: L, x2: W - R, y1: sy.at(t), y2: sy.at(t)}),
      svg("text", {x: L - 8, y: sy.at(t) + 4, "text-anchor": "end"}, label(t)));
    chart.append(svg("text", {x: (L + W - R) / 2, y: H - 12, "text-anchor": "middle"}, title(x)),
      svg("text", {x: 16, y: (T + H - B) / 2, "text-anchor": "middle", transform: `rotate(-90 16 ${(T + H - B) / 2})`}, title(y)));
    const front = frontOf(points, x, y);
    if (front.length > 1) chart.append(svg("polyline", {class: "front", points: front.map(p => `${sx.at(p.x)},${sy.at(p.y)}`).join(" ")}));
    for (const p of points) {
      const {lo, hi} = data.rows[p.row], a = lo[y], b = hi[y];
      if (a !== null && b !== null && (!state.logy || a > 0)) {
        const clip = v => Math.max(T, Math.min(H - B, sy.at(v)));
        chart.append(svg("line", {class: "bar", x1: sx.at(p.x), x2: sx.at(p.x), y1: clip(a), y2: clip(b)}));
      }
    }
    for (const p of points) {
      const r = data.rows[p.row];
      const dot = svg("path", {...looks(groupOf(p.row)), transform: `translate(${sx.at(p.x)} ${sy.at(p.y)})`, tabindex: 0,
        "data-row": p.row, role: "button"});
      dot.append(svg("title", {}, `${r.label}\n${title(x)}: ${shown(p.row, x)}\n${title(y)}: ${shown(p.row, y)}`));
      for (const event of ["mouseenter", "focus"]) dot.addEventListener(event, () => light(p.row));
      for (const event of ["mouseleave", "blur"]) dot.addEventListener(event, () => light(-1));
      dot.addEventListener("click", () => pick(p.row));
      dot.addEventListener("keydown", e => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); pick(p.row); } });
      chart.append(dot);
    }
    showKey(points, front.length > 1);
    for (const [select, name] of [[axisX, state.x], [axisY, state.y]]) select.value = name;
    logX.checked = state.logx !== "";
    logY.checked = state.logy !== "";
  };
  // The key names what is drawn; pointing at an entry dims all other points.
  const showKey = (points, front) => {
    const drawn = points.map(p => groupOf(p.row));
    const entry = (name, mark, group) => {
      const line = make("li"), picture = svg("svg", {viewBox: "-9 -9 18 18", "aria-hidden": "true"});
      picture.append(mark);
      line.append(picture, name);
      for (const [event, dim] of [["mouseenter", true], ["mouseleave", false]]) line.addEventListener(event, () => {
        for (const dot of chart.querySelectorAll(".dot")) dot.classList.toggle("dim", dim && groupOf(dot.dataset.row) !== group);
      });
      key.append(line);
    };
    const others = drawn.filter(g => g === -1).length;
    for (const group of ["reference", ...data.groups.keys(), -1].filter(g => drawn.includes(g))) {
      entry(group === "reference" ? group : group < 0 ? `${others} others` : data.groups[group].name, svg("path", looks(group)), group);
    }
    if (front) key.append(make("li", {class: "front"}, "Pareto front"));
  };
  const light = row => {
    for (const e of document.querySelectorAll(".lit")) e.classList.remove("lit");
    for (const e of document.querySelectorAll(`[data-row="${row}"]`)) e.classList.add("lit");
  };
  // A cell's record, and the command that computes it again.
  const pick = row => {
    const r = data.rows[row];
    const quoted = /^[\w./:=-]+$/.test(r.label) ? r.label : `'${r.label.replace(/'/g, "'\\''")}'`;
    picked.replaceChildren(make("strong", {}, r.label), " – ", make("a", {href: `cells/${r.key}.json`}, "record"), " – again: ",
      make("code", {}, `pquant run ${data.config} --only ${quoted} --force`));
    light(row);
    document.querySelector(`tr[data-row="${row}"]`)?.scrollIntoView({block: "nearest"});
  };

  // Controls, which only a script can serve.
  const tools = document.getElementById("tools"), explore = document.getElementById("explore");
  if (!tables.length) return;
  const filter = make("input", {type: "search", placeholder: "filter: words, accuracy>74", "aria-label": "filter"});
  const count = make("span", {"aria-live": "polite"}), columns = make("details"), list = make("div"), boxes = [];
  columns.append(make("summary", {}, "columns"), list);
  data.columns.forEach((c, i) => {
    const line = make("label"), box = make("input", {type: "checkbox", value: c.name});
    box.addEventListener("change", () => set({hide: boxes.filter(b => !b.checked).map(b => b.value).join(",")}));
    boxes.push(box);
    line.append(box, " " + c.title);
    list.append(line);
    for (const th of heads(i)) enableSort(th, c.name);
  });
  function enableSort(th, name) {
    th.classList.add("sorts");
    th.tabIndex = 0;
    th.addEventListener("click", () => sortBy(name));
    th.addEventListener("keydown", e => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); sortBy(name); } });
  }
  for (const table of tables) {
    enableSort(table.tHead.rows[0].cells[0], "model");
    for (const tr of rowsOf(table)) {
      tr.addEventListener("mouseenter", () => light(Number(tr.dataset.row)));
      tr.addEventListener("click", () => pick(Number(tr.dataset.row)));
    }
  }
  // Lines and points of the charts know their cell by its key.
  for (const mark of document.querySelectorAll(".chart [data-key]")) {
    const row = data.rows.findIndex(r => r.key.startsWith(mark.dataset.key));
    if (row < 0) continue;
    mark.dataset.row = row;
    mark.addEventListener("mouseenter", () => light(row));
    mark.addEventListener("mouseleave", () => light(-1));
    mark.addEventListener("click", () => pick(row));
  }
  filter.addEventListener("input", () => set({filter: filter.value}));
  const reset = make("button", {type: "button"}, "reset");
  reset.addEventListener("click", () => { filter.value = ""; set({...defaults}); read(); show(); });
  tools.append(filter, count, columns, reset);
  tools.hidden = false;

  const axis = (name, text) => {
    const line = make("label", {}, text + " "), select = make("select", {"aria-label": text});
    for (const c of data.columns) select.append(make("option", {value: c.name}, c.title));
    select.addEventListener("change", () => set({[name]: select.value}));
    line.append(select);
    return [line, select];
  };
  const log = (name, text) => {
    const line = make("label"), box = make("input", {type: "checkbox"});
    box.addEventListener("change", () => set({[name]: box.checked ? "1" : ""}));
    line.append(box, " " + text);
    return [line, box];
  };
  const [lineX, axisX] = axis("x", "across"), [lineY, axisY] = axis("y", "up");
  const [lineLogX, logX] = log("logx", "log"), [lineLogY, logY] = log("logy", "log");
  const bar = make("div", {class: "tools"}), picked = make("p", {id: "picked"});
  const chart = svg("svg", {id: "chart", role: "group", "aria-label": "numbers of the models against each other"});
  const key = make("ul", {class: "key", id: "marks"});
  bar.append(lineX, lineLogX, lineY, lineLogY);
  explore.append(bar, chart, key, picked);
  explore.hidden = false;
  const show = () => { showTables(); showChart(); };
  let wide = 0;
  window.addEventListener("resize", () => { if (chart.clientWidth !== wide) { wide = chart.clientWidth; showChart(); } });
  window.addEventListener("hashchange", () => { read(); show(); });
  read();
  show();
})();
