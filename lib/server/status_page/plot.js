// Small plots of the last 15 minutes. The node keeps the points; the page asks for those it has not.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 180;
const HEIGHT = 56;

function shape(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

class History {
  constructor() {
    this.clear();
  }
  clear() {
    this.next = 0;
    this.interval = 5;
    this.most = 180;
    this.columns = {};
  }
  // Takes what GET api/v1/history?from=<next> answered.
  add(answer) {
    if (answer.first > this.next || answer.next < this.next) this.columns = {}; // a gap, or another run
    this.next = answer.next;
    this.interval = answer.interval_seconds;
    this.most = answer.max_points;
    for (const [name, values] of Object.entries(answer.points)) {
      this.columns[name] = (this.columns[name] || []).concat(values).slice(-this.most);
    }
  }
  column(name) {
    return this.columns[name] || [];
  }
}

// One card. options: title, column, text(value) -> [number, unit], bad(value), of(values) -> what is shown large.
class Plot {
  constructor(options) {
    this.options = options;
    this.now = el("p", { class: "now" }, NOTHING);
    this.left = el("span", null, "");
    this.right = el("span", null, "");
    this.base = shape("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT });
    this.area = shape("path", { class: "area" });
    this.line = shape("path", { class: "line" });
    this.cursor = shape("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
    this.svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.svg.append(this.base, this.area, this.line, this.cursor);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.unpoint());
    this.element = el("article", { class: "plot", id: `plot-${options.column}` }, el("h3", null, options.title),
                      this.now, this.svg, el("footer", null, this.left, this.right));
    this.times = [];
    this.values = [];
  }

  // Puts points where their times are: a pause of the node is a gap.
  draw(history) {
    this.values = history.column(this.options.column);
    this.times = this.values.length ? history.column("time_ms") : [];
    this.step = history.interval * 1000;
    const span = history.most * this.step;
    this.end = this.times.length ? this.times[this.times.length - 1] : Date.now();
    this.begin = this.end - span;
    const greatest = this.values.reduce((a, b) => Math.max(a, b), 0);
    const top = greatest > 0 ? greatest * 1.08 : 1;
    const y = (value) => (HEIGHT - (Math.max(0, value) / top) * (HEIGHT - 2)).toFixed(2);
    let line = "";
    let area = "";
    let from = -1;
    for (let i = 0; i < this.times.length; ++i) {
      const gap = i > 0 && this.times[i] - this.times[i - 1] > 3 * this.step;
      const at = `${this.x(i).toFixed(2)},${y(this.values[i])}`;
      if (from < 0 || gap) {
        if (from >= 0) area += `V${HEIGHT}H${this.x(from).toFixed(2)}Z`;
        from = i;
        line += `M${at}`;
        area += `M${this.x(i).toFixed(2)},${HEIGHT}L${at}`;
      } else {
        line += `L${at}`;
        area += `L${at}`;
      }
    }
    if (from >= 0) area += `V${HEIGHT}H${this.x(from).toFixed(2)}Z`;
    this.line.setAttribute("d", line);
    this.area.setAttribute("d", area);
    this.greatest = greatest;
    this.show();
  }

  x(i) {
    return (WIDTH * (this.times[i] - this.begin)) / (this.end - this.begin);
  }

  text(value) {
    return this.options.text(value).filter(Boolean).join(GAP);
  }
  short(value) {
    return this.text(value).replace(/ ?rows/, "");
  }

  show() {
    const shown = this.options.of ? this.options.of(this.values) : this.values[this.values.length - 1];
    const [number, unit] = this.options.text(shown);
    this.now.replaceChildren(number, el("span", null, unit));
    this.element.classList.toggle("bad", Boolean(this.options.bad && shown > 0));
    this.left.textContent = this.values.length ? `max ${this.short(this.greatest)}` : "no point yet";
    const seconds = (this.values.length * this.step) / 1000;
    this.right.textContent = this.values.length ? `last ${duration(seconds < 60 ? seconds : seconds - (seconds % 60))}` : "";
    this.svg.setAttribute("aria-label", `${this.options.title}: ${this.text(shown)}, greatest ${this.text(this.greatest)}`);
  }

  point(event) {
    if (!this.times.length) return;
    const box = this.svg.getBoundingClientRect();
    const time = this.begin + ((event.clientX - box.left) / box.width) * (this.end - this.begin);
    let best = 0;
    for (let i = 1; i < this.times.length; ++i) {
      if (Math.abs(this.times[i] - time) < Math.abs(this.times[best] - time)) best = i;
    }
    this.cursor.setAttribute("x1", this.x(best));
    this.cursor.setAttribute("x2", this.x(best));
    this.cursor.setAttribute("visibility", "visible");
    this.left.textContent = this.short(this.values[best]);
    this.right.textContent = clockTime(new Date(this.times[best]));
  }

  unpoint() {
    this.cursor.setAttribute("visibility", "hidden");
    this.show();
  }
}

const perSecond = (value) => {
  const [number, unit] = scaled(value, 1000, COUNTS);
  return [number, `${unit} rows/s`.trim()];
};
const rows = (value) => {
  const [number, unit] = scaled(value, 1000, COUNTS);
  return [number, `${unit} rows`.trim()];
};
const size = (value) => scaled(value, 1024, SIZES);
// What comes in bursts, as batches do, would show 0 most of the time.
const lastMinute = (values) => {
  const some = values.slice(-12);
  return some.length ? some.reduce((a, b) => a + b, 0) / some.length : undefined;
};
const sum = (values) => (values.length ? values.reduce((a, b) => a + b, 0) : undefined);

const PLOTS = [
  { title: "Received", column: "received_rows_per_second", text: perSecond, of: lastMinute },
  { title: "From peers", column: "from_peers_rows_per_second", text: perSecond, of: lastMinute, cluster: true },
  { title: "Uploaded", column: "uploaded_rows_per_second", text: perSecond, of: lastMinute },
  { title: "Given to peers", column: "transferred_rows_per_second", text: perSecond, of: lastMinute, cluster: true },
  { title: "Pending", column: "pending_rows", text: rows },
  { title: "Quarantined", column: "quarantine_bytes", text: size, bad: true },
  { title: "Errors, 15 minutes", column: "errors", text: (value) => scaled(value, 1000, COUNTS), of: sum, bad: true },
];
