// The parts of the page, each made of the node's answers. They are made anew at each poll.

const BATCHES_SHOWN = 12;

function stateKind(state) {
  if (state === "ready") return "ok";
  if (state === "not ready" || state === "overdue") return "bad";
  return state === "drained" ? "idle" : "warn";
}

function facts(status) {
  const node = status.node;
  const list = [["version", status.version], ["up", duration(node.uptime_seconds)], ["durability", node.durability]];
  return list.map(([name, value]) => el("div", null, el("dt", null, name), el("dd", null, value)));
}

function sinkState(sink) {
  if (!sink.healthy && sink.failures > 0) return ["bad", sink.last_success_time ? "failing" : "does not work"];
  if (sink.last_success_time) return ["ok", "working"];
  if (sink.failures > 0) return ["warn", "failed"];
  return ["idle", sink.in_flight > 0 ? "first try" : "not used yet"];
}

function sinks(status) {
  if (!status.sinks.length) return [el("p", { class: "empty" }, "No database has a sink.")];
  const now = status.node.time;
  const order = (sink) => (sinkState(sink)[0] === "bad" ? 0 : 1); // what is dead comes first
  return [...status.sinks].sort((a, b) => order(a) - order(b)).map((sink) => {
    const [kind, word] = sinkState(sink);
    const text = [`${plural(sink.delivered_batches, "batch", "batches")}, ${plural(sink.delivered_rows, "row", "rows")} delivered`];
    if (sink.last_success_time) text.push(`last ${age(sink.last_success_time, now)} ago`);
    if (sink.in_flight) text.push(`${sink.in_flight} under way`);
    if (sink.failures) text.push(plural(sink.failures, "failed try", "failed tries"));
    return el("div", { class: kind === "bad" ? "sink dead" : "sink", "data-sink": sink.name },
              el("div", { class: "head" },
                 el("span", { class: "name" }, sink.name, el("span", { class: "note" }, ` of ${sink.database}`)),
                 pill(kind, word)),
              el("p", { class: "sub" }, text.join(" \u00b7 ")),
              sink.last_error
                ? el("p", { class: kind === "ok" ? "sub" : "error" },
                     `${kind === "ok" ? "last error, " : ""}${age(sink.last_error_time, now)} ago: ${sink.last_error}`)
                : null);
  });
}

function members(status) {
  const cluster = status.cluster;
  const list = cluster.members.length
    ? cluster.members
    : [{ name: cluster.self, address: "", ready: status.ready, tables: status.tables.seen, alone: true }];
  const all = list.reduce((total, member) => total + (member.tables || 0), 0);
  const transfers = status.transfers || { avoided_peers: [], leaving_peers: [] };
  const made = list.map((member) => {
    const leaving = transfers.leaving_peers.includes(member.name);
    const avoided = transfers.avoided_peers.includes(member.name);
    let state = member.ready ? ["ok", "ready"] : ["bad", "not ready"];
    if (avoided) state = ["warn", "left alone"];
    if (leaving) state = ["warn", "leaving"];
    const share = percent(member.tables, all);
    const notes = [];
    if (member.alone) notes.push("alone");
    else if (member.name === cluster.self) notes.push("this node");
    if (!member.alone && member.name === cluster.leader) notes.push("leader");
    if (member.address) notes.push(member.address);
    return [[el("div", { class: "name" }, member.name), el("div", { class: "sub" }, notes.join(" \u00b7 "))],
            pill(...state),
            [el("div", null, `${count(member.tables || 0)} `, el("span", { class: "unit" }, percentText(share)))],
            meter(share, "", "share of the tables")];
  });
  const parts = [table([["Member", ""], ["State", ""], ["Owns", "n"], ["Share", "wide"]], made)];
  if (status.transfers) {
    const text = [`${count(transfers.batches_waiting)} batches wait for peers, ${count(transfers.batches_running)} under way`];
    if (transfers.open_rows) text.push(`${plural(transfers.open_rows, "row", "rows")} a peer may have`);
    parts.push(el("p", { class: "sub" }, text.join(" \u00b7 ")));
    if (transfers.last_error) parts.push(el("p", { class: "error" }, transfers.last_error));
  }
  return parts;
}

function batchState(batch) {
  if (batch.running && batch.deliveries.length) {
    return batch.deliveries.map((delivery) => {
      const done = percent(delivery.read_bytes, delivery.total_bytes);
      return el("div", { class: "delivery" }, meter(done, "", `progress to ${delivery.sink}`),
                el("div", { class: "sub" }, `${percentText(done)} to ${delivery.sink} \u00b7 ${bytes(delivery.read_bytes)} of ` +
                   `${bytes(delivery.total_bytes)} \u00b7 ${duration(delivery.seconds)}`));
    });
  }
  if (batch.running) return [pill("ok", "running")];
  return [batch.failures ? pill("bad", `failed ${batch.failures}\u00d7, tried again`) : pill("idle", "waiting")];
}

function batches(status) {
  if (!status.batches.length) return [el("p", { class: "empty" }, "No batch is on its way.")];
  const told = new Set(); // batches of one dead sink mostly say the same
  const news = (error) => error && !told.has(error) && told.add(error);
  const made = status.batches.map((batch) => [
    [el("div", { class: "name" }, batch.table), el("div", { class: "sub" }, `${batch.database} \u00b7 ${batch.id}`),
     news(batch.last_error) ? el("div", { class: "error" }, batch.last_error) : null],
    batchState(batch),
    bytes(batch.row_bytes),
    count(batch.rows),
    count(batch.segments),
    batch.reason,
    age(batch.created, status.node.time),
  ]);
  return [table([["Table", "batch"], ["State", "state"], ["Size", "n"], ["Rows", "n wide"], ["Segments", "n wide"],
                 ["Made by", "wide"], ["Age", "n wide"]], made),
          status.queue.batches > made.length
            ? el("p", { class: "empty" }, `and ${whole(status.queue.batches - made.length)} more`) : null].filter(Boolean);
}

function tables(answer, status) {
  if (!answer.tables.length) {
    return [el("p", { class: "empty" }, answer.total ? "No table has that in its name." : "No table has been seen yet.")];
  }
  const now = status.node.time;
  const made = answer.tables.map((entry) => [
    [el("div", { class: "name" }, entry.table), el("div", { class: "sub" }, entry.database, el("span", { class: "narrow" }, ` \u00b7 ${entry.owner}`))],
    [count(entry.rows_per_second), el("span", { class: "unit" }, "/s")],
    [bytes(entry.row_bytes_per_second), el("span", { class: "unit" }, "/s")],
    count(entry.rows),
    count(entry.segments),
    entry.oldest ? age(entry.oldest, now) : NOTHING,
    el("span", { class: "owner" }, entry.owner),
  ]);
  return [table([["Table", ""], ["Rows", "n"], ["Bytes", "n wide"], ["Pending rows", "n"], ["Segments", "n wide"],
                 ["Oldest", "n wide"], ["Owner", "wide"]], made)];
}

function limit(name, used, most, text, bad) {
  const value = percent(used, most);
  const kind = value >= bad ? "bad" : value >= 75 ? "warn" : "";
  return el("div", { class: "limit" },
            el("p", null, el("b", null, name),
               el("span", null, `${text(used)} `, el("span", { class: "unit" }, `of ${text(most)} \u00b7 ${percentText(value)}`))),
            meter(value, kind, name));
}

function limits(status) {
  const all = status.limits;
  const full = all.disk.full
    ? [el("p", { class: "error" }, `Writes are refused: short of ${all.disk.short_of.join(", ")}`)]
    : [];
  return full.concat([
    limit("Disk", all.disk.used_bytes, all.disk.max_bytes, bytes, all.disk.high_watermark_percent),
    limit("Memory of generations", all.memory.used_bytes, all.memory.max_bytes, bytes, 95),
    limit("Bodies in flight", all.in_flight_bodies.used_bytes, all.in_flight_bodies.max_bytes, bytes, 95),
    limit("Decoded requests", all.decoded_requests.used_bytes, all.decoded_requests.max_bytes, bytes, 95),
    limit("Connections", all.connections.open, all.connections.max, whole, 95),
    limit("Series", status.series.known, status.series.max, count, 95),
    limit("Memory of series", status.series.memory_bytes, status.series.max_bytes, bytes, 95),
    limit("Tables", status.tables.seen, status.tables.max, whole, 95),
    limit("Dead letters", status.dead_letters.bytes, status.dead_letters.max_bytes, bytes, 80),
    limit("Quarantine", status.quarantine.bytes, status.quarantine.max_bytes, bytes, 80),
  ]);
}

function storage(status) {
  const g = status.generations;
  const s = status.segments;
  const letters = status.dead_letters;
  const list = [
    ["Open generation", `${plural(g.open.samples, "sample", "samples")}, ${bytes(g.open.memory_bytes)}`],
    ["Oldest not sealed", duration(g.oldest_unsealed_seconds)],
    ["Generations", `${count(g.sealing)} being sealed, ${count(g.sealed_total)} sealed`],
    ["Journals", bytes(g.journal_bytes)],
    ["Segments", `${count(s.count)}, ${plural(s.rows, "row", "rows")}, ${bytes(s.file_bytes)}`],
    ["Rows as text", bytes(s.row_bytes)],
    ["Dead letters", letters.batches
      ? `${plural(letters.batches, "batch", "batches")}, ${bytes(letters.bytes)}, oldest ${age(letters.oldest, status.node.time)}`
      : "none", letters.batches > 0],
    ["Quarantine", status.quarantine.files
      ? `${plural(status.quarantine.files, "item", "items")}, ${bytes(status.quarantine.bytes)}` : "empty",
     status.quarantine.files > 0],
  ];
  if (s.unreadable) list.push(["Unreadable segments", count(s.unreadable), true]);
  if (g.recovering) list.push(["Recovery", `${count(g.replayed_records)} records replayed so far`]);
  if (g.journal_errors) list.push(["Journal errors", count(g.journal_errors), true]);
  if (g.seal_errors) list.push(["Errors of sealing", count(g.seal_errors), true]);
  const volume = status.limits.disk.volume;
  if (volume) list.push(["Free on the volume", bytes(volume.free_bytes)]);
  return [el("dl", { class: "grid" },
             list.flatMap(([name, value, bad]) => [el("dt", null, name), el("dd", { class: bad ? "bad" : null }, value)]))];
}
