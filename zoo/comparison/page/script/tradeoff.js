// Quality against cost: choosable axes, errors over seeds, the front and its thickness.

const THICKNESS = 1.25;    // costs within this factor count as equal: they differ with the load of the machine

const scatterColumns = study => study.columns.filter(column => column.ranked || ['cost', 'sampling'].includes(column.group));
const quality = study => state.y && columnOf(study, state.y) ? state.y : study.quality || study.columns[0]?.key;
const costs = study => columnOf(study, state.x) ? state.x : study.columns.find(column => column.group === 'sampling')?.key || study.columns[0]?.key;

// Return the rows that no other row is better than in both axes, kinds kept apart, collapsed rows left out.
function front(rows, x, y) {
  const point = row => [loss(x.value[row.index], x.direction === 'none' ? 'lower' : x.direction), loss(y.value[row.index], y.direction === 'none' ? 'lower' : y.direction)];
  const kind = row => (x.likelihood ? x.kind[row.index] : '') + (y.likelihood ? y.kind[row.index] : '');
  const alive = rows.filter(row => !collapsed(row) && !x.odd[row.index] && !y.odd[row.index]);
  return alive.filter(row => {
    const [a, b] = point(row);
    return !alive.some(other => {
      if (other === row || kind(other) !== kind(row)) return false;
      const [c, d] = point(other);
      return c <= a && d <= b && (c < a || d < b);
    });
  });
}

function drawTradeoff() {
  const study = current(), x = columnOf(study, costs(study)), y = columnOf(study, quality(study));
  if (!x || !y) { plot('tradeoff-chart', [], {}, 'There are no two columns to draw.'); return; }
  const rows = visible().filter(row => x.value[row.index] !== null && y.value[row.index] !== null);
  const positive = column => rows.every(row => column.value[row.index] > 0);
  const log = {x: positive(x) && !state.linear.includes('x'), y: positive(y) && !state.linear.includes('y')};
  const errors = column => ({type: 'data', array: rows.map(row => column.spread[row.index] || 0), thickness: 1, width: 0, color: colour('dim')});
  const likelihood = x.likelihood ? x : y.likelihood ? y : study.columns.find(column => column.likelihood);
  const kinds = row => likelihood?.kind[row.index] || '';
  const best = state.front ? front(rows, x, y) : [];
  const labelled = new Set((narrow() ? rows.filter(row => state.pins.includes(row.id)) : rows.length <= 24 ? rows : rows.filter(row => best.includes(row) || state.pins.includes(row.id))).map(row => row.id));
  const traces = [];
  if (state.front && best.length) {
    const groups = new Map();
    for (const row of best) groups.set(y.likelihood ? kinds(row) : '', [...(groups.get(y.likelihood ? kinds(row) : '') || []), row]);
    for (const members of groups.values()) traces.push(...frontTraces(members, x, y));
  }
  traces.push({
    type: 'scatter', mode: 'markers+text', x: rows.map(row => x.value[row.index]), y: rows.map(row => y.value[row.index]),
    error_x: errors(x), error_y: errors(y), customdata: rows.map(row => row.id), ids: rows.map(row => row.id),
    text: rows.map(row => (labelled.has(row.id) ? escapeLabel(row.name.length > 34 ? `${row.name.slice(0, 32)}…` : row.name) : '')), textposition: labelPlaces(rows, x, y, log),
    textfont: {size: 11, color: colour('ink')}, cliponaxis: false,
    marker: {color: rows.map(row => (collapsed(row) ? faint(familyColour(row.family), 0.3) : familyColour(row.family))),
      symbol: rows.map(row => SYMBOLS[kinds(row)]), size: rows.map(row => (state.pins.includes(row.id) ? 15 : row.stands ? 10 : 7)),
      line: {width: rows.map(row => (state.pins.includes(row.id) ? 2 : 1)), color: rows.map(row => (state.pins.includes(row.id) ? colour('ink') : familyColour(row.family)))}},
    hovertext: rows.map(row => escapeLabel(`${row.name}\n${x.heading} ${x.text[row.index]}\n${y.heading} ${y.text[row.index]}${collapsed(row) ? '\ncollapsed' : ''}`).replace(/\n/g, '<br>')),
    hovertemplate: '%{hovertext}<extra></extra>',
  });
  const shapes = y.floor === null || (log.y && y.floor <= 0) ? [] : [{type: 'line', xref: 'paper', x0: 0, x1: 1, y0: y.floor, y1: y.floor, line: {dash: 'dot', width: 1, color: colour('dim')}}];
  const annotations = shapes.length ? [{xref: 'paper', x: 1, xanchor: 'right', yanchor: 'bottom', y: log.y ? Math.log10(y.floor) : y.floor, text: `real data ${number(y.floor)}`, showarrow: false, font: {size: 11, color: colour('dim')}}] : [];
  const finding = rows.length ? `${y.heading} against ${x.heading}, ${count(rows.length, 'configuration')}. ` +
    (best.length ? `On the front: ${best.slice(0, 8).map(row => row.name).join(', ')}${best.length > 8 ? ` and ${best.length - 8} more` : ''}. ` : '') +
    (rows.some(row => collapsed(row)) ? `${count(rows.filter(row => collapsed(row)).length, 'collapsed configuration')}, pale, left out of the front. ` : '') +
    (state.rows === 'models' ? 'One a model is drawn, that which the study varies; “all configurations” at the table draws the others too.' : '') : 'No visible row has both numbers.';
  plot('tradeoff-chart', rows.length ? traces : [], {xaxis: axisLook(axisTitle(x), log.x), yaxis: axisLook(axisTitle(y), log.y), shapes, annotations, dragmode: narrow() ? false : 'select', clickmode: 'event'}, finding, {
    plotly_click: event => { const id = event.points.find(point => point.customdata)?.customdata; if (id) set({pins: member(state.pins, id)}); },
    plotly_selected: event => { const ids = event?.points?.map(point => point.customdata).filter(Boolean); if (ids?.length) set({pins: [...new Set(ids)]}); },
  });
  drawKindLegend('tradeoff-legend', rows, likelihood);
}

const axisTitle = column => escapeLabel(column.heading + (column.direction === 'lower' ? ' (lower is better)' : column.direction === 'higher' ? ' (higher is better)' : column.direction === 'one' ? ' (1 is best)' : ''));

// Return places of the labels, away from the neighbours that would overprint them.
function labelPlaces(rows, x, y, log) {
  const scale = (column, on) => { const values = rows.map(row => (on ? Math.log(column.value[row.index]) : column.value[row.index])); const low = Math.min(...values), span = Math.max(...values) - low || 1; return values.map(value => (value - low) / span); };
  const xs = scale(x, log.x), ys = scale(y, log.y), places = ['top center', 'bottom center', 'middle right', 'middle left'];
  const taken = [];
  return rows.map((_, i) => {
    const near = taken.filter(j => Math.abs(xs[j.i] - xs[i]) < 0.14 && Math.abs(ys[j.i] - ys[i]) < 0.09).map(j => j.place);
    const order = xs[i] < 0.08 ? ['middle right', 'top center', 'bottom center'] : xs[i] > 0.92 ? ['middle left', 'top center', 'bottom center'] : places;
    const place = order.find(one => !near.includes(one)) || order[0];
    taken.push({i, place});
    return place;
  });
}

// Return the steps of the front and the band of costs that count as equal to it.
function frontTraces(members, x, y) {
  const sorted = [...members].sort((a, b) => x.value[a.index] - x.value[b.index]);
  const up = x.direction === 'higher', xs = sorted.map(row => x.value[row.index]), ys = sorted.map(row => y.value[row.index]);
  const shape = up ? 'vh' : 'hv', line = {shape, color: colour('dim'), width: 1.5, dash: 'dash'};
  const base = {type: 'scatter', mode: 'lines', hoverinfo: 'skip', x: xs, y: ys, line};
  if (xs.some(value => value <= 0)) return [base];
  const moved = xs.map(value => (up ? value / THICKNESS : value * THICKNESS));
  return [base, {...base, x: moved, line: {...line, width: 0}, fill: 'tonexty', fillcolor: faint(colour('dim'), 0.16)}];
}

function drawKindLegend(id, rows, likelihood) {
  const families = [...new Set(rows.map(row => row.family))], kinds = likelihood ? KINDS.concat('').filter(kind => rows.some(row => (likelihood.kind[row.index] || '') === kind)) : [];
  const marks = {'exact': '●', 'exact†': '○', 'lower bound': '◆', 'estimate': '▲', 'mixed': '✕', '': '■'};
  fill(byId(id), families.map(family => el('span', {class: 'key'}, swatch(family), family)),
    kinds.map(kind => el('span', {class: 'key'}, `${marks[kind]} ${kind || 'no likelihood'}`)));
}

function startTradeoff() {
  const controls = byId('tradeoff-controls');
  addView([...FILTERS, 'x', 'y', 'linear', 'front', 'guard'], byId('tradeoff'), drawTradeoff, true);
  addView(['study', 'x', 'y', 'linear', 'front'], byId('tradeoff'), () => {
    const study = current(), options = scatterColumns(study).map(column => [column.key, column.heading]);
    if (controls.contains(document.activeElement)) return;
    fill(controls, select('across', options, costs(study), x => set({x})), select('up', options, quality(study), y => set({y})),
      toggle('log across', !state.linear.includes('x'), () => set({linear: member(state.linear, 'x')})),
      toggle('log up', !state.linear.includes('y'), () => set({linear: member(state.linear, 'y')})),
      toggle('front', state.front, on => set({front: on})), chartButtons('tradeoff-chart', 'trade-off'));
  });
}
