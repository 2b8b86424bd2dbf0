// Samples: the same places of every model side by side, two models under a slider, densities of points.

// Return a canvas with pictures of a group {offset, count, shape}, one pixel apart, in rows of `columns` pictures. All share
// one canvas, since a browser takes half a millisecond to make one. The pixels are bytes already and are drawn as they are.
function tiles(set, indices, columns, label) {
  const [channels, height, width] = set.shape, size = channels * height * width, lines = Math.ceil(indices.length / columns);
  const canvas = el('canvas', {width: columns * (width + 1) - 1, height: lines * (height + 1) - 1, class: 'tiles', role: 'img', 'aria-label': label, style: `--columns:${columns}`});
  const image = new ImageData(canvas.width, canvas.height);
  indices.forEach((index, place) => {
    const from = set.at + index * size, left = (place % columns) * (width + 1), top = Math.floor(place / columns) * (height + 1);
    for (let i = 0; i < height * width; i++) {
      const to = 4 * ((top + Math.floor(i / width)) * canvas.width + left + i % width);
      for (let c = 0; c < 3; c++) image.data[to + c] = PIXELS[from + (channels === 1 ? 0 : c) * height * width + i];
      image.data[to + 3] = 255;
    }
  });
  canvas.getContext('2d').putImageData(image, 0, 0);
  return canvas;
}

const upTo = (n, from = 0) => Array.from({length: n}, (_, i) => from + i);

// Return a canvas with points of the plane, stored as pairs of bytes over a range; many points are small.
function cloud(set, family, size = 150, label = '') {
  const canvas = el('canvas', {width: 2 * size, height: 2 * size, class: 'cloud', role: 'img', 'aria-label': label, style: `width:${size}px;height:${size}px`});
  const context = canvas.getContext('2d'), radius = size / 150 * Math.max(1.8, Math.min(4, 57 / Math.sqrt(set.count)));
  context.fillStyle = family ? familyColour(family) : colour('ink');
  for (let i = 0; i < set.count; i++) {
    const [x, y] = [0, 1].map(shift => PIXELS[set.at + 2 * i + shift] / 255 * 2 * size);
    context.beginPath();
    context.arc(x, 2 * size - y, radius, 0, 7);
    context.fill();
  }
  return canvas;
}

// Return a canvas with a density on a grid; bright is likely.
function densityMap(set, label) {
  const [height, width] = set.shape, canvas = el('canvas', {width, height, class: 'cloud', role: 'img', 'aria-label': label});
  const image = new ImageData(width, height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const value = PIXELS[set.at + (height - 1 - row) * width + column] / 255, at = 4 * (row * width + column);
      const [r, g, b] = magma(value);
      image.data.set([r, g, b, 255], at);
    }
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
  return canvas;
}

const MAGMA = [[0, 0, 4], [28, 16, 68], [79, 18, 123], [129, 37, 129], [181, 54, 122], [229, 80, 100], [251, 135, 97], [254, 194, 135], [252, 253, 191]];
function magma(value) {
  const place = Math.min(0.9999, Math.max(0, value)) * (MAGMA.length - 1), low = Math.floor(place), share = place - low;
  return MAGMA[low].map((channel, i) => Math.round(channel + share * (MAGMA[low + 1][i] - channel)));
}

const picturesOf = (study, row) => study.pictures?.rows[row.index] || {};
const kindsOf = study => [...new Set(study.pictures.rows.flatMap(row => Object.keys(row)))];

// Return what is shown of a study: what the reader has chosen; without a choice densities where there are any, else samples.
function shownOf(study) {
  const kinds = kindsOf(study);
  return kinds.includes(state.shown) ? state.shown : kinds.includes('density') ? 'density' : kinds.includes('samples') ? 'samples' : kinds[0];
}

// Return the picture of a row; its points where densities are shown and its model defines none.
function pictureOf(study, row) {
  const own = picturesOf(study, row), shown = shownOf(study);
  return own[shown] || (shown === 'density' ? own.samples : undefined);
}
const PANELS = 24;         // most rows drawn at a time

const SQUARE = 16;         // pictures of a row at a time

// Return whether there are other pictures of a row to turn to.
const pagesOf = set => set.kind === 'images' && !set.lines && set.count > SQUARE;

// Return the pictures of a row: points, the way of points, lines of pictures with labels, or a square of pictures.
function galleryRow(title, family, set, label) {
  const caption = el('figcaption', {}, family ? swatch(family) : null, ' ', title);
  if (set.kind === 'points') return el('figure', {class: 'panel'}, cloud(set, family, 150, label), caption);
  if (set.kind === 'path') return el('figure', {class: 'panel'}, ...wayOf(set, family, label), caption);
  if (set.lines) {
    let from = 0;
    const lines = set.lines.map(([words, n]) => {
      from += n;
      return el('div', {class: 'line'}, el('span', {class: 'dim'}, words), tiles(set, upTo(n, from - n), narrow() ? Math.min(8, n) : n, `${label}, ${words}, ${count(n, 'picture')}`));
    });
    return el('figure', {class: 'panel wide'}, caption, lines);
  }
  const shown = Math.min(set.count, SQUARE), start = pagesOf(set) ? (state.sample * shown) % set.count : 0;
  const indices = upTo(shown, start).map(index => index % set.count);
  return el('figure', {class: 'panel'}, tiles(set, indices, 4, `${label}, ${count(shown, 'picture')} from number ${start + 1}`), caption);
}

// Return points on their way from noise to data, a slider over the frames, and a button that plays them.
function wayOf(set, family, label) {
  const frame = place => ({...set, at: set.at + 2 * place * set.count});
  const box = el('div'), show = place => fill(box, cloud(frame(place), family, 150, `${label}, step ${place + 1} of ${set.frames}`));
  const slider = el('input', {type: 'range', min: 0, max: set.frames - 1, value: set.frames - 1, 'aria-label': `step from noise to data, ${label}`, oninput: () => show(Number(slider.value))});
  const play = el('button', {type: 'button', class: 'small', 'aria-label': `play ${label}`, onclick: () => {
    let place = 0;
    const step = () => { slider.value = place; show(place); place++; if (place < set.frames && document.contains(slider)) setTimeout(step, 120); };
    step();
  }}, 'play');
  show(set.frames - 1);
  return [box, el('div', {class: 'buttons'}, slider, play)];
}

const SHOWN_WORDS = {samples: 'samples', density: 'densities', neighbours: 'nearest training images', temperature: 'temperatures', truncation: 'truncations', steps: 'numbers of steps',
  interpolation: 'interpolations', likelihood: 'most and least likely', path: 'from noise to data'};

function drawSamples() {
  const study = current(), pictures = study.pictures, box = byId('samples-box');
  byId('samples').hidden = !pictures;
  if (!pictures) return;
  const shown = shownOf(study), all = visible().filter(row => pictureOf(study, row)), rows = all.slice(0, PANELS);
  const flat = pictures.real?.kind === 'points';
  const panel = (set, title, family) => (set.kind === 'grid'
    ? el('figure', {class: 'panel'}, densityMap(set, `density of ${title}`), el('figcaption', {}, family ? swatch(family) : null, ' ', title, klText(study, title)))
    : galleryRow(`${title}${shown === 'density' ? ' (samples: no density)' : ''}`, family, set, `sample of ${title}`));
  const data = [['density', 'samples', 'path'].includes(shown) && pictures.histogram ? panel(pictures.histogram, 'data (histogram)', null) : null,
    ['samples', 'path'].includes(shown) && pictures.real ? panel(pictures.real, flat ? `real test data (${count(pictures.real.count, 'point')})` : 'real test data', null) : null];
  fill(box, data, rows.map(row => panel(pictureOf(study, row), row.name, row.family)));
  const words = {samples: flat ? 'Points of the first seed, drawn with the protocol’s seed.' : 'The first samples of the first seed, drawn with the protocol’s seed.', density: 'On one scale, that of the data.'};
  write(byId('samples-said'), (all.length > rows.length ? `${rows.length} of ${all.length} configurations drawn; filter to see others. ` : '') +
    (pictures.left ? `${count(pictures.left, 'configuration')} left out for the size of the page. ` : '') +
    (words[shown] || 'Of configurations that stand for a model or are answers; samples are drawn with the same seeds for all.'));
  for (const button of byId('samples-controls').querySelectorAll('button')) button.disabled = !rows.some(row => pagesOf(pictureOf(study, row)));
  drawSlider();
}

function klText(study, name) {
  const column = columnOf(study, 'kl'), row = rowsOf(study).find(one => one.name === name);
  return column && row && column.value[row.index] !== null ? ` · KL ${column.text[row.index]}` : '';
}

// Two models in one place: the left of the handle is A, the right is B, picture by picture.
function drawSlider() {
  const study = current(), box = byId('slider-box');
  const rows = rowsOf(study).filter(row => pictureOf(study, row));
  byId('slider').hidden = !['samples', 'density'].includes(shownOf(study));
  if (byId('slider').hidden) return;
  const a = rows.find(row => row.id === state.a) || rows.find(row => row.id === state.pins[0]) || rows[0];
  const b = rows.find(row => row.id === state.b) || rows.find(row => row.id === state.pins[1]) || rows.find(row => row !== a);
  byId('slider').hidden = !a || !b;
  if (!a || !b) return;
  const options = rows.map(row => [row.id, row.name]);
  const side = row => {
    const set = pictureOf(study, row);
    if (set.kind === 'points') return cloud(set, row.family, 260, `samples of ${row.name}`);
    if (set.kind === 'grid') return densityMap(set, `density of ${row.name}`);
    return galleryRow('', null, set, `sample of ${row.name}`).firstChild;
  };
  const top = el('div', {class: 'side top'}, side(b)), handle = el('input', {type: 'range', min: 0, max: 100, value: 50, 'aria-label': `left ${a.name}, right ${b.name}`,
    oninput: () => { top.style.clipPath = `inset(0 0 0 ${handle.value}%)`; }});
  top.style.clipPath = 'inset(0 0 0 50%)';
  fill(box, el('div', {class: 'buttons'}, select('A, left', options, a.id, id => set({a: id})), select('B, right', options, b.id, id => set({b: id}))),
    el('div', {class: 'sides'}, el('div', {class: 'side'}, side(a)), top), handle, ...duel(study, a, b));
}

const RESAMPLES = 1000;

// Return the share of pairs of seeds in which the second of two samples of losses is better, a tie counting half, with its
// 95 % interval over resamples of the seeds (the same each time); without one for a single seed.
function chanceBetter(u, v) {
  const share = (p, q) => mean(p.flatMap(a => q.map(b => (b < a ? 1 : b === a ? 0.5 : 0))));
  if (u.length < 2 || v.length < 2) return {share: share(u, v), low: null, high: null};
  let last = 1;
  const draw = values => values.map(() => { last = (last * 48271) % 2147483647; return values[last % values.length]; });
  const found = Array.from({length: RESAMPLES}, () => share(draw(u), draw(v))).sort((a, b) => a - b);
  return {share: share(u, v), low: found[Math.floor(0.025 * RESAMPLES)], high: found[Math.ceil(0.975 * RESAMPLES) - 1]};
}

// Return how row B compares with row A in a column: {text: how much they differ, verdict, chance: in which share of the pairs
// of seeds B is better}; texts are empty where there is nothing to compare.
function comparedRows(column, a, b) {
  const [p, q] = [a, b].map(row => seedValues(column, row)), cells = [a, b].map(row => cellOf(column, row)), none = {text: '', chance: ''};
  if (!p.length || !q.length) return {...none, verdict: 'no value to compare'};
  if (column.likelihood && cells[0].kind !== cells[1].kind) return {...none, verdict: `not comparable: ${cells.map(cell => KIND_NAMES[cell.kind]).join(' and ')}`};
  if (cells.some(cell => cell.odd)) return {...none, verdict: 'not comparable: measured under other conditions'};
  const pair = pairedOf(column, a, b), several = p.length > 1 && q.length > 1, paired = several && pair && studentised(...pair);
  const found = comparedValues(column, p, q);
  if (paired) Object.assign(found, paired, {better: Math.sign(paired.estimate) * (column.direction === 'higher' ? 1 : -1)});
  const same = [...p, ...q].every(value => value === p[0]), lost = column.likelihood ? [] : [a, b].filter(collapsed), better = found.better > 0 ? b : a;
  const sign = value => (value > 0 ? `+${number(value)}` : number(value).replace(/^-/, '−')), written = value => (!Number.isFinite(value) ? 'not finite' : found.rule === 'difference' ? sign(value) : general(value, Math.abs(value - 1) < 0.1 ? 4 : 3));
  const interval = found.low === null ? '' : ` [${written(found.low)}, ${written(found.high)}]`;
  const text = same ? '' : `${found.rule === 'difference' ? '' : found.rule === 'distance' ? 'distance from 1 ×' : '×'}${written(found.estimate)}${interval}`;
  const sure = found.p === null ? '' : `, p ${found.p < 0.001 ? '< 0.001' : general(found.p, 2)}${paired ? ' (paired)' : ''}`;
  const verdict = same || !found.better ? 'tie: nothing differs' : lost.length ? `not tested: ${lost.map(row => row.name).join(', ')} collapsed` :
    column.counted ? `${better.name} is better` : !several ? `${better.name} has the better number; one seed, not tested` :
    found.p === null ? `${better.name} has the better number; without spread over the seeds, not tested` : found.p < LEVEL ? `${better.name} is better${sure}` : `not told apart${sure}`;
  const {share, low, high} = chanceBetter(...[p, q].map(values => values.map(value => loss(value, column.direction))));
  return {text, verdict, chance: column.counted || low === null ? '' : `${share.toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}]`};
}

// Return in words in which settings two rows differ; between two models those of the models themselves are only counted.
function differsText(a, b) {
  const all = differences(a, b).filter(([name]) => !name.endsWith('_target_')), own = ([name]) => a.model !== b.model && MODEL_SETTING.test(name);
  const told = all.filter(one => !own(one)), inside = all.filter(own).length;
  return [...['family', 'model'].filter(name => a[name] !== b[name]).map(name => `${name} (${a[name]}, ${b[name]})`),
    ...told.slice(0, SETTINGS_SHOWN).map(([name, here, there]) => `${name} (${here}, ${there})`), told.length > SETTINGS_SHOWN ? `${told.length - SETTINGS_SHOWN} more` : '',
    inside ? `${count(inside, 'setting')} of the models themselves` : ''].filter(Boolean).join('; ');
}

// Return how two rows compare: in which settings they differ, and each number of the table's columns that has a better end.
function duel(study, a, b) {
  const columns = shownColumns(study).filter(one => one.ranked && one.seeds), head = words => el('th', {scope: 'col'}, words);
  const line = column => {
    const {text, verdict, chance} = comparedRows(column, a, b), cell = (label, words) => el('td', {'data-label': label}, words);
    return el('tr', {}, el('th', {scope: 'row', class: 'name'}, column.heading + ARROWS[column.direction]), cell('A', cellOf(column, a).text || '—'), cell('B', cellOf(column, b).text || '—'),
      cell('B against A', text), cell('which is better', verdict), cell('P(B better)', chance));
  };
  return [el('p', {class: 'small-text'}, `A is ${a.name}, B is ${b.name}. `, el('strong', {}, 'Differs in: '), `${differsText(a, b) || 'nothing that is recorded'}.`),
    columns.length ? followEdge(el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'A against B'}, el('table', {class: 'main duel'}, el('caption', {class: 'hidden'}, `${a.name} against ${b.name}`),
      el('thead', {}, el('tr', {}, ['number', 'A', 'B', 'B against A', 'which is better', 'P(B better)'].map(head))), el('tbody', {}, columns.map(line))))) : null,
    el('p', {class: 'dim small-text'}, 'B against A: × is the ratio B / A where positive numbers are compared by their logarithms, else the difference B − A, with its 95 % interval by the test that gives p: Welch over the seeds, or (paired) over the test examples and the seeds, which the page holds of the configurations that stand for their models. Each p is of one pair and one number, not corrected for how many are read. P(B better): the share of pairs of seeds, with the 95 % interval of resampled seeds.')];
}

function startSamples() {
  addView([...FILTERS, 'sample', 'shown', 'a', 'b', 'pins', 'group', 'columns'], byId('samples'), drawSamples, true);
  addView(['study', 'shown'], byId('samples'), () => {
    const study = current(), controls = byId('samples-controls');
    byId('samples').hidden = !study.pictures;
    if (!study.pictures || controls.contains(document.activeElement)) return;
    const kinds = kindsOf(study);
    fill(controls, kinds.length > 1 ? select('show', kinds.map(kind => [kind, SHOWN_WORDS[kind] || kind]), shownOf(study), shown => set({shown})) : null,
      study.pictures.real?.kind === 'images' ? el('span', {class: 'buttons'},
        el('button', {type: 'button', class: 'small', onclick: () => set({sample: Math.max(0, state.sample - 1)})}, '◄ others'),
        el('button', {type: 'button', class: 'small', onclick: () => set({sample: state.sample + 1})}, 'others ►')) : null);
  });
}
