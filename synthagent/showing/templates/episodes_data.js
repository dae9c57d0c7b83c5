"use strict";
// Data of the page: chunks of compressed JSON -> rows, tasks, messages. Filters, pairs and search over them.

const unpacked = new Map(); // number of a chunk -> promise of its content

function chunk(number) {
  if (!unpacked.has(number)) unpacked.set(number, unpack(document.getElementsByClassName("chunk")[number]));
  return unpacked.get(number);
}

async function unpack(element) {
  const binary = atob(element.textContent);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// An episode with its task; the messages are complete.
async function episodeOf(row) {
  const { task, episodes } = (await chunk(row.chunk))[row.place];
  const { begun, messages, verdicts } = episodes[row.index];
  return { row, task, messages: begun ? [...task.opening, ...messages] : messages, verdicts };
}

// Text as it is shown: control, direction and other invisible characters as escapes, as in the terminal.
function visible(text) {
  return String(text).replace(/[^\P{C}\n]/gu, (character) => {
    const code = character.codePointAt(0);
    if (code < 256) return { "\t": "\\t", "\r": "\\r" }[character] ?? "\\x" + code.toString(16).padStart(2, "0");
    return code < 65536 ? "\\u" + code.toString(16).padStart(4, "0") : "\\U" + code.toString(16).padStart(8, "0");
  });
}

// Who acted, as one name: policy, how it was decoded where it does both, and the run it is of.
function armOf(row, runs) {
  const greedy = row.decoding === "greedy" ? " greedy" : "";
  return row.policy + greedy + (row.run || runs.length > 1 ? ` @ ${runs[row.run] || "data"}` : "");
}

const texts = new Map(); // row -> its text, lower case, once all chunks were read

async function readTexts(rows) {
  for (const row of rows) {
    if (texts.has(row)) continue;
    const { messages } = await episodeOf(row);
    const said = messages.map((message) => {
      const calls = (message.tool_calls ?? []).map((call) => `${call.function?.name} ${call.function?.arguments}`);
      return [message.content ?? "", ...calls].join("\n");
    });
    texts.set(row, [row.id, ...said].join("\n").toLowerCase());
  }
}

const NAMED = ["split", "domain", "level", "policy", "decoding", "end"];
const SORTS = {
  id: (row) => row.id, task: (row) => row.task, policy: (row) => row.policy, domain: (row) => row.domain, level: (row) => row.level,
  reward: (row) => row.reward ?? 2, turns: (row) => row.turns, questions: (row) => row.questions,
};

function fits(row, state) {
  for (const name of NAMED) if (state[name] && String(row[name]) !== state[name]) return false;
  if (state.min && !(row.reward !== null && row.reward >= Number(state.min))) return false;
  if (state.max && !(row.reward !== null && row.reward <= Number(state.max))) return false;
  const failed = (state.failed ?? "").toLowerCase();
  if (failed && !row.failed.some((line) => line.toLowerCase().includes(failed))) return false;
  const words = (state.q ?? "").toLowerCase();
  return !words || texts.get(row).includes(words);
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

// What the list shows: `{ a }`, or pairs `{ a, b }` of the same task by two arms, the greatest gain or loss first.
function itemsOf(rows, runs, state) {
  if (!state.a || !state.b) {
    const by = SORTS[state.sort] ?? SORTS.id;
    const sign = state.desc ? -1 : 1;
    const kept = rows.filter((row) => fits(row, state));
    return kept.sort((x, y) => sign * compare(by(x), by(y)) || compare(x.id, y.id) || x.run - y.run).map((a) => ({ a }));
  }
  const key = (row) => `${row.same} ${row.sample}`;
  const ofArm = (name) => rows.filter((row) => armOf(row, runs) === name);
  const others = new Map(ofArm(state.b).map((row) => [key(row), row]));
  const pairs = ofArm(state.a).filter((a) => others.has(key(a))).map((a) => ({ a, b: others.get(key(a)) }));
  const sign = state.desc ? 1 : -1;
  return pairs
    .filter(({ a, b }) => fits(a, { ...state, policy: "", decoding: "" }) || fits(b, { ...state, policy: "", decoding: "" }))
    .map((pair) => ({ ...pair, gain: (pair.b.reward ?? 0) - (pair.a.reward ?? 0) }))
    .sort((x, y) => sign * (x.gain - y.gain) || compare(x.a.id, y.a.id));
}
