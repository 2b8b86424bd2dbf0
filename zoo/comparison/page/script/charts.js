// What all charts share: the theme, the sentence for readers of the screen, and drawing by Plotly.

// A model has a dash and a marker of its own, so that its line is known without its colour: 6 and 13 have no
// common divisor, so that 78 pairs pass before one comes again. Other configurations of the model have its marker, open,
// with a dot or without.
const DASHES = ['solid', 'dash', 'dot', 'dashdot', 'longdash', 'longdashdot'];
const MARKS = ['circle', 'square', 'diamond', 'cross', 'triangle-up', 'x', 'triangle-down', 'star', 'pentagon', 'hexagram', 'triangle-left', 'hexagon', 'triangle-right'];
const VARIANTS = ['-open', '-open-dot'];
const SYMBOLS = {'exact': 'circle', 'exact†': 'circle-open', 'lower bound': 'diamond', 'estimate': 'triangle-up', 'mixed': 'x', '': 'square'};
const printing = () => document.documentElement.classList.contains('printing');
const narrow = () => window.innerWidth < 700 && !printing();

// Return the dash and the marker of a row. Models of a family stand side by side, so that up to 13 differ in their markers.
function lookOf(row) {
  const places = once({id: 'all'}, 'looks', () => {
    const rows = DATA.studies.flatMap(study => rowsOf(study)), rank = one => hue(one.family);
    const models = new Map(rows.map(one => [one.model, one])), others = new Map();
    for (const one of rows) if (!one.stands) others.set(one.model, (others.get(one.model) || new Set()).add(one.id));
    const ordered = [...models.values()].sort((a, b) => rank(a) - rank(b) || a.model.localeCompare(b.model)).map(one => one.model);
    return {models: new Map(ordered.map((model, place) => [model, place])), others: new Map([...others.values()].flatMap(ids => [...ids].map((id, k) => [id, k + 1])))};
  });
  const place = places.models.get(row.model), k = row.stands ? 0 : places.others.get(row.id);
  return {dash: DASHES[(place + k) % DASHES.length], symbol: MARKS[place % MARKS.length] + (k ? VARIANTS[(k - 1) % VARIANTS.length] : '')};
}

// Return the marker of each row of a chart of points: that of lookOf, or the next of its model's that no other row of the
// colour has.
function markersOf(rows) {
  const taken = new Set(), found = new Map(), key = (row, symbol) => `${familyColour(row.family)} ${symbol}`;
  for (const row of [...rows].sort((a, b) => Number(b.stands) - Number(a.stands))) {
    const own = lookOf(row).symbol, shape = own.replace(/(-open)?(-dot)?$/, ''), choices = [own, ...VARIANTS.map(variant => shape + variant), ...MARKS.flatMap(mark => VARIANTS.map(variant => mark + variant))];
    const symbol = choices.find(choice => !taken.has(key(row, choice))) || own;
    taken.add(key(row, symbol));
    found.set(row, symbol);
  }
  return found;
}

// Return how the line of a row looks, with its marker at a few of its points.
function lineLook(row, width = 1.8) {
  const {dash, symbol} = lookOf(row), color = familyColour(row.family);
  return {mode: 'lines+markers', line: {color, dash, width}, marker: {symbol, color, size: 8, maxdisplayed: 7, line: {color, width: 1.2}}};
}

// Return a name that is at most so many pixels wide in a label, cut off with an ellipsis where it is wider.
function cut(words, wide) {
  let short = words;
  while (short.length > 1 && widthOf(short === words ? words : `${short}…`) > wide) short = short.slice(0, -1);
  return short === words ? words : `${short.trimEnd()}…`;
}

const LABEL = 11;          // pixels: the size of a label's letters
let pen = null;
function widthOf(words) {
  pen ??= document.createElement('canvas').getContext('2d');
  pen.font = `${LABEL}px system-ui, sans-serif`;
  return pen.measureText(words).width;
}

// Return the frame of a chart in pixels, and the functions from values to it. Ranges are of logarithms where `log` says so.
function frameOf(id, x, y, margin, height) {
  const width = Math.max(100, byId(id).clientWidth - margin.l - margin.r), tall = height - margin.t - margin.b;
  const place = (axis, value) => ((axis.log ? Math.log10(value) : value) - axis.range[0]) / (axis.range[1] - axis.range[0]);
  return {width, height: tall, x: value => width * place(x, value), y: value => tall * (1 - place(y, value))};
}

// Return the range of an axis that holds some values, of their logarithms on a logarithmic one.
function rangeOf(values, log, room = 0.05) {
  const ends = values.map(value => (log ? Math.log10(value) : value)), low = Math.min(...ends), high = Math.max(...ends);
  const pad = room * (high - low || 1);
  return [low - pad, high + pad];
}

const overlap = (a, b) => Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));

// Return annotations that name points, each beside one of its points where it covers least of what is drawn.
// Items are {name, points: [[x, y], ...] in values, colour}, obstacles boxes [left, top, right, bottom] in pixels.
function placeLabels(items, obstacles, frame, x, y) {
  const taken = [...obstacles], high = LABEL + 3, found = [];
  for (const item of items) {
    const wide = widthOf(item.name) + 4;
    let best = null;
    for (const [vx, vy] of item.points) {
      const px = frame.x(vx), py = frame.y(vy);
      for (const reach of [1, 2.4, 4.2]) for (const [ux, uy] of [[1, 0], [-1, 0], [0, -1], [0, 1], [0.8, -0.8], [0.8, 0.8], [-0.8, -0.8], [-0.8, 0.8]]) {
        const cx = px + ux * (wide / 2 + 9 * reach), cy = py + uy * (high / 2 + 7 * reach);
        const box = [cx - wide / 2, cy - high / 2, cx + wide / 2, cy + high / 2];
        const outside = wide * high - overlap(box, [0, 0, frame.width, frame.height]);
        const cost = 8 * outside + taken.reduce((total, other) => total + overlap(box, other), 0) + 6 * (reach - 1);
        if (!best || cost < best.cost - 1e-9) best = {cost, box, vx, vy, px, py, cx, cy, reach};
      }
    }
    if (!best) continue;
    taken.push(best.box);
    found.push({x: x.log ? Math.log10(best.vx) : best.vx, y: y.log ? Math.log10(best.vy) : best.vy, text: escapeLabel(item.name), showarrow: true, arrowhead: 0,
      arrowwidth: best.reach > 1 ? 1 : 0.1, arrowcolor: best.reach > 1 ? colour('dim') : 'rgba(0,0,0,0)', standoff: 5, ax: best.cx - best.px, ay: best.cy - best.py,
      font: {size: LABEL, color: colour('ink')}, bgcolor: faint(colour('paper'), 0.7), borderpad: 0});
  }
  return found;
}

// Return annotations that name lines at their right ends, moved apart where they would overprint. Ends are {name, x, y, colour}.
function endLabels(ends, frame, x, y) {
  const gap = LABEL + 3, places = ends.map(end => ({...end, from: Math.max(0, Math.min(frame.height, frame.y(end.y)))})).sort((a, b) => a.from - b.from);
  places.forEach((end, i) => { end.to = Math.max(end.from, i ? places[i - 1].to + gap : 6); });
  for (let i = places.length - 1; i >= 0; i--) places[i].to = Math.min(places[i].to, i < places.length - 1 ? places[i + 1].to - gap : frame.height - 4);
  const value = from => y.range[0] + (1 - from / frame.height) * (y.range[1] - y.range[0]);
  return places.map(end => ({x: x.log ? Math.log10(end.x) : end.x, y: value(end.from), text: escapeLabel(end.name), xanchor: 'left', showarrow: true, arrowhead: 0, arrowwidth: 1,
    arrowcolor: end.colour, ax: 16, ay: end.to - end.from, font: {size: LABEL, color: colour('ink')}, bgcolor: faint(colour('paper'), 0.7), borderpad: 0}));
}

// Return the room at the right that labels of line ends need.
const roomFor = names => 24 + Math.max(0, ...names.map(widthOf));

const axisLook = (title, log = false) => ({
  title: {text: title, standoff: 8}, type: log ? 'log' : 'linear', gridcolor: colour('line'), linecolor: colour('line'),
  zerolinecolor: colour('line'), automargin: true,
});

const MOST_TICKS = 8, TICK = 12;   // TICK: pixels, the size of a tick's letters

// Return a number as a tick of an axis has it, with some digits behind the point.
function tickText(value, digits) {
  if (value >= 1e-4 && value < 1e6) return grouped(value, digits);
  return general(value, 3).replace(/e([+-])0*/, (_, sign) => `e${sign === '-' ? '-' : ''}`);
}

// Return {tickvals, ticktext} of a logarithmic axis over a range of logarithms, so many pixels long: as many as have room,
// at least three wherever three have. They are powers of ten, these with their threefold or their double and fivefold, and,
// on an axis of less than a decade, also numbers at equal distances.
function logTicks([low, high], length, across) {
  const size = (high - low) * 1e-9, decades = Array.from({length: Math.ceil(high) - Math.floor(low) + 1}, (_, i) => Math.floor(low) + i);
  const places = (values, digits) => values.map(value => Number(value.toPrecision(9))).filter(value => value > 0 && Math.log10(value) >= low - size && Math.log10(value) <= high + size)
    .map(value => ({value, text: tickText(value, digits(value))}));
  const exact = value => Math.max(0, -Math.floor(Math.log10(value)));
  const geometric = [...[6, 5, 4, 3, 2, 1].map(step => decades.filter(decade => decade % step === 0).map(decade => 10 ** decade)),
    ...[[1, 3], [1, 2, 5]].map(digits => decades.flatMap(decade => digits.map(digit => digit * 10 ** decade)))].map(values => places(values, exact));
  const even = high - low > 1 ? [] : [0, -1, -2].flatMap(lower => [5, 2, 1].map(digit => [digit, Math.floor(Math.log10(10 ** high - 10 ** low)) + lower])).map(([digit, decade]) => {
    const step = digit * 10 ** decade, first = Math.floor(10 ** low / step);
    return places(Array.from({length: Math.ceil((10 ** high - 10 ** low) / step) + 2}, (_, i) => (first + i) * step), () => Math.max(0, -decade));
  });
  const fits = ticks => ticks.every(({value, text}, i) => {
    if (!i) return true;
    const apart = length * (Math.log10(value) - Math.log10(ticks[i - 1].value)) / (high - low);
    return apart >= (across ? (widthOf(text) + widthOf(ticks[i - 1].text)) / 2 * TICK / LABEL + TICK : 1.5 * TICK);
  });
  const best = [...geometric, ...even].filter(ticks => ticks.length <= MOST_TICKS && fits(ticks)).reduce((a, b) => (b.length > a.length ? b : a), []);
  return {tickvals: best.map(tick => tick.value), ticktext: best.map(tick => tick.text)};
}

// Give the logarithmic axes of a layout their ranges, where they have none, and their ticks.
function addTicks(look, traces, width) {
  const right = look.showlegend && look.legend.orientation === 'v' ? 50 + Math.max(...traces.map(trace => widthOf(plainLabel(trace.name || '')))) : 0;
  for (const [name, values, length] of [['xaxis', 'x', width - look.margin.l - look.margin.r - right], ['yaxis', 'y', narrow() && look.showlegend ? 280 : look.height - look.margin.t - look.margin.b]]) {
    if (look[name]?.type !== 'log') continue;
    const range = look[name].range || rangeOf(traces.flatMap(trace => trace[values]).filter(value => value > 0), true);
    look[name] = {...look[name], range, tickmode: 'array', tickangle: 0, ...logTicks(range, length, values === 'x')};
  }
}

// Give the logarithmic axes of a drawn chart the ticks of the part that the reader has chosen.
function renewTicks(node) {
  const changes = {};
  for (const name of ['xaxis', 'yaxis']) {
    const axis = node._fullLayout?.[name];
    if (axis?.type !== 'log') continue;
    const {tickvals, ticktext} = logTicks(axis.range, axis._length, name === 'xaxis');
    if (ticktext.join() !== [...axis.ticktext || []].join()) Object.assign(changes, {[`${name}.tickvals`]: tickvals, [`${name}.ticktext`]: ticktext});
  }
  if (Object.keys(changes).length) Plotly.relayout(node, changes);
}

const NO_LIBRARY = 'This chart is not drawn, because the drawing library inside this file is damaged or too new for this browser; tables and texts are not affected.';

// Draw a chart. `finding` says in a sentence what it shows; readers of the screen hear it.
function plot(id, traces, layout, finding, events = {}) {
  const node = byId(id);
  node.setAttribute('role', 'img');
  node.setAttribute('aria-label', finding);
  write(byId(`${id}-finding`), finding);
  if (!traces.length) {
    if (node.data) Plotly.purge(node);
    fill(node, el('p', {class: 'dim'}, 'Nothing to draw for this choice.'));
    return;
  }
  if (!window.Plotly) {
    node.removeAttribute('role');  // so that readers of the screen hear the sentence, too
    fill(node, el('p', {class: 'warnbox'}, NO_LIBRARY));
    return;
  }
  if (!node.data) node.replaceChildren();
  const look = {
    height: narrow() ? 360 : 440, margin: {l: 56, r: 16, t: 8, b: 48}, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    font: {family: 'system-ui, sans-serif', size: 12, color: colour('ink')}, hovermode: 'closest', showlegend: false,
    hoverlabel: {bgcolor: colour('paper'), bordercolor: colour('dim'), font: {color: colour('ink'), size: 12}},
    legend: {orientation: 'h', y: -0.2, font: {size: 12}, traceorder: 'normal'}, ...layout,
  };
  if (narrow() && look.showlegend) {  // a line for each name below the chart, not a box of its own that scrolls
    const names = traces.filter(trace => trace.name && trace.showlegend !== false).length;
    look.height = 330 + 20 * names;
    const wide = (node.clientWidth - 60) * LABEL / 12;  // a legend's letters are larger than a label's
    for (const trace of traces) if (trace.name) trace.name = escapeLabel(cut(plainLabel(trace.name), wide));
    look.legend = {...look.legend, orientation: 'h', x: 0, xanchor: 'left', y: -70 / 280, maxheight: 20 * names + 20};
  }
  addTicks(look, traces, node.clientWidth);
  Plotly.react(node, traces, look, {displayModeBar: false, responsive: true, scrollZoom: false});
  for (const [name, react] of Object.entries({plotly_relayout: () => renewTicks(node), ...events})) {
    node.removeAllListeners?.(name);
    node.on(name, react);
  }
}

const escapeLabel = words => words.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');  // Plotly reads a few tags

const plainLabel = words => words.replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&amp;/g, '&');

// Return a colour with some transparency.
function faint(hex, alpha) {
  const [r, g, b] = [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}

// Return the buttons of a chart: back to the whole, its picture, its numbers. There are none where nothing can be drawn.
function chartButtons(id, name) {
  if (!window.Plotly) return null;
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
