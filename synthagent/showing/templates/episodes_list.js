// The list and what narrows it. The page's state is in the address, behind `#`: a link to it is a link to the same view.

const HEIGHT = 56; // of an item, as in the style sheet
const CHOICES = ["a", "b", ...NAMED];
const LABELS = { a: "compare", b: "with" };
const page = { rows: [], runs: [], items: [], state: {}, at: -1, drawn: 0 };
const byId = (id) => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function scoreOf(reward) {
  const kind = reward === null ? "" : reward > 1 - 1e-9 ? "good" : reward === 0 ? "bad" : "fair";
  return element("span", { className: `score ${kind}`, textContent: reward === null ? "none" : reward.toFixed(3) });
}

const signed = (value) => (value > 0 ? "+" : value < 0 ? "\u2212" : "") + Math.abs(value).toFixed(3);

function stateInAddress() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

function addressOf(state) {
  const set = Object.entries(state).filter(([, value]) => value !== "" && value !== undefined);
  return "#" + new URLSearchParams(set);
}

// Change the state; the address follows, and with it the page. What is typed leaves no history of its letters.
function go(change, typed = false) {
  const next = addressOf({ ...page.state, ...change });
  if (next !== location.hash) history[typed ? "replaceState" : "pushState"](null, "", next);
  return follow();
}

function makeControls() {
  const values = (name) => [...new Set(page.rows.map((row) => (name.length === 1 ? armOf(row, page.runs) : row[name])))].sort(compare);
  const controls = CHOICES.map((name) => {
    const options = values(name).map((value) => new Option(visible(value), String(value)));
    const select = element("select", { id: name }, new Option(name.length === 1 ? "nobody" : "any", ""), ...options);
    select.addEventListener("change", () => go({ [name]: select.value, e: "" }));
    return element("label", {}, `${LABELS[name] ?? name} `, select);
  });
  const typed = (id, properties) => {
    const input = element("input", { id, ...properties });
    input.addEventListener("input", () => go({ [id]: input.value, e: "" }, true));
    return input;
  };
  const sort = element("select", { id: "sort" }, ...Object.keys(SORTS).map((name) => new Option(name, name)));
  sort.addEventListener("change", () => go({ sort: sort.value }));
  const turn = element("button", { id: "desc", type: "button", textContent: "reverse" });
  turn.addEventListener("click", () => go({ desc: page.state.desc ? "" : "1" }));
  const reset = element("button", { id: "reset", type: "button", textContent: "clear" });
  reset.addEventListener("click", () => { history.pushState(null, "", "#"); follow(); });
  const bound = { type: "number", min: 0, max: 1, step: 0.05 };
  byId("controls").append(
    ...controls,
    element("label", {}, "reward from ", typed("min", bound), " to ", typed("max", bound)),
    element("label", {}, "failed ", typed("failed", { type: "search", placeholder: "constraint, s3, words" })),
    element("label", {}, "sort ", sort), turn, reset,
  );
  byId("q").addEventListener("input", () => go({ q: byId("q").value, e: "" }, true));
}

// Show what the address says.
async function follow() {
  const state = stateInAddress();
  page.state = state;
  const turn = ++page.drawn;
  for (const name of [...CHOICES, "q", "min", "max", "failed"]) if (byId(name).value !== (state[name] ?? "")) byId(name).value = state[name] ?? "";
  byId("sort").value = state.sort ?? "id";
  byId("sort").disabled = Boolean(state.a && state.b);
  if (state.q) {
    byId("count").textContent = "searching ..";
    await readTexts(page.rows);
    if (turn !== page.drawn) return; // the state has changed meanwhile
  }
  page.items = itemsOf(page.rows, page.runs, state);
  page.at = page.items.findIndex(({ a }) => a.id === state.e && (page.runs[a.run] === (state.run ?? page.runs[a.run])));
  byId("count").textContent = described();
  byId("spacer").style.height = `${page.items.length * HEIGHT}px`;
  document.body.classList.toggle("reading", Boolean(state.e));
  showAt();
  drawList();
  await read(page.items[page.at] ?? (state.e ? undefined : page.items[0]));
}

function described() {
  if (!page.rows.length) return "no episode yet: run `dvc repro evaluate`";
  const { a, b } = page.state;
  const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0);
  if (a && b) return `${page.items.length.toLocaleString("en")} tasks by both, mean change ${signed(mean(page.items.map((item) => item.gain)))}`;
  const scored = page.items.map((item) => item.a.reward).filter((reward) => reward !== null);
  return `${page.items.length.toLocaleString("en")} of ${page.rows.length.toLocaleString("en")}, mean reward ${mean(scored).toFixed(3)}`;
}

// Scroll to the item that is read, if it is out of sight.
function showAt() {
  const list = byId("list");
  const top = page.at * HEIGHT;
  if (page.at < 0) list.scrollTop = 0;
  else if (top < list.scrollTop || top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 2;
}

// Only the items in sight are in the page.
function drawList() {
  const list = byId("list");
  const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - 4);
  const last = Math.min(page.items.length, Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + 4);
  byId("spacer").replaceChildren(...page.items.slice(first, last).map((item, index) => itemShown(item, first + index)));
}

function itemShown({ a, b, gain }, number) {
  const score = b === undefined ? scoreOf(a.reward) : element("span", { className: `score ${gain > 0 ? "good" : gain < 0 ? "bad" : ""}`, textContent: signed(gain) });
  const who = b === undefined ? `${armOf(a, page.runs)}, ` : `${a.reward?.toFixed(3)} \u2192 ${b.reward?.toFixed(3)}, `;
  const button = element(
    "button", { type: "button", className: "item" },
    element("span", { textContent: visible(a.task) }), score,
    element("small", { textContent: visible(`${who}${a.domain}, level ${a.level}`) }), element("small", { textContent: b === undefined ? a.end : "" }),
  );
  button.style.top = `${number * HEIGHT}px`;
  button.setAttribute("aria-current", String(number === page.at));
  button.addEventListener("click", () => go(placeOf(page.items[number])));
  return button;
}

const placeOf = ({ a }) => ({ e: a.id, run: page.runs.length > 1 ? page.runs[a.run] : "" });

function step(by) {
  const next = page.items[page.at < 0 ? 0 : page.at + by];
  return next && go(placeOf(next));
}

async function start() {
  const head = await chunk(0);
  Object.assign(page, head);
  if (innerWidth <= 700) byId("filters").open = false;
  makeControls();
  byId("list").addEventListener("scroll", drawList);
  addEventListener("resize", drawList);
  addEventListener("hashchange", follow);
  addEventListener("popstate", follow);
  addEventListener("keydown", (event) => {
    if (event.target.closest("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 }[event.key];
    if (by) step(by);
    if (event.key === "/") { event.preventDefault(); byId("q").focus(); }
  });
  await follow();
}
