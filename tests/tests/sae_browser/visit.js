// Visits the page as a reader does: what it sees at each stop goes into the report. QUERY is what is typed.
(async () => {
  const seen = {};
  const find = (id) => document.getElementById(id);
  const texts = (selector) => [...document.querySelectorAll(selector)].map((element) => element.textContent);
  const entries = () => texts("#list a");
  const heading = () => find("heading").textContent;
  // An address that changes is told to the page a little later.
  const settle = () => new Promise((done) => setTimeout(done, 50));
  const press = (key) =>
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  // On whatever lies at its middle, as the pointer would.
  const click = async (element) => {
    element.scrollIntoView({ block: "center" });
    const box = element.getBoundingClientRect();
    document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2).click();
    await settle();
  };
  const type = async (text) => {
    find("query").focus();
    find("query").select();
    if (!document.execCommand("insertText", false, text)) throw new Error("nothing was typed");
    await settle();
  };
  const strongest = () => {
    const all = [];
    const title = [...document.querySelectorAll("#shown h4")].find((element) => element.textContent === "Strongest");
    for (let next = title.nextElementSibling; next && next.tagName === "P"; next = next.nextElementSibling) all.push(next);
    return all;
  };
  const read = () => strongest().map((element) => element.textContent);

  try {
    await settle();
    seen.address = {
      heading: heading(),
      strongest: read(),
      current: document.querySelector("#list a[aria-current]")?.textContent,
      about: strongest().map((element) => element.querySelector(".about.fires").textContent),
      titles: strongest().map((element) => element.querySelector(".about").title),
      picture: document.querySelector("#shown svg").getAttribute("aria-label"),
    };

    const third = document.querySelectorAll("#list a")[2];
    const entry = third.textContent;
    await click(third);
    seen.clicked = { entry, heading: heading(), hash: location.hash, strongest: read() };

    const density = document.querySelector("[data-key=count]");
    await click(density);
    const order = density.parentElement.getAttribute("aria-sort");
    seen.sorted = { entries: entries(), order };
    await click(find("later"));
    seen.sorted.later = entries();

    find("where").value = "contexts";
    find("where").dispatchEvent(new Event("change", { bubbles: true }));
    await type(QUERY);
    seen.typed = { entries: entries(), found: find("found").textContent };
    press("ArrowDown");
    seen.keys = { first: document.activeElement.textContent };
    press("ArrowDown");
    seen.keys.second = document.activeElement.textContent;
    press("ArrowUp");
    await click(document.activeElement);
    seen.typed.heading = heading();
    seen.typed.contexts = texts("#shown .text");
    seen.typed.hits = texts("#shown .text .hit");
    press("ArrowUp");
    seen.keys.back = document.activeElement.id;

    await type("no such words");
    seen.nothing = { entries: entries(), found: find("found").textContent };

    const link = document.querySelector(".neighbours a");
    seen.neighbour = { entry: link.textContent };
    await click(link);
    seen.neighbour.heading = heading();

    location.hash = "#latent=60";
    await settle();
    seen.dead = heading();
  } catch (error) {
    errors.push(String(error.stack ?? error));
  }
  report({ ...seen, errors, broken: window.broken ?? null });
})();
