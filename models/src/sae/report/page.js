// The browser of latents: reads the data in the page, lists, sorts, and shows one latent, which the address names.
// It stands behind search.js.
(() => {
  const PAGE = 30;
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("browser-data").textContent);
  const byNumber = new Map(data.latents.map((latent) => [latent.n, latent]));

  // ---- text ----

  const SIGNS = { "\n": "\u23ce", "\r": "\u240d", "\t": "\u21e5" };
  // Characters that cannot be seen, or that turn round what follows them, are shown as signs.
  const visible = (text) =>
    text.replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, (c) => {
      const code = c.charCodeAt(0);
      if (SIGNS[c]) return SIGNS[c];
      return code < 32 ? String.fromCharCode(0x2400 + code) : `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
    });
  const shown = data.tokens.map(visible);
  const { search, hitFrom, NONE } = searcher(data);

  const number = (x) => (x === 0 ? "0" : Math.abs(x) >= 0.01 && Math.abs(x) < 1e5 ? String(+x.toPrecision(3)) : x.toExponential(1));
  const share = (count) => {
    const percent = (100 * count) / Math.max(data.rows, 1);
    return `${percent >= 0.01 ? +percent.toPrecision(3) : percent.toExponential(0)} %`;
  };
  const plural = (count, one) => `${count} ${one}${count === 1 ? "" : "s"}`;

  // An element. Children are elements or texts; texts are never read as HTML.
  const make = (name, attributes, ...children) => {
    const svg = ["svg", "path", "rect", "text", "title"].includes(name);
    const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };

  // ---- excerpts ----

  // Where it begins in the stream, its length, the token it is about, and all its values.
  const unpack = (latent, [start, length, about, ...packed]) => {
    const values = [];
    for (const value of packed) {
      if (value < 0) values.push(...Array(-value).fill(0));
      else values.push((value / 1000) * latent.strongest);
    }
    while (values.length < length) values.push(0);
    return { start, length, about, values };
  };

  // ---- the list ----

  const [list, query, where] = [find("list"), find("query"), find("where")];
  const state = { key: "sharpness", down: true, page: 0, found: [], hits: NONE, chosen: null };

  const order = () => {
    const sign = state.down ? -1 : 1;
    state.found.sort((a, b) => sign * (a[state.key] - b[state.key]) || a.n - b.n);
    const named = query.value.trim();
    const exact = state.found.findIndex((latent) => named !== "" && String(latent.n) === named);
    if (exact > 0) state.found.unshift(...state.found.splice(exact, 1)); // the one that is named comes first
  };

  const listed = (latent) => {
    const words = latent.promoted.slice(0, 4).map(([token]) => make("span", { class: "word" }, shown[token]));
    const link = make("a", { href: `#latent=${latent.n}` }, String(latent.n));
    const row = make(
      "tr",
      { "data-latent": latent.n },
      make("td", {}, link),
      make("td", { class: "n" }, share(latent.count)),
      make("td", { class: "n" }, number(latent.strongest)),
      make("td", { class: "n" }, number(latent.sharpness)),
      make("td", {}, ...words),
    );
    return row;
  };

  const mark = () => {
    for (const row of list.rows) {
      const chosen = state.chosen !== null && row.dataset.latent === String(state.chosen.n);
      row.classList.toggle("chosen", chosen);
      const link = row.querySelector("a");
      if (chosen) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };

  const pages = () => Math.max(1, Math.ceil(state.found.length / PAGE));
  const turn = (page) => {
    state.page = Math.min(Math.max(page, 0), pages() - 1);
    const here = state.found.slice(state.page * PAGE, (state.page + 1) * PAGE);
    list.replaceChildren(...here.map(listed));
    find("page").textContent = `Page ${state.page + 1} of ${pages()}`;
    find("earlier").disabled = state.page === 0;
    find("later").disabled = state.page === pages() - 1;
    mark();
  };

  const refresh = () => {
    const { matches, hits } = search(query.value, where.value);
    state.found = data.latents.filter(matches);
    state.hits = hits;
    order();
    find("found").textContent = `${state.found.length} of ${plural(data.latents.length, "latent")}`;
    turn(0);
    if (state.chosen) show(state.chosen);
  };

  const sortBy = (key) => {
    state.down = state.key === key ? !state.down : key !== "n";
    state.key = key;
    heads();
    order();
    turn(0);
  };
  const heads = () => {
    for (const button of document.querySelectorAll("[data-key]")) {
      const sorted = button.dataset.key === state.key;
      button.parentElement.setAttribute("aria-sort", sorted ? (state.down ? "descending" : "ascending") : "none");
    }
  };

  const focus = (at) => {
    const links = list.querySelectorAll("a");
    if (links.length > 0) links[Math.min(Math.max(at, 0), links.length - 1)].focus();
  };
  // Moves along the list, over the ends of its pages.
  const keyInList = (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.altKey || event.metaKey) return;
    const at = [...list.querySelectorAll("a")].indexOf(link);
    const [last, page] = [list.rows.length - 1, state.page];
    const move = {
      ArrowDown: () => (at < last || page === pages() - 1 ? focus(at + 1) : (turn(page + 1), focus(0))),
      ArrowUp: () => (at > 0 ? focus(at - 1) : page === 0 ? query.focus() : (turn(page - 1), focus(PAGE))),
      PageDown: () => (turn(page + 1), focus(at)),
      PageUp: () => (turn(page - 1), focus(at)),
      Home: () => (turn(0), focus(0)),
      End: () => (turn(pages() - 1), focus(PAGE)),
    }[event.key];
    if (!move) return;
    event.preventDefault();
    move();
  };

  // ---- one latent ----

  const contexts = (latent, packed) => {
    const excerpt = unpack(latent, packed);
    const marked = new Set();
    for (let hit = hitFrom(state.hits, excerpt.start); state.hits.last[hit] < excerpt.start + excerpt.length; hit += 1) {
      for (let token = state.hits.first[hit]; token <= state.hits.last[hit]; token += 1) marked.add(token - excerpt.start);
    }
    const tokens = excerpt.values.map((value, at) => {
      const classes = [value > 0 && "fires", at === excerpt.about && "about", marked.has(at) && "hit"].filter(Boolean);
      const text = shown[data.stream[excerpt.start + at]];
      if (classes.length === 0) return text;
      const token = make("span", { class: classes.join(" ") }, text);
      if (value > 0) {
        token.title = number(value);
        token.style.setProperty("--value", Math.max(0.1, value / latent.strongest).toFixed(2));
      }
      return token;
    });
    return make("p", { class: "text" }, ...tokens);
  };

  const HIGH = 150;
  const WIDE = 340;
  const histogram = (latent) => {
    const bins = latent.histogram;
    const edge = (bin) => number((bin / bins.length) * latent.strongest);
    const top = Math.max(...bins, 1);
    const [left, foot] = [44, HIGH - 20];
    const step = (WIDE - left - 16) / bins.length;
    const said = bins.map((count, bin) => `${edge(bin)} to ${edge(bin + 1)}: ${count}`);
    const label = `How many of its ${plural(latent.count, "value")} lie where. ${said.join("; ")}`;
    const svg = make("svg", { width: WIDE, height: HIGH, viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": label });
    bins.forEach((count, bin) => {
      const tall = count === 0 ? 0 : Math.max(1, ((foot - 10) * count) / top);
      const place = { x: left + bin * step + 1, y: foot - tall, width: step - 2, height: tall, class: "bar" };
      svg.append(make("rect", place, make("title", {}, said[bin])));
    });
    for (let part = 0; part <= 5; part += 1) {
      const [x, bin] = [left + (part * step * bins.length) / 5, (part * bins.length) / 5];
      svg.append(make("text", { x, y: HIGH - 6, "text-anchor": "middle" }, edge(bin)));
    }
    svg.append(make("text", { x: left - 4, y: 14, "text-anchor": "end" }, String(top)));
    svg.append(make("path", { class: "axis", d: `M${left} 6V${foot}H${WIDE - 12}` }));
    return make("figure", {}, svg, make("figcaption", {}, "tokens by its value there, where it fires"));
  };

  const words = (title, of) => {
    const rows = of.map(([token, logit]) =>
      make("tr", {}, make("td", {}, make("span", { class: "word" }, shown[token])), make("td", { class: "n" }, number(logit))),
    );
    const head = make("tr", {}, make("th", { scope: "col" }, title), make("th", { scope: "col", class: "n" }, "logit"));
    return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
  };

  const neighbours = (latent) => {
    const items = latent.neighbours.map(([n, cosine]) => {
      const other = byNumber.get(n);
      const name = other ? make("a", { href: `#latent=${n}` }, String(n)) : `${n} (not on this page)`;
      const best = other ? other.promoted.slice(0, 3).map(([token]) => make("span", { class: "word" }, shown[token])) : [];
      return make("li", {}, name, ` ${number(cosine)} `, ...best);
    });
    return make("div", {}, make("h4", {}, "Nearest directions, by cosine"), make("ul", { class: "neighbours" }, ...items));
  };

  const facts = (latent) => {
    const rows = [
      ["fires on", `${share(latent.count)} of tokens`],
      ["that is", `${latent.count} of ${data.rows}`],
      ["largest value", number(latent.strongest)],
      ["sharpness", number(latent.sharpness)],
      ["encoder-decoder cosine", latent.aligned === null ? "none" : number(latent.aligned)],
    ];
    const cells = rows.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "n" }, value)));
    return make("table", {}, make("tbody", {}, ...cells));
  };

  const show = (latent) => {
    const parts = latent.intervals.map((interval, at) => {
      const bins = latent.histogram.length / latent.intervals.length;
      const count = latent.histogram.slice(at * bins, (at + 1) * bins).reduce((a, b) => a + b, 0);
      const edges = [at, at + 1].map((edge) => number((edge / latent.intervals.length) * latent.strongest));
      const title = `From ${edges[0]} to ${edges[1]}: ${plural(count, "token")}`;
      return [make("h4", {}, title), ...interval.map((excerpt) => contexts(latent, excerpt))];
    });
    find("shown").replaceChildren(
      make("h3", { id: "heading", "aria-live": "polite" }, `Latent ${latent.n}`),
      make("div", { class: "row" }, facts(latent), histogram(latent)),
      make("div", { class: "row" }, words("promotes", latent.promoted), words("suppresses", latent.suppressed), neighbours(latent)),
      make("h4", {}, "Strongest"),
      ...latent.top.map((excerpt) => contexts(latent, excerpt)),
      ...parts.reverse().flat(),
    );
  };

  // Show the latent that the address names, and the page of the list that it is on.
  const follow = () => {
    const named = /^#latent=(\d+)$/.exec(location.hash);
    const latent = named ? byNumber.get(Number(named[1])) : state.found[0];
    if (!latent) {
      const what = named ? `Latent ${named[1]} is not on this page.` : "No latent fired.";
      find("shown").replaceChildren(make("h3", { id: "heading" }, what));
      state.chosen = null;
      return mark();
    }
    state.chosen = latent;
    show(latent);
    const at = state.found.indexOf(latent);
    if (at >= 0 && Math.floor(at / PAGE) !== state.page) turn(Math.floor(at / PAGE));
    mark();
  };

  // ---- what happens when ----

  query.addEventListener("input", refresh);
  where.addEventListener("change", refresh);
  find("search").addEventListener("submit", (event) => {
    event.preventDefault();
    if (state.found.length > 0) location.hash = `latent=${state.found[0].n}`;
  });
  query.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown") return;
    event.preventDefault();
    focus(0);
  });
  list.addEventListener("keydown", keyInList);
  list.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row && !event.target.closest("a")) location.hash = `latent=${row.dataset.latent}`;
  });
  find("earlier").addEventListener("click", () => turn(state.page - 1));
  find("later").addEventListener("click", () => turn(state.page + 1));
  for (const button of document.querySelectorAll("[data-key]")) button.addEventListener("click", () => sortBy(button.dataset.key));
  window.addEventListener("hashchange", follow);

  document.querySelector(".unscripted").remove();
  find("browser").hidden = false;
  heads();
  refresh();
  follow();
})();
