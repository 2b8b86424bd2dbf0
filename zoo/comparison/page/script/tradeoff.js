// Quality against cost: choosable axes, errors over seeds, the front and its thickness.

const scatterColumns = study => study.columns.filter(column => column.ranked || ['cost', 'sampling'].includes(column.group));
// what judges the models is drawn upwards, if nothing else is chosen
const quality = study => (state.y && columnOf(study, state.y) ? state.y : columnOf(study, study.criterion) ? study.criterion : study.columns[0]?.key);
const costs = study => columnOf(study, state.x) ? state.x : study.columns.find(column => column.group === 'sampling')?.key || study.columns[0]?.key;

// Return the factor within which two values of a column count as equal: times differ with the load of the machine.
const thicknessOf = column => (column.timed ? DATA.thickness : 1);

// Return the rows on the Pareto front of loss `y` against cost `x`: those that no other row beats (see `beats`). Times are
// compared by logarithms. Likelihoods are compared within one kind alone; collapsed rows take no part.
function front(rows, x, y) {
  const along = (column, value) => loss(value, column.direction === 'none' ? 'lower' : column.direction);
  const kind = row => (x.likelihood ? x.kind[row.index] : '') + (y.likelihood ? y.kind[row.index] : ''), slack = Math.log(thicknessOf(x));
  const cost = row => along(x, x.timed ? Math.log(x.value[row.index]) : x.value[row.index]);
  const alive = rows.filter(row => !collapsed(row) && !x.odd[row.index] && !y.odd[row.index])
    .map(row => ({row, kind: kind(row), cost: cost(row), loss: along(y, y.value[row.index])}));
  return alive.filter(one => !alive.some(other => other.kind === one.kind && beats(other.loss, other.cost, one.loss, one.cost, slack))).map(one => one.row);
}

// Return {rows, best}: `best` is the front of all rows that the search and the filters leave; `rows`, which the chart draws,
// are the visible rows and those of the front.
function tradeoffRows(x, y) {
  const measured = row => x.value[row.index] !== null && y.value[row.index] !== null, shown = visible().filter(measured);
  const best = front(visible(current(), 'all').filter(measured), x, y);
  return {rows: [...shown, ...(state.front ? best.filter(row => !shown.includes(row)) : [])], best: state.front ? best : []};
}

// Return which axes are logarithmic, and which could be: those without a value at or below 0.
function tradeoffScales(rows, x, y) {
  const can = {x: rows.every(row => x.value[row.index] > 0), y: rows.every(row => y.value[row.index] > 0)};
  return {can, x: can.x && !state.linear.includes('x'), y: can.y && !state.linear.includes('y')};
}

function drawTradeoff() {
  const study = current(), x = columnOf(study, costs(study)), y = columnOf(study, quality(study));
  if (!x || !y) { plot('tradeoff-chart', [], {}, 'There are no two columns to draw.'); return; }
  const {rows, best} = tradeoffRows(x, y), log = tradeoffScales(rows, x, y);
  if (!rows.length) { plot('tradeoff-chart', [], {}, filtered() ? 'Nothing that the search and the filters leave has both numbers.' : 'No visible row has both numbers.'); fill(byId('tradeoff-legend')); return; }
  const spreads = column => rows.map(row => column.spread[row.index] || 0);
  const errors = column => ({type: 'data', array: spreads(column), thickness: 1, width: 0, color: colour('dim')});
  const likelihood = x.likelihood ? x : y.likelihood ? y : study.columns.find(column => column.likelihood);
  const kinds = row => likelihood?.kind[row.index] || '';
  const pinned = row => state.pins.includes(row.id), few = rows.length <= 30 && !narrow();
  const labelled = rows.filter(row => few || pinned(row) || best.includes(row)).slice(0, narrow() ? 8 : 60);
  const groups = new Map();
  for (const row of best) groups.set(x.likelihood || y.likelihood ? kinds(row) : '', [...(groups.get(x.likelihood || y.likelihood ? kinds(row) : '') || []), row]);
  const traces = [...groups.values()].flatMap(members => frontTraces(members, x, y));
  traces.push({
    type: 'scatter', mode: 'markers', cliponaxis: false, x: rows.map(row => x.value[row.index]), y: rows.map(row => y.value[row.index]),
    error_x: errors(x), error_y: errors(y), customdata: rows.map(row => row.id), ids: rows.map(row => row.id),
    marker: {color: rows.map(row => (collapsed(row) ? faint(familyColour(row.family), 0.3) : familyColour(row.family))),
      symbol: rows.map(row => SYMBOLS[kinds(row)]), size: rows.map(row => (pinned(row) ? 15 : row.stands ? 10 : 8)),
      line: {width: rows.map(row => (pinned(row) || best.includes(row) ? 2 : 1)), color: rows.map(row => (pinned(row) || best.includes(row) ? colour('ink') : familyColour(row.family)))}},
    hovertext: rows.map(row => escapeLabel(`${row.name}\n${x.heading} ${x.text[row.index]}\n${y.heading} ${y.text[row.index]}${collapsed(row) ? '\ncollapsed' : ''}${[x, y].filter(column => column.odd[row.index]).map(column => `\n${column.heading} measured under other conditions: ${row.study.helper.rows[row.index].device}`).join('')}`).replace(/\n/g, '<br>')),
    hovertemplate: '%{hovertext}<extra></extra>',
  });
  const odd = rows.filter(row => x.odd[row.index] || y.odd[row.index]);
  if (odd.length) traces.push({type: 'scatter', mode: 'markers', cliponaxis: false, hoverinfo: 'skip', x: odd.map(row => x.value[row.index]), y: odd.map(row => y.value[row.index]), marker: {symbol: 'x-thin-open', size: 18, color: colour('ink'), line: {width: 1.5, color: colour('ink')}}});
  const floor = y.floor !== null && !(log.y && y.floor <= 0) ? y.floor : null;
  const ends = (column, on) => rows.flatMap(row => [-1, 0, 1].map(side => column.value[row.index] + side * (column.spread[row.index] || 0))).filter(value => !on || value > 0.3 * Math.min(...rows.map(row => column.value[row.index])));
  const across = {log: log.x, range: rangeOf(ends(x, log.x), log.x, 0.06)}, up = {log: log.y, range: rangeOf([...ends(y, log.y), ...(floor === null ? [] : [floor])], log.y, 0.06)};
  const height = printing() ? 280 : narrow() ? 360 : 480, margin = {l: 64, r: 16, t: 8, b: 48}, frame = frameOf('tradeoff-chart', across, up, margin, height);
  const shapes = floor === null ? [] : [{type: 'line', xref: 'paper', x0: 0, x1: 1, y0: floor, y1: floor, line: {dash: 'dot', width: 1, color: colour('dim')}}];
  const real = floor === null ? [] : [{xref: 'paper', x: 1, xanchor: 'right', yanchor: 'bottom', y: log.y ? Math.log10(floor) : floor, text: `real data ${y.floor_text}`, showarrow: false, font: {size: LABEL, color: colour('dim')}}];
  const taken = real.map(one => [frame.width - widthOf(one.text) - 4, frame.y(floor) - LABEL - 6, frame.width, frame.y(floor)]);  // no name on these words
  const short = row => (row.name.length > 34 ? `${row.name.slice(0, 32)}…` : row.name);
  const labels = placeLabels(labelled.map(row => ({name: short(row), points: [[x.value[row.index], y.value[row.index]]]})), [...drawnBoxes(rows, [...groups.values()], x, y, frame, log), ...taken], frame, across, up);
  const hidden = best.filter(row => !visible().includes(row)).length;
  const finding = `${y.heading} against ${x.heading}, ${count(rows.length, 'configuration')}${hidden ? `, ${hidden} of them drawn because ${hidden === 1 ? 'it is' : 'they are'} on the front of ${scopeText(study)}` : ''}. ` +
    (best.length ? `On the front of ${scopeText(study)}${x.timed ? ` (nothing better is at most ${general(100 * (DATA.thickness - 1), 2)} % slower)` : ''}: ${best.slice(0, 8).map(row => row.name).join(', ')}${best.length > 8 ? ` and ${best.length - 8} more` : ''}. ` : '') +
    (rows.some(row => collapsed(row)) ? `${count(rows.filter(row => collapsed(row)).length, 'collapsed configuration')}, pale, left out of the front. ` : '') +
    (odd.length ? `${count(odd.length, 'configuration')}, crossed out, measured on another device or otherwise: left out of the front (${odd.slice(0, 4).map(row => row.name).join(', ')}${odd.length > 4 ? ` and ${odd.length - 4} more` : ''}).` : '');
  plot('tradeoff-chart', traces, {height, margin, xaxis: {...axisLook(axisTitle(x), log.x), range: across.range}, yaxis: {...axisLook(axisTitle(y), log.y), range: up.range}, shapes, annotations: [...real, ...labels],
    dragmode: narrow() ? false : 'select', clickmode: 'event'}, finding, {
    plotly_click: event => { const id = event.points.find(point => point.customdata)?.customdata; if (id) set({pins: member(state.pins, id)}); },
    plotly_selected: event => { const ids = event?.points?.map(point => point.customdata).filter(Boolean); if (ids?.length) set({pins: [...new Set(ids)]}); },
  });
  drawKindLegend('tradeoff-legend', rows, likelihood);
  if (odd.length) byId('tradeoff-legend').append(el('span', {class: 'key'}, '╳ measured on another device or otherwise'));
}

// Return the boxes in pixels that labels must not cover: markers, error bars, and the steps of the front.
function drawnBoxes(rows, fronts, x, y, frame, log) {
  const ends = (column, row, on) => [-1, 1].map(side => column.value[row.index] + side * (column.spread[row.index] || 0)).map(value => (on ? Math.max(value, 0.1 * column.value[row.index]) : value));
  const boxes = rows.flatMap(row => {
    const px = frame.x(x.value[row.index]), py = frame.y(y.value[row.index]), [left, right] = ends(x, row, log.x).map(frame.x), [low, high] = ends(y, row, log.y).map(frame.y);
    return [[px - 6, py - 6, px + 6, py + 6], [left, py - 2, right, py + 2], [px - 2, high, px + 2, low]];
  });
  for (const members of fronts) {
    const steps = [...members].sort((a, b) => x.value[a.index] - x.value[b.index]).map(row => [frame.x(x.value[row.index]), frame.y(y.value[row.index])]);
    steps.slice(1).forEach(([px, py], i) => {
      const [qx, qy] = steps[i], across = x.direction === 'higher' ? py : qy, up = x.direction === 'higher' ? qx : px;
      boxes.push([qx, across - 2, px, across + 2], [up - 2, Math.min(py, qy), up + 2, Math.max(py, qy)]);
    });
  }
  return boxes;
}

const axisTitle = column => escapeLabel(column.heading + (column.direction === 'lower' ? ' (lower is better)' : column.direction === 'higher' ? ' (higher is better)' : column.direction === 'one' ? ' (1 is best)' : ''));

// Return the steps of the front and the band of costs that count as equal to it.
function frontTraces(members, x, y) {
  const sorted = [...members].sort((a, b) => x.value[a.index] - x.value[b.index]);
  const up = x.direction === 'higher', xs = sorted.map(row => x.value[row.index]), ys = sorted.map(row => y.value[row.index]);
  const shape = up ? 'vh' : 'hv', line = {shape, color: colour('dim'), width: 1.5, dash: 'dash'};
  const base = {type: 'scatter', mode: 'lines', hoverinfo: 'skip', x: xs, y: ys, line};
  const thick = thicknessOf(x);
  if (thick === 1 || xs.some(value => value <= 0)) return [base];
  const moved = xs.map(value => (up ? value / thick : value * thick));
  return [base, {...base, x: moved, line: {...line, width: 0}, fill: 'tonexty', fillcolor: faint(colour('dim'), 0.16)}];
}

function drawKindLegend(id, rows, likelihood) {
  const families = [...new Set(rows.map(row => row.family))], kinds = likelihood ? KINDS.concat('').filter(kind => rows.some(row => (likelihood.kind[row.index] || '') === kind)) : [];
  const marks = {'exact': '●', 'exact†': '○', 'lower bound': '◆', 'estimate': '▲', 'mixed': '✕', '': '■'};
  fill(byId(id), families.map(family => el('span', {class: 'key'}, swatch(family), family)),
    kinds.map(kind => el('span', {class: 'key'}, `${marks[kind]} ${KIND_NAMES[kind]}`)));
}

function startTradeoff() {
  const controls = byId('tradeoff-controls');
  addView([...FILTERS, 'x', 'y', 'linear', 'front', 'guard'], byId('tradeoff'), drawTradeoff, true);
  addView([...FILTERS, 'x', 'y', 'linear', 'front', 'guard'], byId('tradeoff'), () => {
    const study = current(), options = scatterColumns(study).map(column => [column.key, column.heading]);
    if (controls.contains(document.activeElement)) return;
    const x = columnOf(study, costs(study)), y = columnOf(study, quality(study));
    const scales = x && y ? tradeoffScales(tradeoffRows(x, y).rows, x, y) : {can: {}};
    const log = (words, axis) => toggle(scales.can[axis] ? words : `${words} (not: a value is 0 or less)`, Boolean(scales[axis]), () => set({linear: member(state.linear, axis)}), {disabled: !scales.can[axis]});
    fill(controls, select('across', options, costs(study), value => set({x: value})), select('up', options, quality(study), value => set({y: value})),
      log('log across', 'x'), log('log up', 'y'), toggle('front', state.front, on => set({front: on})), chartButtons('tradeoff-chart', 'trade-off'));
  });
}
