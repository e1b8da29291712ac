// Search in the data of the page: which latents a query names, and where in the contexts it is found.
"use strict";
const searcher = (data) => {
  const lower = data.tokens.map((text) => text.toLowerCase());

  // The whole stream in lower case, and where each of its tokens begins.
  const begins = new Uint32Array(data.stream.length + 1);
  data.stream.forEach((token, at) => (begins[at + 1] = begins[at] + lower[token].length));
  const stream = data.stream.map((token) => lower[token]).join("");

  // The first and last token of each place where the stream holds the query.
  const hitsOf = (query) => {
    const first = [];
    const last = [];
    let token = 0;
    for (let at = stream.indexOf(query); at >= 0; at = stream.indexOf(query, at + 1)) {
      while (begins[token + 1] <= at) token += 1;
      let end = token;
      while (begins[end + 1] < at + query.length) end += 1;
      first.push(token);
      last.push(end);
    }
    return { first, last };
  };
  // The number of the first hit that does not begin before a token.
  const hitFrom = (hits, token) => {
    let [low, high] = [0, hits.first.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (hits.first[middle] < token) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const holds = (hits, [start, length]) => {
    const at = hitFrom(hits, start);
    return at < hits.first.length && hits.last[at] < start + length;
  };
  const excerpts = (latent) => [latent.top, ...latent.intervals].flat();

  const NONE = { first: [], last: [] };
  // Which latents a query names, and where in the stream it is found.
  const search = (text, where) => {
    const query = text.toLowerCase();
    if (query === "") return { matches: () => true, hits: NONE };
    const hits = where === "all" || where === "contexts" ? hitsOf(query) : NONE;
    const word = ([token]) => lower[token].includes(query);
    const tests = {
      number: (latent) => query.trim() !== "" && String(latent.n).startsWith(query.trim()),
      promoted: (latent) => latent.promoted.some(word),
      suppressed: (latent) => latent.suppressed.some(word),
      contexts: (latent) => hits.first.length > 0 && excerpts(latent).some((excerpt) => holds(hits, excerpt)),
    };
    const used = where === "all" ? Object.values(tests) : [tests[where]];
    return { matches: (latent) => used.some((test) => test(latent)), hits };
  };

  return { search, hitFrom, NONE };
};
