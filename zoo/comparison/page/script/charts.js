// What all charts share: the theme, the sentence for readers of the screen, and drawing by Plotly.

const DASHES = ['solid', 'dash', 'dot', 'dashdot', 'longdash', 'longdashdot'];
const SYMBOLS = {'exact': 'circle', 'exact†': 'circle-open', 'lower bound': 'diamond', 'estimate': 'triangle-up', 'mixed': 'x', '': 'square'};
const narrow = () => window.innerWidth < 700;

const MARKERS = [null, 'circle', 'square', 'diamond', 'x', 'triangle-up'];

// Return what tells the lines of a family's models apart, which share its colour: a dash each, and markers from the
// seventh model on. `at` is a model's place in its family.
function lineLook(at) {
  const symbol = MARKERS[Math.floor(at / DASHES.length) % MARKERS.length];
  return {dash: DASHES[at % DASHES.length], mode: symbol ? 'lines+markers' : 'lines', marker: symbol ? {symbol, size: 7, maxdisplayed: 9} : {}};
}

const lookOf = row => lineLook([...new Set(rowsOf(row.study).filter(other => other.family === row.family).map(other => other.model))].indexOf(row.model));

const axisLook = (title, log = false) => ({
  title: {text: title, standoff: 8}, type: log ? 'log' : 'linear', gridcolor: colour('line'), linecolor: colour('line'),
  zerolinecolor: colour('line'), automargin: true, ...(log ? {dtick: 'D2', tickformat: '~g'} : {}),
});

// Draw a chart. `finding` says in a sentence what it shows; readers of the screen hear it.
function plot(id, traces, layout, finding, events = {}) {
  const node = byId(id);
  node.setAttribute('role', 'img');
  node.setAttribute('aria-label', finding);
  byId(`${id}-finding`).textContent = finding;
  if (!traces.length) {
    if (node.data) Plotly.purge(node);
    fill(node, el('p', {class: 'dim'}, 'Nothing to draw for this choice.'));
    return;
  }
  if (!node.data) node.replaceChildren();
  const look = {
    height: narrow() ? 360 : 440, margin: {l: 56, r: 16, t: 8, b: 48}, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    font: {family: 'system-ui, sans-serif', size: 12, color: colour('ink')}, hovermode: 'closest', showlegend: false,
    hoverlabel: {bgcolor: colour('paper'), bordercolor: colour('dim'), font: {color: colour('ink'), size: 12}},
    legend: {orientation: 'h', y: -0.2, font: {size: 12}, traceorder: 'normal'}, ...layout,
  };
  Plotly.react(node, traces, look, {displayModeBar: false, responsive: true, scrollZoom: false});
  for (const [name, react] of Object.entries(events)) {
    node.removeAllListeners?.(name);
    node.on(name, react);
  }
}

const escapeLabel = words => words.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');  // Plotly reads a few tags

// Return a colour with some transparency.
function faint(hex, alpha) {
  const [r, g, b] = [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}

// Return the buttons of a chart: back to the whole, its picture, its numbers.
function chartButtons(id, name) {
  return el('span', {class: 'buttons'},
    el('button', {type: 'button', class: 'small', onclick: () => Plotly.relayout(byId(id), {'xaxis.autorange': true, 'yaxis.autorange': true})}, 'whole'),
    el('button', {type: 'button', class: 'small', onclick: () => Plotly.downloadImage(byId(id), {format: 'svg', filename: `zoo-${name}`, width: 900, height: 500})}, 'save SVG'),
    el('button', {type: 'button', class: 'small', onclick: event => copyText(JSON.stringify({data: byId(id).data, layout: byId(id).layout}), event.target)}, 'copy figure JSON'));
}

// Return a least-squares slope with its 95 % interval; null for fewer than three points.
function slope(xs, ys) {
  const n = xs.length;
  if (n < 3) return null;
  const mx = mean(xs), my = mean(ys), sxx = sum(xs.map(x => (x - mx) ** 2));
  if (!(sxx > 0)) return null;
  const rise = sum(xs.map((x, i) => (x - mx) * (ys[i] - my))) / sxx;
  const rest = sum(xs.map((x, i) => (ys[i] - my - rise * (x - mx)) ** 2));
  const reach = tQuantile(n - 2) * Math.sqrt(rest / (n - 2) / sxx);
  return {rise, low: rise - reach, high: rise + reach};
}
