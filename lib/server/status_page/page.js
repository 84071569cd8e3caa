// Asks the node, shows what it says, and says when it does not answer. Nothing is asked while the
// page is hidden.

const EVERY = 5000; // ms
const PATIENCE = 10000;
const FIRST_TABLES = 20;
const MOST_TABLES = 500;

const byId = (id) => document.getElementById(id);
const history_ = new History();
const plots = PLOTS.map((options) => new Plot(options));

let status_ = null;      // the last answer
let startedRun = null;   // which run of the node it was of
let version = null;
let answered = null;     // when it came, by this clock
let failed = null;       // why the last poll did not end well
let tablesShown = FIRST_TABLES;
let timer = 0;
let polling = false;
let again = false;

class Refused extends Error {}

async function ask(path, as) {
  const stop = new AbortController();
  const clock = setTimeout(() => stop.abort(), PATIENCE);
  try {
    const response = await fetch(path, { signal: stop.signal, cache: "no-store", credentials: "same-origin" });
    if (!response.ok) throw new Refused(`${response.status} ${(await response.text()).slice(0, 200)}`);
    return await response[as]();
  } finally {
    clearTimeout(clock);
  }
}

function tablesPath() {
  const query = new URLSearchParams({ search: byId("search").value.trim(), sort: byId("sort").value, limit: tablesShown });
  return `api/v1/tables?${query}`;
}

function show(id, parts) {
  byId(id).replaceChildren(...parts);
}

function showTables(answer) {
  show("tables", tables(answer, status_));
  const shown = answer.tables.length;
  const found = byId("search").value.trim() ? `${whole(answer.matched)} found of ${whole(answer.total)}` : whole(answer.total);
  byId("tables-note").textContent = `${found}; rates are means of the last ${duration(answer.window_seconds)}, as sealed`;
  byId("more").hidden = shown >= answer.matched || shown >= MOST_TABLES;
}

function showStatus() {
  const status = status_;
  document.title = `${status.node.name} \u00b7 Forebay`;
  byId("name").textContent = status.node.name;
  byId("state").className = `pill ${stateKind(status.node.state)}`;
  byId("state").textContent = status.node.state;
  show("facts", facts(status));
  show("sinks", sinks(status));
  show("members", members(status));
  byId("members-note").textContent = status.cluster.members.length ? plural(status.cluster.members.length, "member", "members") : "";
  show("batches", batches(status));
  byId("batches-note").textContent = status.queue.batches
    ? `${whole(status.queue.batches)} on their way, ${whole(status.queue.running)} under way` : "";
  show("limits", limits(status));
  show("storage", storage(status));
}

function showPlots() {
  const cluster = status_.cluster.members.length > 1;
  const wanted = plots.filter((plot) => cluster || !plot.options.cluster);
  for (const plot of wanted) plot.draw(history_);
  const place = byId("plots");
  if (place.children.length !== wanted.length) place.replaceChildren(...wanted.map((plot) => plot.element));
}

// Whether what is on the page is of now.
function showLive() {
  const live = byId("live");
  const since = answered ? clockTime(answered) : "";
  live.className = `live ${failed ? "off" : answered ? "on" : ""}`;
  if (failed) byId("live-text").textContent = answered ? `last answer ${since}` : "no answer";
  else byId("live-text").textContent = document.hidden ? "paused" : `live \u00b7 ${since}`;
  byId("main").classList.toggle("stale", Boolean(failed));
  const banner = byId("banner");
  const reason = status_ && status_.not_ready_reason;
  let text = "";
  if (failed instanceof Refused) text = `The node refuses to answer: ${failed.message}`;
  else if (failed) text = `The node does not answer${answered ? ` since ${since}` : ""}. Asking again each 5 s; below is what it said last.`;
  else if (reason) text = `Takes no writes: ${reason}`;
  banner.hidden = !text;
  banner.className = `banner ${failed ? "bad" : ""}`;
  if (banner.textContent !== text) banner.textContent = text;
}

async function poll() {
  if (polling) {
    again = true;
    return;
  }
  polling = true;
  clearTimeout(timer);
  try {
    const [status, points, found] = await Promise.all([
      ask(`api/v1/status?tables=0&batches=${BATCHES_SHOWN}&config=false`, "json"),
      ask(`api/v1/history?from=${history_.next}`, "json"),
      ask(tablesPath(), "json"),
    ]);
    if (version !== null && status.version !== version) location.reload(); // the page of the new release
    version = status.version;
    const sameRun = startedRun === status.started;
    if (!sameRun) history_.clear();
    startedRun = status.started;
    status_ = status;
    history_.add(sameRun || points.first === 0 ? points : await ask("api/v1/history", "json"));
    answered = new Date();
    failed = null;
    showStatus();
    showPlots();
    showTables(found);
  } catch (error) {
    failed = error;
  }
  polling = false;
  showLive();
  if (again) {
    again = false;
    poll();
  } else if (!document.hidden) {
    timer = setTimeout(poll, EVERY);
  }
}

async function showConfig() {
  if (!byId("config").open) return;
  try {
    byId("config-text").textContent = await ask("api/v1/config", "text");
  } catch (error) {
    byId("config-text").textContent = `The node does not tell it: ${error.message}`;
  }
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(poll, 250);
}

byId("search").addEventListener("input", () => {
  tablesShown = FIRST_TABLES;
  soon();
});
byId("sort").addEventListener("change", soon);
byId("more").addEventListener("click", () => {
  tablesShown = Math.min(MOST_TABLES, tablesShown * 5);
  soon();
});
byId("config").addEventListener("toggle", showConfig);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else poll();
  showLive();
});
poll();
