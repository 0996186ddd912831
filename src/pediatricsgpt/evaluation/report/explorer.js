// Answers side by side: filter, search, highlight. Texts of models are only ever set as text, never as HTML.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("x-data").textContent);
  const STEP = 20, OPEN = 2, SHORTEST = 2, LONGEST = 4000, TITLE = 60;
  const byId = (id) => document.getElementById(id);
  const search = byId("x-search"), against = byId("x-against"), order = byId("x-order");
  const filters = ["benchmark", "task", "department", "age_band"].map((name) => [name, byId("x-" + name)]);
  const list = byId("x-items"), count = byId("x-count"), more = byId("x-more");
  let matching = [], drawn = 0;

  function make(tag, text, className) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  // The same as differences.py: the longest common stretch first, numbers and Latin words as one sign each.
  const signs = (text) => text.match(/[0-9]+(?:\.[0-9]+)*|[A-Za-z]+|[^]/gu) || [];

  function longest(ours, places, low, high, otherLow, otherHigh) {
    let best = [low, otherLow, 0], ending = new Map();
    for (let place = low; place < high; place++) {
      const longer = new Map();
      for (const other of places.get(ours[place]) || []) {
        if (other < otherLow) continue;
        if (other >= otherHigh) break;
        const size = (ending.get(other - 1) || 0) + 1;
        longer.set(other, size);
        if (size > best[2]) best = [place - size + 1, other - size + 1, size];
      }
      ending = longer;
    }
    return best;
  }

  function differences(text, other) {
    const ours = signs(text), theirs = signs(other);
    if (text === other || Math.max(ours.length, theirs.length) > LONGEST) return text ? [[text, false]] : [];
    const places = new Map();
    theirs.forEach((sign, place) => {
      if (places.has(sign)) places.get(sign).push(place);
      else places.set(sign, [place]);
    });
    const todo = [[0, ours.length, 0, theirs.length]], common = [];
    while (todo.length) {
      const [low, high, otherLow, otherHigh] = todo.pop();
      const [start, there, size] = longest(ours, places, low, high, otherLow, otherHigh);
      if (size < SHORTEST) continue;
      common.push([start, size]);
      todo.push([low, start, otherLow, there], [start + size, high, there + size, otherHigh]);
    }
    common.sort((a, b) => a[0] - b[0]);
    const found = [];
    let at = 0;
    for (const [start, size] of common) {
      found.push([ours.slice(at, start).join(""), true], [ours.slice(start, start + size).join(""), false]);
      at = start + size;
    }
    found.push([ours.slice(at).join(""), true]);
    return found.filter(([stretch]) => stretch);
  }

  function answer(text, other) {
    const shown = make("p");
    shown.lang = "zh-CN";
    if (!text) {
      shown.className = "muted";
      shown.textContent = "(empty answer)";
    } else if (other === null) {
      shown.textContent = text;
    } else {
      for (const [stretch, lacking] of differences(text, other)) {
        shown.append(lacking ? make("mark", stretch) : document.createTextNode(stretch));
      }
    }
    return shown;
  }

  function column(title, body, className) {
    const made = make("div", undefined, className);
    made.append(make("h4", title), body);
    return made;
  }

  function chosenModels() {
    return [...document.querySelectorAll("#x-models input")].map((box, place) => (box.checked ? place : -1)).filter((place) => place >= 0);
  }

  function fill(details, item) {
    const turns = make("div", undefined, "turns");
    turns.lang = "zh-CN";
    for (const [speaker, text] of item.m) {
      const turn = make("p");
      turn.append(make("b", speaker + "："), document.createTextNode(text));
      turns.append(turn);
    }
    const columns = make("div", undefined, "answers");
    columns.append(column("reference 参考回答", answer(item.r, null), "reference"));
    const chosen = against.value;
    // Beside nothing, nothing is marked.
    const other = (chosen === "none" ? null : chosen === "reference" ? item.r : item.p[Number(chosen)]) || null;
    for (const place of chosenModels()) {
      if (item.p[place] === null) continue;
      const score = item.s && item.s[place] !== null ? " · ROUGE-L " + item.s[place].toFixed(1) : "";
      const same = chosen === String(place);
      columns.append(column(data.models[place] + score, answer(item.p[place], same ? null : other)));
    }
    details.append(turns, columns, make("p", "item " + item.i, "small muted"));
  }

  function show(item, open) {
    const details = make("details", undefined, "item");
    const asked = item.m.find((turn) => turn[2] === "user");
    const title = (asked ? asked[1] : "(no question)").split(/\s+/).join(" ");
    const heading = make("summary", title.length > TITLE ? title.slice(0, TITLE) + "…" : title);
    heading.lang = "zh-CN";
    const labels = [data.names.benchmark[item.b], data.names.task[item.t], item.d, data.names.age_band[item.a]];
    heading.append(make("span", " " + labels.filter(Boolean).join(" · "), "muted small"));
    details.append(heading);
    let filled = false;
    const once = () => {
      if (details.open && !filled) { filled = true; fill(details, item); }
    };
    details.addEventListener("toggle", once);
    details.open = open;
    once();
    list.append(details);
  }

  function further() {
    for (const item of matching.slice(drawn, drawn + STEP)) show(item, drawn++ < OPEN);
    more.hidden = drawn >= matching.length;
    count.textContent = `${drawn} of ${matching.length} questions shown, ${data.items.length} in this file` +
      (data.left ? `; ${data.left} more are left out for size: pedgpt compare shows all` : "") + ".";
  }

  function found(item, text) {
    const whole = [item.i, item.r, ...item.p, ...item.m.map((turn) => turn[1])].filter(Boolean).join("\n").toLowerCase();
    return text.split(/\s+/).every((word) => whole.includes(word));
  }

  function apply() {
    const text = search.value.trim().toLowerCase();
    const keys = { benchmark: "b", task: "t", department: "d", age_band: "a" };
    matching = data.items.filter((item) => filters.every(([name, box]) => !box.value || item[keys[name]] === box.value.slice(1)) && found(item, text));
    if (order.value) {
      const place = Number(order.value);
      const score = (item) => (item.s && item.s[place] !== null ? item.s[place] : Infinity);
      matching = [...matching].sort((a, b) => (score(a) === score(b) ? 0 : score(a) - score(b)));
    }
    list.replaceChildren();
    drawn = 0;
    further();
  }

  function option(box, value, text) {
    const made = make("option", text);
    made.value = value;
    box.append(made);
  }

  function prepare() {
    const keys = { benchmark: "b", task: "t", department: "d", age_band: "a" };
    for (const [name, box] of filters) {
      const values = [...new Set(data.items.map((item) => item[keys[name]]))];
      option(box, "", "all 全部");
      // A mark before each value: an item without a label must be told from no filter.
      for (const value of values.sort()) option(box, "=" + value, (data.names[name] || {})[value] || value || "(none)");
      box.parentElement.hidden = values.length < 2;
    }
    option(against, "none", "nothing 不标注");
    option(against, "reference", "reference 参考回答");
    option(order, "", "as they come 原顺序");
    data.models.forEach((name, place) => {
      option(against, String(place), name);
      if (data.items.some((item) => item.s && item.s[place] !== null)) option(order, String(place), "lowest ROUGE-L of " + name);
      const label = make("label"), box = make("input");
      box.type = "checkbox";
      box.checked = true;
      label.append(box, document.createTextNode(" " + name));
      byId("x-models").append(label);
    });
    order.parentElement.hidden = order.length < 2;
  }

  prepare();
  let waiting;
  byId("x-form").addEventListener("submit", (event) => event.preventDefault());
  byId("x-form").addEventListener("change", apply);
  search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(apply, 150); });
  more.addEventListener("click", further);
  for (const part of document.querySelectorAll(".without-script")) part.hidden = true;
  byId("x-explorer").hidden = false;
  apply();
})();
