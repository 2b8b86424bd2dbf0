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

const chosenCurve = study => (curveNames(study).includes(state.curve) ? state.curve : curveNames(study)[0]);

const CURVE_WORDS = {'val/bits_per_dim': 'validation bits/dim', 'val/nll': 'validation NLL (nats per dimension)', 'val/loss': 'validation loss (of each model its own)',
  'val/energy_distance': 'validation energy distance', 'train/loss': 'training loss (of each model its own)'};
const curveWords = name => CURVE_WORDS[name] || name || '';

const LIKELIHOOD_CURVES = ['val/bits_per_dim', 'val/nll'];

// Return the kind of a row's values in a curve: that of its likelihood if the curve is one; empty otherwise.
function curveKind(row, curve) {
  if (!LIKELIHOOD_CURVES.includes(curve)) return '';
  const column = columnOf(row.study, curve.replace('val/', ''));
  const kind = (column && column.kind[row.index]) || row.study.helper.rows[row.index].kind;
  return KINDS.includes(kind) ? kind : '';
}

// Return the last values of the lines in words: the least first, within each kind of likelihood alone. Losses that each
// model defines for itself have no order.
function endsText(ends, curve) {
  const told = some => some.map(end => `${end.row.name} ${markedValue(end.kind, number(end.y))}`).join(', '), ranked = some => [...some].sort((a, b) => a.y - b.y);
  if (curve.endsWith('/loss')) return `At the end, of each its own loss and so in no order: ${told(ends)}.`;
  const kinds = [...KINDS, ''].filter(kind => ends.some(end => end.kind === kind)), of = kind => told(ranked(ends.filter(end => end.kind === kind)));
  if (kinds.length === 1) return `At the end: ${of(kinds[0])}.`;
  return `At the end, each kind of likelihood by itself: ${kinds.map(kind => `${kind ? KIND_WORDS[kind].split(':')[0] : 'of unknown kind'}: ${of(kind)}`).join('; ')}.`;
}

// Return in words which rows have no line, and why.
function withoutLine(rows, curve, axis) {
  const reasons = new Map();
  for (const row of rows) {
    const names = [...new Set(row.runs.flatMap(run => Object.keys(SERIES[run].curves || {})))], validation = names.filter(name => name.startsWith('val/'));
    const why = !names.length ? 'no curve was kept' : names.includes(curve) ? `${AXIS_WORDS[axis]} are not recorded` : `logged ${(validation.length ? validation : names).map(name => curveWords(name).replace(/ \(.*/, '')).join(' and ')}`;
    reasons.set(why, [...(reasons.get(why) || []), row.name]);
  }
  return reasons.size ? ` Without a line: ${[...reasons].map(([why, names]) => `${names.slice(0, 8).join(', ')}${names.length > 8 ? ` and ${names.length - 8} more` : ''} (${why})`).join('; ')}.` : '';
}

// Return the threshold that the reader has given; null without a number.
const threshold = () => (state.reach.trim() === '' || !Number.isFinite(Number(state.reach)) ? null : Number(state.reach));

// Return where the mean of a band is first at most a limit, at one of its points; null where it never is.
function reached(one, limit) {
  const at = one.mean.findIndex(value => value <= limit);
  return at < 0 ? null : one.x[at];
}

// Return in words when the mean of each line first reaches the threshold, the fastest first.
function reachText(drawn, curve, axis, limit) {
  const name = row => markedName(curveKind(row, curve), row.name), found = drawn.map(([row, one]) => [row, reached(one, limit)]);
  const told = found.filter(([, x]) => x !== null).sort((a, b) => a[1] - b[1]).map(([row, x]) => `${name(row)} ${number(x)}`), never = found.filter(([, x]) => x === null).map(([row]) => name(row));
  return ` The mean is first at most ${number(limit)} after, in ${AXIS_WORDS[axis]}: ${told.join(', ') || 'none'}.${never.length ? ` Never: ${never.join(', ')}.` : ''}${curve.endsWith('/loss') ? ' Each model has its own loss, so these do not compare.' : ''}`;
}

function drawCurves() {
  const study = current(), curve = chosenCurve(study), axis = state.axis, limit = threshold();
  const found = visible().map(row => [row, curve && band(row, curve, axis)]), all = found.filter(([, one]) => one);
  const first = all.filter(([row]) => state.pins.includes(row.id));
  const drawn = [...first, ...all.filter(([row]) => !state.pins.includes(row.id))].slice(0, LINES);
  const missing = withoutLine(found.filter(([, one]) => !one).map(([row]) => row), curve, axis);
  const traces = drawn.flatMap(([row, one]) => {
    const edge = {type: 'scatter', mode: 'lines', x: one.x, line: {width: 0}, hoverinfo: 'skip', showlegend: false};
    const line = {type: 'scatter', x: one.x, y: one.mean, name: escapeLabel(markedName(curveKind(row, curve), row.name)), ...lineLook(row, state.pins.includes(row.id) ? 3 : 1.8),
      hovertemplate: `${escapeLabel(row.name)}<br>%{x:,.4g}: ${markedValue(curveKind(row, curve), '%{y:.4g}')}<br>mean of ${count(one.seeds, 'seed')}<extra></extra>`};
    return one.seeds > 1 ? [{...edge, y: one.low}, {...edge, y: one.high, fill: 'tonexty', fillcolor: faint(familyColour(row.family), 0.16)}, line] : [line];
  });
  const log = state.bandsLog && drawn.every(([, one]) => one.low.every(value => value > 0)), across = axis === 'flops';
  const ends = drawn.map(([row, one]) => ({row, kind: curveKind(row, curve), name: markedName(curveKind(row, curve), row.name), x: one.x.at(-1), y: one.mean.at(-1), colour: familyColour(row.family)}));
  const shown = drawn.length ? focusRange(drawn, log) : {range: [0, 1], above: []};
  const finding = drawn.length ? `${curveWords(curve)} against ${AXIS_WORDS[axis]}: mean, and least to largest of the seeds. ${drawn.length < all.length ? `${drawn.length} of ${all.length} configurations drawn, the pinned first; filter or pin others. ` : ''}` +
    `${endsText(ends, curve)}${limit === null ? '' : reachText(drawn, curve, axis, limit)}${missing}` +
    (shown.above.length ? ` Above the frame at first: ${shown.above.join(', ')}; “whole” shows all.` : '') : `No visible row has this curve on this axis.${missing}`;
  const height = narrow() ? 360 : 440, margin = {l: 60, r: narrow() ? 16 : roomFor(ends.map(end => end.name)), t: 8, b: 48};
  const x = {log: across, range: drawn.length ? rangeOf(drawn.flatMap(([, one]) => [one.x[0], one.x.at(-1)]).filter(value => !across || value > 0), across, 0.01) : [0, 1]}, y = {log, range: shown.range};
  plot('curves-chart', traces, {height, margin, xaxis: {...axisLook(AXIS_WORDS[axis], across), range: x.range}, yaxis: {...axisLook(escapeLabel(curveWords(curve)), log), range: y.range}, showlegend: narrow() && drawn.length > 0,
    shapes: limit === null || (log && limit <= 0) ? [] : [{type: 'line', xref: 'paper', x0: 0, x1: 1, y0: limit, y1: limit, line: {color: colour('dim'), dash: 'dot', width: 1}}],
    annotations: narrow() ? [] : endLabels(ends, frameOf('curves-chart', x, y, margin, height), x, y)}, finding);
}

// Return the range upwards that every line ends in, and most of what it does after its first tenth: a start far away, or
// a run that diverged, would flatten the rest. `above` names the lines that begin above it.
function focusRange(drawn, log) {
  const tenth = values => values[Math.floor(values.length / 10)], scale = value => (log ? Math.log10(value) : value);
  const low = Math.min(...drawn.map(([, one]) => scale(Math.min(...one.low)))), tops = drawn.map(([, one]) => scale(tenth(one.high))), ends = drawn.map(([, one]) => scale(one.mean.at(-1)));
  const high = Math.max(...ends, Math.min(Math.max(...tops), low + 2 * (median(tops) - low))), room = 0.05 * (high - low || 1);
  return {range: [low - room, high + room], above: drawn.filter(([, one]) => scale(tenth(one.mean)) > high + room).map(([row]) => row.name)};
}

function startCurves() {
  addView([...FILTERS, 'curve', 'axis', 'bandsLog', 'reach'], byId('curves'), drawCurves, true);
  const controls = byId('curves-controls');
  addView(['study', 'curve', 'axis', 'bandsLog', 'reach'], byId('curves'), () => {
    if (controls.contains(document.activeElement)) return;
    const study = current();
    fill(controls, select('curve', curveNames(study).map(name => [name, curveWords(name)]), chosenCurve(study), curve => set({curve})),
      select('against', Object.entries(AXIS_WORDS), state.axis, axis => set({axis})),
      toggle('log', state.bandsLog, bandsLog => set({bandsLog})),
      el('label', {class: 'field'}, el('span', {}, 'time to reach τ ='), el('input', {type: 'number', step: 'any', value: state.reach, placeholder: 'value', onchange: event => set({reach: event.target.value})})), chartButtons('curves-chart', 'curves'));
  });
}
