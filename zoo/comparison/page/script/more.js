// Scaling, stability over seeds, data sets of known density, and the calibration of sharpness.

const SCALES = {  // of the scaling chart: [as a choice, what rises, its unit, against what, sizes of what]
  batch: ['seconds against batch size', 'seconds of a call', 's', 'batch size', 'batch sizes'],
  dimensions: ['latency against dimensions', 'latency of one sample, seconds', 's', 'dimensions of the data', 'numbers of dimensions'],
  evaluations: ['evaluations against dimensions', 'sequential evaluations of one sample', 'evaluations', 'dimensions of the data', 'numbers of dimensions'],
};

// Return {points: [size, mean], seeds: [size, value] of each seed} of a row by the chosen scale: against batch sizes, or against
// dimensions over related data; null without two sizes.
function scalingOf(row) {
  if (state.scale === 'batch') {
    const batches = Object.entries(row.study.batches[row.index]).map(([batch, seconds]) => [Number(batch), seconds]);
    const seeds = [...Array(row.finished).keys()].map(seed => batches.map(([batch, seconds]) => [batch, seconds[seed]]).filter(([, value]) => value !== null));
    return batches.length > 1 ? {points: batches.map(([batch, seconds]) => [batch, mean(known(seconds))]), seeds, trained: null} : null;
  }
  const root = row.study.data.split(':')[0], found = [], deep = state.scale === 'evaluations';
  for (const study of DATA.studies) {
    const shape = study.about?.shape, column = columnOf(study, deep ? 'sequential evaluations' : 'latency');
    const other = study.data.split(':')[0] === root && standing(study, row.model), value = column && other ? column.value[other.index] : null;
    if (shape && value !== null) found.push({size: shape.reduce((a, b) => a * b, 1), value: deep ? value : value / 1000, trained: settingsOf(other)['training.updates'], protocol: study.protocol});
  }
  return alike(found);
}

// Return the points of the one training budget and protocol that has most sizes, one of each size; null if that is one size.
function alike(found) {
  const same = (one, other) => one.trained === other.trained && one.protocol === other.protocol;
  const peers = found.map(one => found.filter(other => same(one, other))), sizes = of => new Set(of.map(one => one.size)).size;
  const usual = peers.reduce((best, of) => (sizes(of) > sizes(best) ? of : best), []), points = new Map(usual.map(one => [one.size, one.value]));
  return points.size > 1 ? {points: [...points].sort((a, b) => a[0] - b[0]), seeds: [], trained: usual[0].trained} : null;
}

// Return the slope of logarithms with its 95 % interval: over seeds where three or more have three sizes, else of the line
// through three or more sizes; null for fewer.
function riseOf({points, seeds}) {
  const fit = pairs => slope(pairs.map(pair => Math.log(pair[0])), pairs.map(pair => Math.log(pair[1])));
  const rises = seeds.map(fit).filter(one => one !== null).map(one => one.rise);
  if (rises.length < 3) return fit(points);
  const rise = mean(rises), reach = tQuantile(rises.length - 1) * deviation(rises) / Math.sqrt(rises.length);
  return {rise, low: rise - reach, high: rise + reach};
}

const riseText = fit => `${fit.rise.toFixed(2)} [${fit.low.toFixed(2)}, ${fit.high.toFixed(2)}]`;

function drawScaling() {
  const scale = SCALES[state.scale] || SCALES.batch, unit = scale[2];
  const candidates = visible().filter(row => row.stands || state.pins.includes(row.id)), all = candidates.map(row => [row, scalingOf(row)]).filter(([, found]) => found);
  const told = all.slice(0, 2 * LINES).map(([row, found]) => [row, found.points, riseOf(found)]).map(([row, points, fit]) => [row, points, fit ? riseText(fit) : '', fit]);
  const label = (row, words) => (words ? `${row.name}, slope ${words}` : row.name), ends = told.map(([row, points, words]) => ({name: label(row, words), x: points.at(-1)[0], y: points.at(-1)[1], colour: familyColour(row.family)}));
  const traces = told.map(([row, points, words]) => ({type: 'scatter', x: points.map(p => p[0]), y: points.map(p => p[1]), name: escapeLabel(label(row, words)), ...lineLook(row),
    hovertemplate: `${escapeLabel(row.name)}<br>%{x}: %{y:.3g} ${unit}<br>${words ? `slope ${words}` : 'fewer than three sizes'}<extra></extra>`}));
  const [, rises, , what, sizes] = scale;
  const names = rows => rows.map(([row]) => row.name).join(', '), vague = told.filter(([, , , fit]) => fit && fit.low <= 0 && fit.high >= 1), short = told.filter(([, , , fit]) => !fit);
  const slopes = told.filter(one => one[3] && !vague.includes(one)), missing = candidates.filter(row => !all.some(([one]) => one === row)).map(row => row.name);
  const budgets = [...new Set(all.map(([, found]) => found.trained).filter(Boolean))];
  const finding = told.length ? `${rises[0].toUpperCase()}${rises.slice(1)} against ${what}, both logarithmic; a slope of 1 means proportional, 0 free. ` +
    (slopes.length ? `Slopes with 95 % intervals${scale === SCALES.batch ? ' (over seeds where there are three)' : ' (of one line through the sizes)'}: ${slopes.map(([row, , words]) => `${row.name} ${words}`).join(', ')}. ` : '') +
    (vague.length ? `Anything from free to proportional: ${names(vague)}. ` : '') + (short.length ? `Fewer than three sizes: ${names(short)}. ` : '') + (budgets.length ? `Runs of ${budgets.join(' or ')} updates. ` : '') +
    (missing.length ? `Not measured at several ${sizes}: ${missing.join(', ')}. ` : '') + (told.length < all.length ? `${told.length} of ${all.length} drawn.` : '') : `No visible row was measured at several ${sizes}.`;
  const height = narrow() ? 460 : 520, margin = {l: 60, r: narrow() ? 16 : roomFor(ends.map(end => end.name)), t: 8, b: 48}, points = told.flatMap(([, found]) => found);
  const x = {log: true, range: points.length ? rangeOf(points.map(p => p[0]), true, 0.03) : [0, 1]}, y = {log: true, range: points.length ? rangeOf(points.map(p => p[1]), true) : [0, 1]};
  plot('scaling-chart', traces, {height, margin, xaxis: {...axisLook(what, true), range: x.range}, yaxis: {...axisLook(rises, true), range: y.range}, showlegend: narrow(),
    annotations: narrow() ? [] : endLabels(ends, frameOf('scaling-chart', x, y, margin, height), x, y)}, finding);
}

// Return in words which of some rows have lost runs, those that diverged, failed or collapsed, as Python counted them.
function lostText(rows) {
  const lost = rows.filter(row => lostOf(row).total), told = row => `${lostOf(row).total} of ${count(lostOf(row).runs, 'run')} of ${row.name} (${lostOf(row).how})`;
  return lost.length ? `Lost: ${lost.slice(0, 12).map(told).join(', ')}${lost.length > 12 ? ` and runs of ${lost.length - 12} more` : ''}.` : 'No run of these was lost.';
}

const STRIPS = 40;         // most rows of the chart of stability

function drawStability() {
  const study = current(), column = columnOf(study, state.strip) || columnOf(study, study.quality) || study.columns[0];
  const all = rowsOf(study), chosen = visible(), measured = chosen.filter(row => column && seedValues(column, row).length), rows = measured.slice(0, STRIPS);
  const points = rows.flatMap((row, place) => seedValues(column, row).map((value, i) => ({row, place, value, shift: (i % 5 - 2) * 0.11})));
  const log = points.length > 0 && points.every(point => point.value > 0) && !column.likelihood;
  const kind = row => (column.likelihood ? column.kind[row.index] : '');
  const trace = {type: 'scatter', mode: 'markers', x: points.map(point => point.value), y: points.map(point => point.place + point.shift),
    marker: {color: points.map(point => familyColour(point.row.family)), size: 8, opacity: 0.75}, hovertext: points.map(point => escapeLabel(`${point.row.name}: ${markedValue(kind(point.row), number(point.value))}`)), hovertemplate: '%{hovertext}<extra></extra>'};
  const spread = rows.map(row => [row, seedValues(column, row)]).filter(([, values]) => values.length > 1 && Math.min(...values) > 0).map(([row, values]) => [row.name, Math.max(...values) / Math.min(...values)]).sort((a, b) => b[1] - a[1]);
  const lost = row => (narrow() ? ` (${lostOf(row).total}/${lostOf(row).runs} lost)` : ` (${lostOf(row).how} of ${lostOf(row).runs})`);
  const label = row => markedName(kind(row), cut(row.name, narrow() ? (lostOf(row).total ? 100 : 150) : 300)) + (lostOf(row).total ? lost(row) : '');
  const filtered = all.filter(row => !chosen.includes(row)), among = filtered.filter(row => lostOf(row).total).length;
  const absent = [[filtered.length, `left out by the filters, ${among} of them with lost runs`], [chosen.length - measured.length, 'without a value'], [measured.length - rows.length, 'too many to draw']].filter(([n]) => n).map(([n, why]) => `${n} ${why}`);
  plot('stability-chart', points.length ? [trace] : [], {xaxis: {...axisLook(column ? (narrow() ? escapeLabel(column.heading) : axisTitle(column)) : '', log)}, height: Math.max(260, 60 + 24 * rows.length), margin: {l: 8, r: 16, t: 8, b: 48},
    yaxis: {...axisLook(''), tickvals: rows.map((_, place) => place), ticktext: rows.map(row => escapeLabel(label(row))), range: [rows.length - 0.5, -0.5]}},
  points.length ? `${column.heading}: every seed that has a value, of ${rows.length} of ${count(all.length, 'configuration')}${absent.length ? ` (${absent.join('; ')})` : ''}. ${spread.length ? `Widest over seeds: ${spread.slice(0, 3).map(([name, ratio]) => `${name} ×${general(ratio, 2)}`).join(', ')}. ` : 'One seed each: no spread to see. '}${lostText(chosen)}` : 'No visible row has seeds of this column.');
}

// Return {row, values: divergence by data set, rows: whose it is, tried: the data sets it was run on} of each model on the
// data sets whose density is known. A model that was run without a value, as one that diverged, has tried and fails.
function divergences() {
  const found = new Map();
  for (const study of DATA.studies) {
    const column = columnOf(study, 'kl');
    if (!column) continue;
    for (const row of visible(study).filter(one => one.stands)) {
      const of = found.get(row.model) || {row, values: new Map(), rows: new Map(), tried: new Set()}, value = column.value[row.index];
      found.set(row.model, of);
      of.tried.add(study.label);
      if (value === null || value >= of.values.get(study.label)) continue;
      of.values.set(study.label, value);
      of.rows.set(study.label, row);
    }
  }
  return [...found.values()].filter(one => one.values.size);
}

// Each model is a step line that rises at each of its data sets, with a marker there and its name beside one of them. What
// it was not run on is left out of its share.
function drawProfile() {
  const found = divergences(), data = [...new Set(found.flatMap(one => [...one.values.keys()]))], low = -3, high = 1;
  const shares = found.map(one => ({...one, name: nameOn(one), share: [...one.values.values()].filter(value => value <= state.tau).length / one.tried.size,
    steps: [...one.values].sort((a, b) => a[1] - b[1]).map(([name, value], i) => [Math.max(10 ** low, value), (i + 1) / one.tried.size, `${name}: KL ${markedValue(kindOn(one, name), number(value))}`])}));
  const unrun = tried => { const names = data.filter(name => !tried.has(name)); return names.length ? ` (not run on ${names.length > 3 ? `${names.length} of them` : names.join(', ')})` : ''; };
  shares.sort((a, b) => b.share - a.share || b.tried.size - a.tried.size || median([...a.values.values()]) - median([...b.values.values()]));
  const height = narrow() ? 420 : 520, margin = {l: 60, r: narrow() ? 16 : 60 + roomFor(shares.map(({name}) => name)), t: 8, b: 48}, x = {log: true, range: [low, high]}, y = {log: false, range: [-0.02, 1.05]}, frame = frameOf('profile-chart', x, y, margin, height);
  const traces = shares.map(({row, name, steps, tried}) => {
    const look = lineLook(row, 1.6), inside = steps.filter(([value]) => value <= 10 ** high);
    return {type: 'scatter', ...look, x: [10 ** low, ...inside.map(step => step[0]), 10 ** high], y: [0, ...inside.map(step => step[1]), inside.length / tried.size],
      line: {...look.line, shape: 'hv'}, marker: {...look.marker, maxdisplayed: 0, size: [0, ...inside.map(() => 8), 0]}, name: escapeLabel(name),
      text: ['', ...inside.map(step => escapeLabel(step[2])), ''], hovertemplate: `${escapeLabel(row.model)}<br>%{text}<br>%{y:.0%} of its ${count(tried.size, 'data set')}<extra></extra>`};
  });
  const obstacles = shares.flatMap(({steps, tried}) => steps.flatMap(([value, share], i) => {
    const px = frame.x(value), py = frame.y(share), before = frame.y(i / tried.size), next = i + 1 < steps.length ? frame.x(steps[i + 1][0]) : px + 60;
    return [[px - 5, py - 5, px + 5, py + 5], [px - 1, py, px + 1, before], [px, py - 1, next, py + 1]];
  }));
  const named = shares.map(({name, steps}) => ({name, points: steps.filter(([value]) => value < 10 ** high)}));
  plot('profile-chart', data.length > 1 ? traces : [], {height, margin, xaxis: {...axisLook('τ, nats', true), range: x.range}, yaxis: {...axisLook('share of its data sets with KL ≤ τ'), range: y.range, tickformat: '.0%'}, showlegend: true, ...(narrow() ? {} : {legend: {orientation: 'v', x: 1.01, y: 1, font: {size: 12}}}),
    annotations: narrow() ? [] : placeLabels(named, obstacles, frame, x, y),
    shapes: [{type: 'line', x0: state.tau, x1: state.tau, y0: 0, y1: 1, line: {color: colour('dim'), dash: 'dot', width: 1}}]},
  `Of ${data.length} data sets of known density, the share of those a model was run on where the divergence is at most ${number(state.tau)} nats: ${shares.map(({name, share, tried}) => `${name} ${(100 * share).toFixed(0)} %${unrun(tried)}`).join(', ')}. An estimate (≈) is ranked among estimates alone.`);
}

// Return the kind of likelihood of a model's divergence on a data set.
const kindOn = (one, name) => cellOf(columnOf(one.rows.get(name).study, 'kl'), one.rows.get(name)).kind;

// Return the name of a model with the mark of the kind that its divergences have, as on its first data set.
const nameOn = one => markedName(kindOn(one, [...one.values.keys()][0]), one.row.model);

// Return the models of the profile, the largest share of its data sets within τ first, each with its places among those of its kind of likelihood.
function placed(found) {
  const within = one => [...one.values.values()].filter(value => value <= state.tau).length;
  const ranks = one => new Map([...one.values].map(([name, value]) => {
    const peers = found.filter(other => other.values.has(name) && kindOn(other, name) === kindOn(one, name)).map(other => other.values.get(name));
    return [name, [1 + peers.filter(peer => peer < value).length, peers.length]];
  }));
  return found.map(one => {
    const place = ranks(one);
    return {...one, within: within(one), place, average: mean([...place.values()].map(([rank]) => rank))};
  }).sort((a, b) => b.within / b.tried.size - a.within / a.tried.size || b.tried.size - a.tried.size || a.average - b.average);
}

// The divergence of each model on each data set, with its place there. A cell opens the number's origin in its own study.
function drawPlaces() {
  const found = divergences(), data = [...new Set(found.flatMap(one => [...one.values.keys()]))], head = words => el('th', {scope: 'col'}, words);
  const cell = (one, name) => {
    const row = one.rows.get(name);
    if (!row) return el('td', {'data-label': name, class: 'dim'}, one.tried.has(name) ? 'no value' : 'not run');
    const {text, letters, n} = cellOf(columnOf(row.study, 'kl'), row), place = one.place.get(name).join(' of '), near = one.values.get(name) <= state.tau;
    return el('td', {'data-label': name, class: near ? 'within' : null},
      el('button', {type: 'button', class: 'cell', 'aria-haspopup': 'dialog', 'aria-label': `${row.name} on ${name}: ${text} nats, place ${place}${near ? ', within τ' : ''}`,
        title: `${count(n, 'seed')} of ${row.name}`, onclick: () => set({study: row.study.id, open: `${row.id}|kl`})}, text, letters ? el('sup', {class: 'letters'}, letters) : null),
      el('span', {class: 'delta'}, `place ${place}`));
  };
  const rows = placed(found).map(one => el('tr', {}, el('th', {scope: 'row', class: 'name'}, el('span', {class: 'namebox'}, swatch(one.row.family), nameOn(one))),
    el('td', {'data-label': 'within τ'}, `${one.within} of ${one.tried.size}`), el('td', {'data-label': 'mean place'}, `${one.average.toFixed(1)} (${count(one.place.size, 'data set')})`), data.map(name => cell(one, name))));
  fill(byId('profile-box'), el('details', {open: !narrow()}, el('summary', {}, 'The divergence in nats, and its place among the models of the same kind of likelihood'), followEdge(el('div', {class: 'scroll'}, el('table', {class: 'main places'}, el('caption', {class: 'hidden'}, 'Divergence in nats of each model on each data set'),
    el('thead', {}, el('tr', {}, head('model'), head('within τ'), head('mean place'), data.map(name => head(name)))), el('tbody', {}, rows)))),
  el('p', {class: 'finding'}, 'A bar marks what lies within τ. A place orders the numbers alone; what is sure, the letters tell, and one seed has none. A number opens its origin.')));
}

// Return how far an axis goes for most of some values: to twice their 80 % quantile, or to the largest if that is nearer.
// What lies beyond is drawn at the edge, so that one value does not flatten the others.
function reachOf(values, least) {
  const sorted = [...values].sort((a, b) => a - b), usual = Math.max(sorted[Math.floor(0.8 * (sorted.length - 1))] ?? 0, least);
  return Math.min(2 * usual, Math.max(1.1 * (sorted.at(-1) ?? 0), usual));
}

// Return the label of an arrow at the edge: towards the middle of the chart, below those of arrows that are near.
function besideArrow(label, right, reach, others) {
  const near = others.filter(other => Math.abs(other.x - label.x) < 0.3 * reach && Math.abs(other.y - label.y) < 0.1).length, inwards = label.x > reach / 2;
  return {...label, showarrow: false, font: {size: LABEL}, xanchor: inwards ? 'right' : 'left', yanchor: 'middle', xshift: right ? -12 : 0, yshift: -(LABEL + 4) * (right ? near : near + 1)};
}

function drawSharpness() {
  const one = current().sharpness;
  byId('sharpness').hidden = !one;
  if (!one) return;
  const rows = visible().filter(row => one.blur[row.index].length);
  const drawn = rows.slice(0, 40), markers = markersOf(drawn), ends = {x: reachOf(drawn.map(row => mean(one.blur[row.index])), one.unseen ?? 0.3), y: reachOf(drawn.map(row => columnOf(row.study, 'sharpness').value[row.index]), 1)};
  const near = one.sigma.map((_, i) => i).filter(i => i === 0 || one.sigma[i - 1] <= ends.x), arrows = [];
  const traces = [{type: 'scatter', mode: 'lines', x: near.map(i => one.sigma[i]), y: near.map(i => one.value[i]), line: {color: colour('ink'), width: 1.5}, name: 'real images, blurred', hovertemplate: 'blur %{x} px: sharpness %{y:.3g}<extra></extra>'}];
  drawn.forEach(row => {
    const values = one.blur[row.index], blur = mean(values), sharp = columnOf(row.study, 'sharpness').value[row.index];
    const right = blur > ends.x, up = sharp > ends.y, x = right ? ends.x : blur, y = up ? ends.y : sharp;
    if (right || up) arrows.push(besideArrow({x, y: Math.log10(y), text: escapeLabel(`${row.name}: ${right ? `${general(blur, 3)} px` : general(sharp, 3)}`)}, right, ends.x, arrows));
    traces.push({type: 'scatter', mode: 'markers', x: [x], y: [y], name: escapeLabel(row.name), marker: {color: familyColour(row.family), symbol: right ? 'arrow-right' : up ? 'arrow-up' : markers.get(row), size: 10, line: {width: 1, color: markers.get(row).includes('open') ? familyColour(row.family) : colour('ink')}},
      error_x: values.length > 1 && !right ? {type: 'data', array: [deviation(values)], thickness: 1, width: 0} : undefined, hovertemplate: `${escapeLabel(row.name)}<br>sharpness ${number(sharp)}, as sharp as real images blurred by ${blur.toFixed(2)} px<extra></extra>`});
  });
  const told = rows.map(row => [row.name, mean(one.blur[row.index])]).sort((a, b) => b[1] - a[1]);
  plot('sharpness-chart', traces, {xaxis: {...axisLook('blur of real images, px (standard deviation)'), range: [-0.06 * ends.x, 1.04 * ends.x]}, yaxis: axisLook('sharpness', true), annotations: arrows, showlegend: true, ...(narrow() ? {} : {height: Math.max(440, 60 + 20 * traces.length), legend: {orientation: 'v', x: 1.01, y: 1, font: {size: 12}}})},
    `How blurred real images must be to be as unsharp as the samples${one.unseen ? `; less than ${one.unseen} px cannot be seen` : ''}. Most blurred: ${told.slice(0, 4).map(([name, blur]) => `${name} ${blur.toFixed(2)} px`).join(', ')}.${arrows.length ? ` Beyond the edge, with an arrow and the value: ${count(arrows.length, 'model')}.` : ''}`);
}

function drawTuning() {
  const efforts = current().tuning || [];
  if (!efforts.length) return;
  const column = columnOf(current(), current().criterion), log = efforts.every(effort => [...effort.expected, ...effort.low, ...effort.high].every(value => value === null || value > 0));
  const traces = efforts.flatMap(effort => {
    const paint = familyColour(effort.family), sure = Math.floor(effort.n / 4), name = escapeLabel(`${effortName(effort)} (${effort.n} configurations, chosen by ${effort.selected_on})`);
    const banded = effort.k.map((_, i) => i).filter(i => effort.low[i] !== null), edge = {type: 'scatter', mode: 'lines', x: banded.map(i => effort.k[i]), line: {width: 0}, hoverinfo: 'skip', showlegend: false};
    const line = (from, to, dash, legend) => ({type: 'scatter', mode: 'lines+markers', x: effort.k.slice(from, to), y: effort.expected.slice(from, to), name, showlegend: legend, line: {color: paint, width: 2, dash}, marker: {size: 4}, hovertemplate: `${escapeLabel(effortName(effort))}<br>best of %{x}: %{y:.3g}<extra></extra>`});
    return [...(banded.length ? [{...edge, y: banded.map(i => effort.low[i])}, {...edge, y: banded.map(i => effort.high[i]), fill: 'tonexty', fillcolor: faint(paint, 0.14)}] : []),
      ...(sure ? [line(0, sure, 'solid', true)] : []), line(Math.max(0, sure - 1), effort.k.length, 'dash', !sure)];
  });
  const at = efforts.filter(effort => effort.k.includes(state.budget)).map(effort => [effortName(effort), effort.expected[effort.k.indexOf(state.budget)], KINDS.indexOf(effort.kind)]).sort((a, b) => a[2] - b[2] || a[1] - b[1]);
  plot('tuning-chart', traces, {xaxis: axisLook('configurations tried, k'), yaxis: axisLook(`expected best ${escapeLabel(column?.heading || current().criterion)}`, log), showlegend: true,
    shapes: [{type: 'line', x0: state.budget, x1: state.budget, yref: 'paper', y0: 0, y1: 1, line: {color: colour('dim'), dash: 'dot', width: 1}}]},
  `After ${count(state.budget, 'configuration')}: ${at.map(([family, value]) => `${family} ${number(value)}`).join(', ') || 'no family was run that often'}. ${turns(efforts)} ${withoutEffort(current())}The configurations are those that were run, not a random search: read it as an illustration unless a sweep drew them at random.`);
}

// Return the family of a curve with the mark of its kind of likelihood, where that judges the models.
const effortName = effort => markedName(effort.kind, effort.family);

// Return between which families, of one kind of likelihood where that judges them, the order turns with k: surely, where
// both bands exclude each other at both ends, or by the lines alone, at the first k at which one passes the other.
function turns(efforts) {
  const sure = [], unsure = [];
  for (const a of efforts) for (const b of efforts) {
    if (a.kind !== b.kind) continue;
    const shared = [...Array(Math.min(a.k.length, b.k.length)).keys()];
    const below = (one, other, i) => one.high[i] !== null && other.low[i] !== null && one.high[i] < other.low[i];
    const first = shared.find(i => below(a, b, i)), later = shared.find(i => first !== undefined && i > first && below(b, a, i));
    if (later !== undefined) { sure.push(`${effortName(a)} leads at k = ${a.k[first]}, ${effortName(b)} from k = ${b.k[later]}`); continue; }
    const passed = shared.find(i => i > 0 && a.expected[i - 1] <= b.expected[i - 1] && a.expected[i] > b.expected[i]);
    if (passed !== undefined) unsure.push(`${effortName(b)} passes ${effortName(a)} at k = ${a.k[passed]}, ${a.high[passed] === null || b.high[passed] === null ? 'where not both have a band' : 'within the bands'}`);
  }
  return (sure.length ? `The order turns: ${sure.join('; ')}. ` : 'No turn of the order is sure within the bands. ') +
    (unsure.length ? `By the lines alone, so not sure: ${unsure.join('; ')}.` : sure.length ? '' : 'No line passes another.');
}

const LEAST_CONFIGURATIONS = 4;  // of a family for a curve, as in zoo/comparison/tuning.py

// Return in words which families of a study have no curve, and why.
function withoutEffort(study) {
  const column = columnOf(study, study.criterion), kind = row => (column?.likelihood && column.kind[row.index]) || '';
  const isDrawn = row => study.tuning.some(effort => effort.family === row.family && (!kind(row) || (effort.kind || '') === kind(row)));
  const rows = rowsOf(study).filter(row => !isDrawn(row)).map(row => markedName(kind(row), row.family));
  const told = [...new Set(rows)].map(name => `${name} (${count(rows.filter(other => other === name).length, 'configuration')})`);
  return told.length ? `Without a line, which takes ${LEAST_CONFIGURATIONS} configurations that were judged: ${told.join(', ')}. ` : '';
}

function startMore() {
  addView(['study', 'budget'], byId('tuning'), drawTuning, true);
  addView(['study'], byId('tuning'), () => {
    const efforts = current().tuning || [], most = Math.max(1, ...efforts.map(effort => effort.k.length));
    byId('tuning').hidden = !efforts.length;
    fill(byId('tuning-controls'), el('label', {class: 'field'}, el('span', {}, 'k'), el('input', {type: 'range', min: 1, max: most, step: 1, value: state.budget, oninput: event => set({budget: Number(event.target.value)})})), chartButtons('tuning-chart', 'tuning'));
  });
  addView([...FILTERS, 'scale'], byId('scaling'), drawScaling, true);
  addView([...FILTERS, 'strip'], byId('stability'), drawStability, true);
  addView([...FILTERS, 'guard'], byId('sharpness'), drawSharpness, true);
  addView(['study'], byId('sharpness'), () => { byId('sharpness').hidden = !current().sharpness; });
  const several = DATA.studies.filter(study => columnOf(study, 'kl')).length > 1;
  byId('profile').hidden = !several;
  if (several) {
    addView([...FILTERS, 'tau'], byId('profile'), drawProfile, true);
    addView([...FILTERS, 'tau'], byId('profile'), drawPlaces, true);
    addView(['tau'], byId('profile'), () => {
      if (byId('profile-controls').contains(document.activeElement)) return;
      const slider = el('input', {type: 'range', min: -3, max: 1, step: 0.05, value: Math.log10(state.tau), oninput: event => set({tau: Number((10 ** Number(event.target.value)).toPrecision(3))})});
      fill(byId('profile-controls'), el('label', {class: 'field'}, el('span', {}, 'τ'), slider), chartButtons('profile-chart', 'profile'));
    });
  }
  addView(['scale'], byId('scaling'), () => {
    if (byId('scaling-controls').contains(document.activeElement)) return;
    fill(byId('scaling-controls'), select('what', Object.entries(SCALES).map(([key, [words]]) => [key, words]), state.scale, scale => set({scale})), chartButtons('scaling-chart', 'scaling'));
  });
  fill(byId('sharpness-controls'), chartButtons('sharpness-chart', 'sharpness'));
  addView(['study', 'strip'], byId('stability'), () => {
    const study = current(), options = study.columns.filter(column => column.seeds).map(column => [column.key, column.heading]);
    if (byId('stability-controls').contains(document.activeElement)) return;
    fill(byId('stability-controls'), select('value', options, columnOf(study, state.strip) ? state.strip : study.quality || options[0]?.[0], strip => set({strip})), chartButtons('stability-chart', 'stability'));
  });
}
