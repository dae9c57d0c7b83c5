// An episode, or two side by side: messages with the evidence marked in them; task, verdicts and rubric beside them.

const BLOCK = 20000; // characters of a text that are laid out together; of a longer one, the first are shown at once

// A text with parts of it marked: `quotes` by a judge, `hits` of the search. Nothing of it becomes markup.
function shownText(text, quotes, hits) {
  const whole = visible(text);
  const block = (at) => element("div", { className: "text" }, ...marked(whole.slice(at, at + BLOCK), quotes, hits));
  const holder = element("div", {}, block(0));
  if (whole.length > BLOCK) {
    const more = element("button", { type: "button", textContent: `show all ${whole.length.toLocaleString("en")} characters` });
    more.addEventListener("click", () => {
      more.remove();
      for (let at = BLOCK; at < whole.length; at += BLOCK) holder.append(block(at));
    });
    holder.append(more);
  }
  return holder;
}

function marked(text, quotes, hits) {
  const escaped = (words) => words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const pattern = (quote) => visible(quote).trim().split(/\s+/).map(escaped).join("\\s+");
  const parts = [...quotes.map((quote) => [pattern(quote), ""]), ...hits.map((hit) => [pattern(hit), "hit"])].filter(([p]) => p);
  if (!parts.length) return [text];
  const found = new RegExp(parts.map(([p]) => `(${p})`).join("|"), "giu");
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(found)) {
    const kind = parts[match.slice(1).findIndex((group) => group !== undefined)][1];
    nodes.push(text.slice(end, match.index), element("mark", { className: kind, textContent: match[0] }));
    end = match.index + match[0].length;
  }
  return [...nodes, text.slice(end)];
}

const passedMark = (passed) => element("span", { className: `score ${passed ? "good" : "bad"}`, textContent: passed ? "\u2713" : "\u2717", title: passed ? "passed" : "failed" });

function shownMessage(message, number, verdicts) {
  const here = verdicts.flatMap((verdict) => verdict.marks.filter(([at]) => at === number).map(([, part]) => ({ verdict, part })));
  const called = new Set((message.tool_calls ?? []).map((call) => call.id));
  const parts = here.map(({ part }) => part).filter((part) => part);
  const quotes = parts.filter((part) => !called.has(part));
  const hits = page.state.q ? [page.state.q] : [];
  const role = ["assistant", "user", "tool"].includes(message.role) ? message.role : "";
  const talk = element("article", { className: `talk ${role}` }, element("b", { textContent: visible(message.role) }));
  talk.dataset.number = number;
  for (const { verdict } of new Map(here.map((one) => [one.verdict.criterion, one])).values())
    talk.append(element("span", { className: `chip ${verdict.passed ? "good" : "bad"}`, textContent: `${verdict.passed ? "\u2713" : "\u2717"} ${visible(verdict.criterion)}` }));
  if (message.content) talk.append(shownText(message.content, quotes, hits));
  for (const call of message.tool_calls ?? []) {
    const line = element("div", { className: "call" }, shownText(`${call.function?.name} ${call.function?.arguments}`, quotes, hits));
    if (parts.includes(call.id)) line.classList.add("marked");
    talk.append(line);
  }
  if (here.some(({ part }) => !part)) talk.classList.add("marked");
  return talk;
}

function shownEpisode({ row, messages, verdicts }) {
  const counts = `${row.turns} turns, ${row.tool_calls} calls, ${row.questions} questions; ended by ${row.end}`;
  return element(
    "div", { className: "episode" },
    element("h2", {}, visible(armOf(row, page.runs)), " ", scoreOf(row.reward)),
    element("small", { textContent: visible(counts) }),
    row.error ? element("p", { className: "bad", textContent: visible(`error: ${row.error}`) }) : null,
    ...messages.map((message, number) => shownMessage(message, number, verdicts)),
  );
}

async function read(item) {
  const turn = page.drawn;
  const episodes = item ? await Promise.all([item.a, item.b].filter(Boolean).map(episodeOf)) : [];
  if (turn !== page.drawn) return;
  if (!episodes.length) {
    byId("read").replaceChildren(element("p", { className: "quiet", textContent: page.items.length || !page.rows.length ? "This episode is not among those listed." : "No episode fits." }));
    byId("side").replaceChildren();
    return;
  }
  const { task } = episodes[0];
  const button = (text, id, disabled, act) => {
    const made = element("button", { type: "button", id, textContent: text, disabled });
    made.addEventListener("click", act);
    return made;
  };
  byId("read").replaceChildren(
    element(
      "div", { className: "bar" }, button("\u2190 list", "back", false, () => go({ e: "" })),
      button("previous", "previous", page.at <= 0, () => step(-1)), button("next", "next", page.at + 1 >= page.items.length, () => step(1)),
      element("a", { id: "permalink", href: addressOf({ ...page.state, ...placeOf(item) }), textContent: visible(item.a.id) }),
    ),
    ...(item.b ? [] : [others(item.a)]),
    element("div", { className: `columns ${item.b ? "two" : ""}` }, ...episodes.map(shownEpisode)),
  );
  byId("read").scrollTop = 0;
  byId("side").replaceChildren(...side(task, episodes));
  byId("side").scrollTop = 0;
}

// The same task by others, one click away.
function others(row) {
  const same = page.rows.filter((other) => other.same === row.same);
  return element("div", {}, ...same.map((other) => {
    const chip = element("a", { className: "chip", href: addressOf({ e: other.id, run: placeOf({ a: other }).run }) }, visible(armOf(other, page.runs)), other.sample ? ` ${other.sample} ` : " ", scoreOf(other.reward));
    if (other === row) chip.setAttribute("aria-current", "true");
    return chip;
  }));
}

function side(task, episodes) {
  const list = (lines) => element("ul", {}, ...lines.map((line) => element("li", { textContent: visible(line) })));
  const titled = (title, lines) => [element("h3", { textContent: title }), lines.length ? list(lines) : element("p", { className: "quiet", textContent: "none" })];
  const folded = (title, lines) => element("details", {}, element("summary", { textContent: title }), list(lines));
  return [
    element("h2", { textContent: visible(task.id) }),
    element("small", { textContent: visible(task.about + (task.twin ? `; twin ${task.twin}` : "")) }),
    element("h3", { textContent: "Rubric and verdicts" }),
    ...task.rubric.map((criterion) => verdictShown(criterion, episodes)),
    ...titled("Facts, which only the user knows", task.facts.map(([slot, value, phrase]) => `${slot} = ${value}: ${phrase}`)),
    ...titled("Constraints", task.constraints),
    folded("Workflow, which the agent never sees", task.workflow),
    folded(`${task.tools.length} tools`, task.tools),
  ];
}

function verdictShown([id, kind, text, by], episodes) {
  const found = episodes.map(({ verdicts }) => verdicts.find((verdict) => verdict.criterion === id));
  const whose = episodes.map(({ row }) => (episodes.length > 1 ? visible(armOf(row, page.runs)) : by));
  const evidence = found.map((verdict, column) => `${whose[column]}: ${verdict ? visible(verdict.evidence) : "no verdict"}`);
  const line = element(
    "button", { type: "button", className: "verdict" },
    element("span", {}, ...found.map((verdict) => (verdict ? passedMark(verdict.passed) : "?"))),
    element("span", {}, visible(`${id} ${kind}: ${text}`), ...evidence.map((said) => element("small", { className: "text", textContent: `\n${said.slice(0, 600)}` }))),
  );
  line.addEventListener("click", () => light(found));
  return line;
}

// Show where the evidence of a verdict stands.
function light(verdicts) {
  for (const talk of document.querySelectorAll(".talk.lit")) talk.classList.remove("lit");
  const columns = [...document.querySelectorAll(".episode")];
  const turns = verdicts.flatMap((verdict, column) => (verdict?.marks ?? []).map(([number]) => columns[column].querySelector(`[data-number="${number}"]`)));
  for (const talk of turns) talk?.classList.add("lit");
  turns.find(Boolean)?.scrollIntoView({ block: "center" });
}

start();
