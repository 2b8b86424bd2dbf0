// Learning curves as bands over seeds, against updates, images, seconds, device-seconds or operations.

const LINES = 12;          // most rows drawn at a time; the chart says how many there are
const AXIS_WORDS = {updates: 'updates', images_seen: 'images seen', wall_seconds: 'seconds', device_seconds: 'device-seconds', flops: 'FLOPs of training'};

// Return the values of a run on an axis; null where the axis is not known.
function axisOf(run, name) {
  const series = SERIES[run];
  if (!series.updates) return null;
  if (name === 'updates') return series.updates;
  if (name === 'flops') {
    const each = DATA.runs.flops[run], images = axisOf(run, 'images_seen');
    return each && images ? images.map(n => n * each) : null;
  }
  const axis = series.axes[name];
  if (axis === null || axis === undefined) return null;
  return Array.isArray(axis) ? axis : series.updates.map(updates => updates * axis);
}

// Return [x, y] of a curve without its gaps.
function curveOf(run, curve, axis) {
  const xs = axisOf(run, axis), ys = SERIES[run].curves?.[curve];
  if (!xs || !ys) return null;
  const kept = xs.map((x, i) => [x, ys[i]]).filter(([x, y]) => x !== null && y !== null);
  return kept.length ? [kept.map(point => point[0]), kept.map(point => point[1])] : null;
}

// Return the value of a curve at a place between its points; null outside of them.
function interpolate([xs, ys], x) {
  if (x < xs[0] || x > xs.at(-1)) return null;
  let high = xs.findIndex(value => value >= x);
  if (high <= 0) return ys[0];
  const share = (x - xs[high - 1]) / (xs[high] - xs[high - 1] || 1);
  return ys[high - 1] + share * (ys[high] - ys[high - 1]);
}

// Return mean, least and largest over seeds on a common axis, as far as every seed goes.
function band(row, curve, axis) {
  const curves = row.runs.map(run => curveOf(run, curve, axis)).filter(Boolean);
  if (!curves.length) return null;
  const end = Math.min(...curves.map(([xs]) => xs.at(-1))), start = Math.max(...curves.map(([xs]) => xs[0]));
  const grid = [...new Set(curves[0][0].filter(x => x >= start && x <= end))];
  const values = grid.map(x => curves.map(one => interpolate(one, x)).filter(value => value !== null));
  return {x: grid, mean: values.map(mean), low: values.map(v => Math.min(...v)), high: values.map(v => Math.max(...v)), seeds: curves.length};
}

function curveNames(study) {
  return once(study, 'curves', () => {
    const counts = new Map();
    for (const row of rowsOf(study)) for (const run of row.runs) for (const name of Object.keys(SERIES[run].curves || {})) counts.set(name, (counts.get(name) || 0) + 1);
    const rank = name => (name === 'val/bits_per_dim' ? 0 : name === 'val/nll' ? 1 : name === 'val/loss' ? 2 : 3);
    return [...counts.keys()].sort((a, b) => rank(a) - rank(b) || counts.get(b) - counts.get(a) || a.localeCompare(b));
  });
}

// Return a curve's name with its unit where its name does not say it.
const curveWords = curve => (curve === 'val/nll' ? 'val/nll (nats/dim)' : curve || '');

const chosenCurve = study => (curveNames(study).includes(state.curve) ? state.curve : curveNames(study)[0]);

function drawCurves() {
  const study = current(), curve = chosenCurve(study), axis = state.axis;
  const every = visible().map(row => [row, curve && band(row, curve, axis)]), all = every.filter(([, found]) => found);
  const without = every.filter(([, found]) => !found).map(([row]) => row.name);
  const first = all.filter(([row]) => state.pins.includes(row.id));
  const drawn = [...first, ...all.filter(([row]) => !state.pins.includes(row.id))].slice(0, LINES);
  const traces = drawn.flatMap(([row, found]) => {
    const paint = familyColour(row.family), edge = {type: 'scatter', mode: 'lines', x: found.x, line: {width: 0}, hoverinfo: 'skip', showlegend: false};
    const look = lookOf(row), lines = [{type: 'scatter', mode: look.mode, marker: look.marker, x: found.x, y: found.mean, name: escapeLabel(row.name), line: {color: paint, width: state.pins.includes(row.id) ? 3 : 1.8, dash: look.dash},
      hovertemplate: `${escapeLabel(row.name)}<br>%{x:,.4g}: %{y:.4g}<br>mean of ${count(found.seeds, 'seed')}<extra></extra>`}];
    return found.seeds > 1 ? [{...edge, y: found.low}, {...edge, y: found.high, fill: 'tonexty', fillcolor: faint(paint, 0.16)}, ...lines] : lines;
  });
  const log = state.bandsLog && drawn.every(([, found]) => found.low.every(value => value > 0));
  const ends = drawn.map(([row, found]) => [row.name, found.mean.at(-1)]);
  const finding = drawn.length ? `${curve} against ${AXIS_WORDS[axis]}: mean, and least to largest of the seeds. ${drawn.length < all.length ? `${drawn.length} of ${all.length} configurations drawn, the pinned first; filter or pin others. ` : ''}` +
    (without.length ? `Without this curve: ${without.slice(0, 8).join(', ')}${without.length > 8 ? ` and ${without.length - 8} more` : ''}. ` : '') + `At the end: ${ends.slice(0, 6).map(([name, value]) => `${name} ${number(value)}`).join(', ')}${ends.length > 6 ? ', …' : ''}.` +
    (curve === 'val/loss' || curve === 'train/loss' ? ' Each model has its own loss: compare a curve with itself, not with others.' : '') : 'No visible row has this curve on this axis.';
  plot('curves-chart', traces, {xaxis: axisLook(AXIS_WORDS[axis], axis === 'flops'), yaxis: axisLook(escapeLabel(curveWords(curve)), log), showlegend: drawn.length > 0, ...focusRange(drawn, log)}, finding);
}

// Return the range upwards that the curves have after their first tenth: a start far away would flatten the rest.
function focusRange(drawn, log) {
  const late = drawn.flatMap(([, found]) => found.low.slice(Math.floor(found.low.length / 10)).concat(found.high.slice(Math.floor(found.high.length / 10))));
  if (!late.length || log) return {};
  const sorted = [...late].sort((a, b) => a - b), low = sorted[0], high = sorted[Math.floor(0.985 * (sorted.length - 1))];
  const room = 0.05 * (high - low || 1);
  return {yaxis: {...axisLook(escapeLabel(curveWords(chosenCurve(current())))), range: [low - room, high + room]}};
}

function startCurves() {
  addView([...FILTERS, 'curve', 'axis', 'bandsLog'], byId('curves'), drawCurves, true);
  const controls = byId('curves-controls');
  addView(['study', 'curve', 'axis', 'bandsLog'], byId('curves'), () => {
    if (controls.contains(document.activeElement)) return;
    const study = current();
    fill(controls, select('curve', curveNames(study).map(name => [name, curveWords(name)]), chosenCurve(study), curve => set({curve})),
      select('against', Object.entries(AXIS_WORDS), state.axis, axis => set({axis})),
      toggle('log', state.bandsLog, bandsLog => set({bandsLog})), chartButtons('curves-chart', 'curves'));
  });
}
