// The one table: blocks of one kind, letters of ties, differences to a baseline, seeds on demand.

const WINDOW = 100;        // rows drawn at first; a button draws more
let rowsDrawn = WINDOW;

const OVERVIEW = ['latency', 'throughput', 'sequential evaluations', 'parameters', 'training time'];

// Return the columns of a study that a group of columns or the reader's own choice names.
function shownColumns(study = current()) {
  if (state.columns.length) {
    const chosen = study.columns.filter(column => state.columns.includes(column.key));
    if (chosen.length) return chosen;
  }
  if (state.group === 'all') return study.columns;
  if (state.group !== 'overview') {
    const found = study.columns.filter(column => column.group === state.group);
    if (found.length) return found;
  }
  return study.columns.filter(column =>
    column.group === 'likelihood' || column.key === study.quality || column.key === 'sharpness' || OVERVIEW.includes(column.key));
}

const ARROWS = {lower: ' ↓', higher: ' ↑', one: ' →1', none: ''};

// Return [column or name, descending] of the present order; '' is the order of families.
function sorting() {
  const descending = state.sort.startsWith('-'), key = descending ? state.sort.slice(1) : state.sort;
  return [key, descending];
}

// Return blocks {title, note, rows}: numbers of different kinds are never in one order.
function blocks(study = current()) {
  const rows = visible(study), [key, descending] = sorting(), column = columnOf(study, key);
  if (key === 'name') {
    const sorted = [...rows].sort((a, b) => a.name.localeCompare(b.name));
    return [{title: '', rows: descending ? sorted.reverse() : sorted}];
  }
  if (!column) return [{title: '', rows}];
  const value = row => statisticOf(column, row).value;
  const sinks = !column.likelihood && key !== study.quality;  // a collapsed row is not the best at anything else
  const order = (a, b) => {
    const [p, q] = [value(a), value(b)];
    if (p === null || q === null) return (p === null) - (q === null);
    if (sinks && Boolean(collapsed(a)) !== Boolean(collapsed(b))) return collapsed(a) ? 1 : -1;
    const direction = column.direction === 'one' ? 'one' : 'lower';
    return (descending ? -1 : 1) * (loss(p, direction) - loss(q, direction)) || a.index - b.index;
  };
  if (!column.likelihood) {
    const usual = rows.filter(row => !cellOf(column, row).odd).sort(order);
    const odd = rows.filter(row => cellOf(column, row).odd).sort(order);
    if (!odd.length) return [{title: '', rows: usual}];
    return [{title: '', rows: usual}, {title: 'measured under other conditions: not in one order with the rest', rows: odd}];
  }
  const kinds = [...KINDS, ''];
  return kinds.map(kind => ({
    title: KIND_WORDS[kind], kind, rows: rows.filter(row => column.kind[row.index] === kind).sort(order),
  })).filter(block => block.rows.length).map((block, _, all) => (all.length > 1 ? block : {...block, title: all[0].title}));
}

// Return text, value and spread of a cell by the chosen statistic.
function statisticOf(column, row) {
  const cell = cellOf(column, row);
  if (state.statistic === 'mean' || cell.value === null) return cell;
  const values = seedValues(column, row);
  if (values.length < 2) return cell;
  const middle = median(values);
  return {...cell, value: middle, text: markedValue(cell.kind, `${number(middle)} (${number(Math.min(...values))} to ${number(Math.max(...values))}) [${values.length}]`)};
}

// Return [difference, its standard error, degrees of freedom] of row B to row A, paired over test examples; null where the page
// holds none.
function pairedOf(column, a, b) {
  for (const [i, j, change, error, freedom] of column.paired || []) {
    if (i === b.index && j === a.index) return [change, error, freedom];
    if (j === b.index && i === a.index) return [-change, error, freedom];
  }
  return null;
}

// Return the difference of two rows in a column, and its standard error. If the page holds the difference paired over test
// examples, it is that one. Otherwise it is the difference of the means, with an error from the spread over seeds, or for a
// single seed from the error of its evaluation. An unknown error is null.
function changeOf(column, row, base) {
  const paired = pairedOf(column, base, row);
  if (paired) return paired;
  const variances = [row, base].map(one => {
    const values = seedValues(column, one), {spread} = cellOf(column, one);
    return values.length > 1 ? deviation(values) ** 2 / values.length : spread === null ? null : spread ** 2;
  });
  return [cellOf(column, row).value - cellOf(column, base).value, variances.includes(null) ? null : Math.sqrt(sum(variances))];
}

// Return whether the values of a column are measured with an error; counts are not.
const isMeasured = column => column.timed || column.likelihood || column.group === 'samples';

// Return the difference of a row to the baseline in words, or why there is none.
function deltaOf(column, row, base) {
  const own = cellOf(column, row), other = cellOf(column, base);
  if (own.value === null || other.value === null || row === base) return '';
  if (column.likelihood && own.kind !== other.kind) return 'another kind';
  if (own.odd || other.odd) return 'measured otherwise';
  const [change, error] = changeOf(column, row, base), sized = number(Math.abs(change), error > 0 ? error : null);
  const text = `${change > 0 ? '+' : change < 0 ? '−' : '±'}${sized}${isMeasured(column) && !(error > 0) ? ' ± ?' : ''}`;
  const ratio = other.value > 0 && own.value > 0 && !column.likelihood ? ` (×${general(own.value / other.value, 3)})` : '';
  return text + ratio;
}

// Return the settings in which the visible rows differ, those that differ within one model first. A setting of the
// model itself counts only there: between models it repeats which model a row is.
function differing(rows) {
  const found = new Map();  // name: {values, rows that have it, values by model}
  for (const row of rows) {
    for (const [name, value] of row.study.settings[row.index]) {
      if (!found.has(name)) found.set(name, {values: new Set(), n: 0, models: new Map()});
      const one = found.get(name);
      one.values.add(value);
      one.n += 1;
      one.models.set(row.model, (one.models.get(row.model) || new Set()).add(value));
    }
  }
  const within = name => [...found.get(name).models.values()].some(values => values.size > 1);
  const counts = name => !text(name).endsWith('_target_') && (within(name) ||
    (!MODEL_SETTING.test(text(name)) && (found.get(name).values.size > 1 || found.get(name).n < rows.length)));
  return [...found.keys()].filter(counts).sort((a, b) => within(b) - within(a) || text(a).localeCompare(text(b)));
}

const MODEL_SETTING = /^(model|net)\./;
const SETTINGS_SHOWN = 12;

// Return what the table shows now, for copying: headings, rows of cells {text, letters, delta, mark}, among them those of
// expanded seeds and that of real data, and the notes.
function tableTexts() {
  unranked = new Map();
  const study = current(), columns = shownColumns(study), base = state.baseline && rowOf(study, state.baseline);
  const extra = state.differs ? differing(visible(study)).slice(0, SETTINGS_SHOWN) : [];
  const plain = words => ({text: words, letters: '', delta: '', mark: ''});
  const headings = ['model', 'family', ...columns.map(column => column.heading + ARROWS[column.direction]), ...extra.map(text)];
  const chips = row => [collapsed(row) ? 'collapsed' : '', row.finished < row.runs.length ? row.status : ''].filter(Boolean).map(words => ` (${words})`).join('');
  const rows = blocks(study).flatMap(block => block.rows.flatMap(row => {
    const own = new Map(study.settings[row.index]);
    const numbers = columns.map(column => {
      const cell = statisticOf(column, row);
      return {text: `${cell.text || '—'}${cell.odd ? ' ⚠' : ''}`, letters: cell.letters, delta: base ? deltaOf(column, row, base) : '', mark: standingOf(column, row)};
    });
    const settings = extra.map(name => plain(own.has(name) ? text(own.get(name)) : 'unset'));
    const seeds = state.expanded.includes(row.id) ? row.runs.map((run, place) => ({block: block.title, seed: true, cells: [plain(seedName(run)), plain(''),
      ...columns.map(column => plain(seedText(column, row, place))), ...extra.map(() => plain(''))]})) : [];
    return [{block: block.title, cells: [plain(row.name + chips(row)), plain(row.family), ...numbers, ...settings]}, ...seeds];
  }));
  if (columns.some(column => column.floor !== null)) {
    rows.push({block: rows.at(-1)?.block ?? '', floor: true, cells: [plain('real data (floor)'), plain(''),
      ...columns.map(column => plain(column.floor_text)), ...extra.map(() => plain(''))]});
  }
  return {title: study.title, headings, rows, notes: [...study.notes, ...tableNotes(columns, visible(study))]};
}

const seedName = run => `seed ${DATA.runs.seed[run]}${text(DATA.runs.status[run]) === 'finished' ? '' : ` (${text(DATA.runs.status[run])})`}`;

function seedText(column, row, place) {
  const value = column.seeds ? column.seeds[row.index][place] : null;
  return value === null ? '—' : exactly(value);
}

// Return a note with the words for the marks that a copy has in place of fills and hatches.
const noteWith = (note, best, tied) => note.replace('Filled:', `${best}:`).replace('Hatched:', `${tied}:`);

// Return how a cell is marked: 'best', filled, if everything else that is ranked is significantly worse; 'tied', hatched, if
// it is not told apart from the best; else ''. Neither where another row on show, that no test has ranked, has a better number.
function standingOf(column, row) {
  const cell = cellOf(column, row);
  if (!cell.tied || (collapsed(row) && !column.likelihood) || loss(leastUnranked(column, row.study, cell.kind), column.direction) < loss(cell.value, column.direction)) return '';
  return cell.sure ? 'best' : 'tied';
}

// Return the best value of the visible rows that no test has ranked, of one kind; NaN without any.
function leastUnranked(column, study, kind) {
  const key = `${column.key} ${kind}`;
  if (!unranked.has(key)) {
    const values = visible(study).filter(row => !collapsed(row)).map(row => cellOf(column, row))
      .filter(cell => cell.value !== null && !cell.letters && !cell.odd && cell.kind === kind && cell.n > 1).map(cell => cell.value);
    unranked.set(key, values.reduce((a, b) => (loss(b, column.direction) >= loss(a, column.direction) ? a : b), NaN));
  }
  return unranked.get(key);
}
let unranked = new Map();  // of the rows on show; drawn anew with them

const oneLine = words => words.replace(/\s+/g, ' ');

function copyMarkdown() {
  const {title, headings, rows, notes} = tableTexts();
  const quote = words => oneLine(words).replace(/\|/g, '\\|').replace(/</g, '&lt;');
  const marked = {best: words => `**${words}**`, tied: words => `*${words}*`, '': words => words};
  const cell = one => marked[one.mark](quote(one.text)) + (one.letters && `<sup>${one.letters}</sup>`) + (one.delta && ` (${quote(one.delta)})`);
  const line = words => `| ${words.join(' | ')} |`;
  const heading = (row, i) => (row.block && row.block !== rows[i - 1]?.block ? [line(headings.map((_, place) => (place ? '' : `*${quote(row.block)}*`)))] : []);
  return [`**${quote(title)}**`, '', line(headings.map(quote)), `|${headings.map((_, i) => (i < 2 ? '---' : '---:')).join('|')}|`,
    ...rows.flatMap((row, i) => [...heading(row, i), line(row.cells.map(cell))]), '', ...notes.map(note => `- ${quote(noteWith(note, 'Bold', 'Italic'))}`)].join('\n') + '\n';
}

const TEX = {'⚠': '\\textbf{!}', '−': '$-$', '\\': '\\textbackslash{}', '~': '\\textasciitilde{}', '^': '\\textasciicircum{}', '[': '{[}', '—': '---',
  '±': '$\\pm$', '≤': '$\\le$', '≥': '$\\ge$', '≈': '$\\approx$', '†': '$^\\dagger$', '↓': '$\\downarrow$', '↑': '$\\uparrow$',
  '→': '$\\rightarrow$', '×': '$\\times$', '&': '\\&', '%': '\\%', '$': '\\$', '#': '\\#', '_': '\\_', '{': '\\{', '}': '\\}'};

function copyLatex() {
  const {title, headings, rows, notes} = tableTexts(), lines = [];
  const quote = words => [...oneLine(words)].map(character => TEX[character] ?? character).join('');
  const marked = {best: words => `\\textbf{${words}}`, tied: words => `\\emph{${words}}`, '': words => words};
  const cell = one => marked[one.mark](quote(one.text)) + (one.letters && `\\textsuperscript{${one.letters}}`) + (one.delta && ` (${quote(one.delta)})`);
  let block = null;
  for (const row of rows) {
    if (row.block && row.block !== block) {
      if (lines.length) lines.push('\\midrule');
      lines.push(`\\multicolumn{${headings.length}}{l}{\\emph{${quote(row.block)}}} \\\\`);
    }
    block = row.block;
    if (row.floor) lines.push('\\midrule');
    lines.push(`${row.cells.map(cell).join(' & ')} \\\\`);
  }
  return [`% ${oneLine(title)}; needs the package booktabs`, ...notes.map(note => `% ${oneLine(noteWith(note, 'Bold', 'Italic'))}`),
    `\\begin{tabular}{ll${'r'.repeat(headings.length - 2)}}`, '\\toprule', `${headings.map(quote).join(' & ')} \\\\`, '\\midrule',
    ...lines, '\\bottomrule', '\\end{tabular}'].join('\n') + '\n';
}

function copyCsv() {
  const {headings, rows} = tableTexts();
  const quote = words => {
    const safe = /^[=+@\t\r]/.test(words) ? `'${words}` : words;  // a spreadsheet must not take a name for a formula
    return /[",\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
  };
  const cell = one => one.text + (one.letters && ` ${one.letters}`) + {best: ' (best)', tied: ' (not told apart from the best)', '': ''}[one.mark] + (one.delta && ` (${one.delta})`);
  return [headings, ...rows.map(row => row.cells.map(cell))].map(cells => cells.map(quote).join(',')).join('\n') + '\n';
}

const COPIES = {Markdown: copyMarkdown, LaTeX: copyLatex, CSV: copyCsv};

function sortBy(key) {
  const [now, descending] = sorting();
  set({sort: now !== key ? key : descending ? '' : `-${key}`});
}

function headingCell(key, label, title = '') {
  const [now, descending] = sorting(), sorted = now === key;
  return el('th', {scope: 'col', 'aria-sort': sorted ? (descending ? 'descending' : 'ascending') : null},
    el('button', {type: 'button', class: 'sort', title, onclick: () => sortBy(key)}, label,
      el('span', {class: 'arrow', 'aria-hidden': 'true'}, sorted ? (descending ? ' ▼' : ' ▲') : '')));
}

// Return the strip of a row's seeds in the range of the column.
function strip(column, row, range) {
  const values = seedValues(column, row), [low, high] = range;
  if (values.length < 2 || !(high > low)) return null;
  const place = value => 2 + 56 * (value - low) / (high - low);
  return svg('svg', {class: 'strip', width: 60, height: 8, 'aria-hidden': 'true'},
    values.map(value => svg('circle', {cx: place(value).toFixed(1), cy: 4, r: 2, class: `f${hue(row.family)}`})));
}

function drawCell(column, row, base, range, folded) {
  const cell = statisticOf(column, row), mark = standingOf(column, row);
  const delta = base ? deltaOf(column, row, base) : '';
  const label = `${row.name}, ${column.heading}: ${cell.text || '—'}${cell.letters}`;
  return el('td', {class: [mark, folded ? 'rest' : ''].filter(Boolean).join(' ') || null, 'data-label': column.heading},
    el('button', {type: 'button', class: 'cell', tabindex: -1, 'aria-label': `${label}${{best: ', the best', tied: ', not told apart from the best'}[mark] || ''}`,
      'aria-haspopup': 'dialog', onclick: () => set({open: `${row.id}|${column.key}`})},
    cell.text || '—', cell.letters ? el('sup', {class: 'letters'}, cell.letters) : null,
    cell.odd ? el('span', {class: 'odd', title: 'measured otherwise than the rest of its column'}, ' ⚠') : null),
    range ? strip(column, row, range) : null,
    delta ? el('span', {class: 'delta'}, delta.split(/ (?=\()/).flatMap((part, i) => [i ? ' ' : null, el('span', {}, part)])) : null);
}

const CARD = 3;            // numbers of a row that its card on a phone shows before it is unfolded

// Return the columns that a card leaves folded: all but the first ones, the sorted one among these.
const foldedColumns = (columns, sorted) => [...new Set([sorted, ...columns].filter(Boolean))].slice(CARD);

// Return the button of a card that shows the folded numbers of its row.
function unfoldButton(row, folded) {
  const words = open => (open ? '▴ fewer' : `▾ ${folded} more`), label = open => `${words(open)} numbers of ${row.name}`;
  return el('button', {type: 'button', class: 'small quiet unfold', 'aria-expanded': 'false', 'aria-label': label(false), onclick: ({target}) => {
    const open = target.closest('tr').classList.toggle('unfolded');
    setAttributes(target, {'aria-expanded': String(open), 'aria-label': label(open)});
    write(target, words(open));
  }}, words(false));
}

function nameCell(row, folded) {
  const pinned = state.pins.includes(row.id), expanded = state.expanded.includes(row.id), several = row.runs.length > 1;
  const others = row.stands ? rowsOf(row.study).filter(other => other.model === row.model).length - 1 : 0;
  return el('th', {scope: 'row', class: 'name'},
    el('span', {class: 'namebox'},
      el('button', {type: 'button', class: 'pin', 'aria-pressed': String(pinned), 'aria-label': `pin ${row.name}`,
        onclick: () => set({pins: member(state.pins, row.id)})}, pinned ? '★' : '☆'),
      el('button', {type: 'button', class: 'expand', disabled: !several, 'aria-expanded': String(expanded),
        'aria-label': `seeds of ${row.name}`, onclick: () => set({expanded: member(state.expanded, row.id)})}, several ? (expanded ? '▾' : '▸') : ' '),
      swatch(row.family),
      el('button', {type: 'button', class: 'cell text', tabindex: -1, 'aria-haspopup': 'dialog',
        onclick: () => set({open: `${row.id}|`})}, row.name),
      collapsed(row) ? el('span', {class: 'chip bad', title: collapsed(row)}, 'collapsed') : null,
      row.finished < row.runs.length ? el('span', {class: 'chip warn'}, row.status) : null,
      others > 0 && state.rows === 'models' ? el('button', {type: 'button', class: 'small quiet', 'aria-label': `show ${others} more of ${row.model}`,
        onclick: () => set({rows: 'all', query: row.model})}, `+${others}`) : null,
      folded ? unfoldButton(row, folded) : null));
}

function seedRows(row, columns, extra) {
  return row.runs.map((run, place) => el('tr', {class: 'seed'},
    el('th', {scope: 'row', class: 'name'}, seedName(run)), columns.map(column => el('td', {'data-label': column.heading}, seedText(column, row, place))), extra.map(() => el('td'))));
}

function drawTable() {
  unranked = new Map();
  const study = current(), columns = shownColumns(study), table = byId('table-main');
  const found = blocks(study), rows = found.flatMap(block => block.rows);
  const base = state.baseline ? rowOf(study, state.baseline) : null;
  const extra = state.differs ? differing(rows).slice(0, SETTINGS_SHOWN) : [];
  const [key] = sorting(), sorted = columns.find(column => column.key === key);
  const values = sorted ? rows.flatMap(row => seedValues(sorted, row)) : [];
  const folded = foldedColumns(columns, sorted);
  const range = values.length > 1 ? [Math.min(...values), Math.max(...values)] : null;
  const focus = document.activeElement?.closest?.('#table-main') ? placeOf(document.activeElement) : null;
  const head = el('tr', {}, headingCell('name', 'model'),
    columns.map(column => headingCell(column.key, column.heading + ARROWS[column.direction], column.unit && column.unit !== '1' ? `in ${column.unit}` : '')),
    extra.map(name => el('th', {scope: 'col', class: 'setting'}, text(name).replace(/\./g, '.\u200b'))));
  let left = rowsDrawn;
  const bodies = [];
  for (const block of found) {
    if (left <= 0) break;
    const lines = [];
    if (block.title) lines.push(el('tr', {class: 'block'}, el('th', {scope: 'rowgroup', colspan: 1 + extra.length + columns.length}, block.title, boundNote(block, sorted, found))));
    for (const row of block.rows.slice(0, left)) {
      const own = new Map(study.settings[row.index]);
      lines.push(el('tr', {class: row === base ? 'base' : state.pins.includes(row.id) ? 'pinned' : null, 'data-row': row.id}, nameCell(row, narrow() ? folded.length + extra.length : 0),
        columns.map(column => drawCell(column, row, base, column === sorted ? range : null, folded.includes(column))),
        extra.map(name => el('td', {class: 'setting rest', 'data-label': text(name)}, own.has(name) ? text(own.get(name)) : 'unset'))));
      if (state.expanded.includes(row.id)) lines.push(...seedRows(row, columns, extra));
    }
    left -= block.rows.length;
    bodies.push(el('tbody', {}, lines));
  }
  if (columns.some(column => column.floor !== null)) {
    bodies.push(el('tbody', {}, el('tr', {class: 'floor'}, el('th', {scope: 'row', class: 'name'}, 'real data (floor)'),
      columns.map(column => el('td', {'data-label': column.heading}, column.floor_text)), extra.map(() => el('td')))));
  }
  fill(table, el('caption', {class: 'hidden'}, `${study.title}: ${rows.length} configurations`), el('thead', {}, head), ...bodies);
  const first = table.querySelector('tbody button.cell');
  if (first) first.tabIndex = 0;
  if (focus) focusPlace(focus);
  fill(byId('table-more'), !rows.length ? nothingLeft() : rows.length > rowsDrawn ? el('button', {type: 'button', onclick: () => { rowsDrawn += WINDOW; drawTable(); }},
    `${rowsDrawn} of ${rows.length} rows drawn; show ${Math.min(WINDOW, rows.length - rowsDrawn)} more`) : null);
  const total = study.rows.id.length;
  write(byId('table-count'), `${rows.length} of ${count(total, 'configuration')}` +
    (state.rows === 'models' && !state.query ? ": one a model (the one that a study varies), the helper's usual answers, and what is pinned" : ''));
  const unshown = state.differs ? differing(rows).slice(SETTINGS_SHOWN) : [];
  const hiddenSettings = unshown.length ? [`${SETTINGS_SHOWN} of the ${SETTINGS_SHOWN + unshown.length} settings that differ are shown; also: ${unshown.map(text).join(', ')}.`] : [];
  fill(byId('table-notes'), [...study.notes, ...hiddenSettings, ...tableNotes(columns, rows)].map(note => el('li', {}, note)));
}

// Return a note on the bounds that tests have shown to be better than exact values (column.proven); null if none is.
// A bound that is worse than an exact value proves nothing.
function boundNote(block, column, all) {
  if (!column || block.kind !== 'lower bound') return null;
  const shown = new Map(all.flatMap(one => one.rows).map(row => [row.index, row]));
  const told = (column.proven || []).map(([bound, beaten]) => [shown.get(bound), beaten.map(one => shown.get(one)).filter(Boolean)])
    .filter(([row, beaten]) => row && beaten.length).map(([row, beaten]) => `${row.name} (${cellOf(column, row).text}) is better than the exact values of ${beaten.map(one => one.name).join(', ')}`);
  return told.length ? el('span', {class: 'note'}, ` ${told.join('; ')}: ${DATA.bound_test}. A bound above an exact value proves nothing.`) : null;
}

function tableNotes(columns, rows) {
  const notes = [], cells = columns.flatMap(column => rows.slice(0, rowsDrawn).map(row => cellOf(column, row)));
  if (cells.some(cell => cell.letters)) {
    notes.push('Letters: configurations that share one cannot be told apart (paired over test examples where there are any, else Welch over seeds, all pairs corrected by Holm at 5 %), among the one row a model; other configurations of a model are not ranked. Filled: the best for sure, every other one is significantly worse (counts: none is smaller). Hatched: not told apart from the best, and surely better than some other where the best is. Neither where an unranked row on show has a better number.');
  }
  const base = state.baseline && rowOf(current(), state.baseline);
  if (base) notes.push(`Differences are to ${base.name}: ± is their standard error, paired over the test examples where both have their likelihoods, else of the means over seeds; of one seed that of its evaluation (± ?: not known).`);
  const single = rows.length && rows.every(row => row.runs.length === 1);
  notes.push(single ? 'One seed each (n = 1): ± is the standard error of the evaluation, and there are no ranks.' : '± is the standard deviation over [n] seeds; for one seed it is the standard error of the evaluation.');
  notes.push(...new Set(columns.flatMap(column => column.captions)));
  if (rows.some(row => collapsed(row))) notes.push(`Collapsed: a run of it has samples more than ${state.guard} times as far from the data as the best, hardly any kinds of samples, or a broken likelihood (the drawer says which); never marked as the best at anything but a sound likelihood, however fast.`);
  if (cells.some(cell => cell.kind === 'exact†')) notes.push('† exact for the dequantised density: on average over its noise, an upper bound on the integers’ value.');
  if (cells.some(cell => cell.odd)) notes.push('⚠ measured otherwise than the rest of its column, so not ranked; click it for the conditions.');
  return notes;
}

// The table is one stop of the Tab key; arrows move between its cells.
function placeOf(node) {
  const cell = node.closest('td, th'), row = cell?.parentElement;
  return cell ? [[...byId('table-main').rows].indexOf(row), cell.cellIndex, [...cell.querySelectorAll('button')].indexOf(node)] : null;
}

function focusPlace([rowIndex, cellIndex, buttonIndex]) {
  const row = byId('table-main').rows[rowIndex], buttons = row?.cells[cellIndex]?.querySelectorAll('button');
  const target = buttons && (buttons[buttonIndex] || buttons[buttons.length - 1]);
  if (target) target.focus({preventScroll: true});
  return Boolean(target);
}

function moveInTable(event) {
  const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key];
  const place = step && placeOf(event.target);
  if (!place) return;
  event.preventDefault();
  let [row, cell] = place;
  for (let tries = 0; tries < 30; tries++) {
    row += step[0];
    cell += step[1];
    if (focusPlace([row, cell, -1])) { document.activeElement.scrollIntoView({block: 'nearest', inline: 'nearest'}); return; }
  }
}

function drawTableControls() {
  const study = current(), groups = [...new Set(study.columns.map(column => column.group))];
  const columns = shownColumns(study);
  fill(byId('table-controls'),
    select('columns', [['overview', 'overview'], ...groups.map(group => [group, group]), ['all', 'all']], state.columns.length ? '' : state.group,
      group => set({group, columns: []})),
    el('details', {class: 'chooser'}, el('summary', {}, 'choose'),
      el('div', {class: 'choices'}, study.columns.map(column => toggle(`${column.heading} (${column.group})`, columns.includes(column), on => {
        const keys = shownColumns(study).map(other => other.key);
        set({columns: on ? [...keys, column.key] : keys.filter(key => key !== column.key)});
      })))),
    select('rows', [['models', 'one a model'], ['all', 'all configurations'], ['pinned', 'pinned']], state.rows, rows => set({rows})),
    select('sort by', [['', 'family'], ['name', 'name'], ...columns.map(column => [column.key, column.heading])], sorting()[0], key => set({sort: key})),
    select('cell', [['mean', 'mean ± sd'], ['median', 'median (range)']], state.statistic, statistic => set({statistic})),
    select('baseline', [['', 'none'], ...rowsOf(study).filter(row => row.stands || state.pins.includes(row.id) || row.id === state.baseline).map(row => [row.id, row.name])],
      state.baseline, baseline => set({baseline})),
    toggle('settings that differ', state.differs, differs => set({differs})),
    el('label', {class: 'field'}, el('span', {}, 'collapsed above ×'),
      el('input', {type: 'number', min: 1, step: 1, value: state.guard, onchange: event => set({guard: Math.max(1, Number(event.target.value) || 10)})})),
    el('span', {class: 'buttons'}, Object.entries(COPIES).map(([name, make]) => {
      const button = el('button', {type: 'button', class: 'small', onclick: () => copyText(make(), button)}, `copy ${name}`);
      return button;
    })));
}

// Mark a box that scrolls sideways while something of it is out of sight at its right, so that its edge shows that it goes on.
function followEdge(box) {
  const look = () => box.classList.toggle('cut', box.scrollWidth - box.clientWidth - box.scrollLeft > 1);
  const observer = new ResizeObserver(look);
  for (const node of [box, ...box.children]) observer.observe(node);
  box.addEventListener('scroll', look);
  return box;
}

function startTable() {
  followEdge(byId('table-scroll'));
  byId('table-main').addEventListener('keydown', moveInTable);
  addView([...FILTERS, 'group', 'columns', 'sort', 'differs', 'statistic', 'expanded', 'baseline', 'guard'], byId('table'), () => {
    drawTable();
  });
  addView(['study', 'group', 'columns', 'rows', 'sort', 'statistic', 'baseline', 'differs', 'guard', 'pins'], byId('table'), () => {
    if (!byId('table-controls').contains(document.activeElement)) drawTableControls();
  });
}
