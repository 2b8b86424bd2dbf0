// The sheet that opens from any number: seeds, kind, protocol, command, differences, code, machine, checkpoint.

function openSheet(title, ...content) {
  const sheet = byId('sheet');
  write(byId('sheet-title'), title);
  fill(byId('sheet-body'), ...content);
  if (!sheet.open) sheet.showModal();
  byId('sheet-body').scrollTop = 0;
}

const facts = pairs => el('dl', {class: 'facts'}, pairs.filter(([, value]) => value !== null && value !== undefined && value !== '')
  .flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));

// Return texts once, each with the seeds that it belongs to where they differ.
function bySeed(row, fact) {
  const found = new Map();
  for (const run of row.runs) {
    const value = fact(run);
    if (value) found.set(value, [...(found.get(value) || []), DATA.runs.seed[run]]);
  }
  if (found.size <= 1) return [...found.keys()][0] || '';
  return [...found].map(([value, seeds]) => `${value} (seed ${seeds.join(', ')})`).join('; ');
}

// Return the command that makes a run again with the defaults of its time; null if its own does so, or none can.
function restoredPart(run) {
  const command = text(DATA.runs.restored[run]);
  return command ? el('div', {}, el('p', {class: 'small-text'}, 'With the defaults of its time, which makes the same run today:'), copyable(command)) : null;
}

function drawDrawer() {
  if (!state.open) { if (byId('sheet').open) byId('sheet').close(); return; }
  const study = current(), split = state.open.lastIndexOf('|');
  const row = rowOf(study, state.open.slice(0, split)), column = columnOf(study, state.open.slice(split + 1));
  if (!row) return;
  const cell = column ? statisticOf(column, row) : null;
  const base = (state.baseline && rowOf(study, state.baseline)) || standing(study, row.model);
  const changes = base && base !== row ? differences(row, base) : [];
  openSheet(column ? `${row.name} · ${column.heading}` : row.name,
    column ? el('p', {class: 'big'}, `${cell.text || '—'}${cell.letters ? ` (group ${cell.letters})` : ''}`) : null,
    el('p', {class: 'dim'}, swatch(row.family), ` ${row.family}, ${row.status}`),
    column ? seedsPart(column, row) : null,
    column && column.likelihood && cell.kind && !cell.why ? el('p', {}, KIND_WORDS[cell.kind]) : null,
    column && cell.why ? el('p', {}, `${cell.why}${column.likelihood && KIND_MEANS[cell.kind] ? `; ${KIND_MEANS[cell.kind]}` : ''}`) : null,
    collapsed(row) ? el('p', {class: 'warnbox'}, `${collapsed(row)}. The row is in no best but that of a sound likelihood, whatever its numbers.`) : null,
    el('h3', {}, 'Reproduce'),
    row.runs.slice(0, 1).map(run => (DATA.runs.command[run] ? copyable(DATA.runs.command[run]) : el('p', {}, 'The record has no command.'))),
    text(DATA.runs.departs[row.runs[0]]) ? el('p', {class: 'warnbox'}, text(DATA.runs.departs[row.runs[0]])) : null,
    restoredPart(row.runs[0]),
    row.runs.length > 1 ? el('details', {}, el('summary', {}, `all ${row.runs.length} seeds`), row.runs.map(run => copyable(DATA.runs.command[run] || 'no command recorded'))) : null,
    changes.length ? [el('h3', {}, `Differs from ${base.name}`),
      el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'settings that differ'}, el('table', {class: 'plain'}, el('thead', {}, el('tr', {}, ['setting', row.name, base.name].map(name => el('th', {scope: 'col'}, name)))),
        el('tbody', {}, changes.map(([name, here, there]) => el('tr', {}, el('th', {scope: 'row'}, name), el('td', {}, here), el('td', {}, there))))))] : null,
    publishedPart(row, column),
    el('h3', {}, 'Where it comes from'),
    facts([
      ['data', `${study.title}${study.about?.sizes ? `: ${Object.entries(study.about.sizes).map(([name, n]) => `${name} ${n.toLocaleString('en')}`).join(', ')}` : ''}`],
      ['protocol', study.protocol ? `${study.judged_words} (hash ${study.protocol.slice(0, 12)})` : study.judged_words],
      ['config hash', bySeed(row, run => DATA.runs.hash[run])],
      ['commit', bySeed(row, run => text(DATA.runs.commit[run]))],
      ['versions', bySeed(row, run => text(DATA.runs.versions[run]))],
      ['machine', bySeed(row, run => text(DATA.runs.hardware[run]))],
      ['cluster', bySeed(row, run => text(DATA.runs.place[run]))],
      ['load', bySeed(row, run => text(DATA.runs.load[run])) || (column && column.group === 'sampling' ? 'not recorded: times may be of a busy machine' : '')],
      ['judged again', bySeed(row, run => text(DATA.runs.again[run]))],
      ['checkpoint', bySeed(row, run => text(DATA.runs.checkpoint[run]))],
      ['finished', bySeed(row, run => text(DATA.runs.finished[run]))],
      ['directories', row.runs.map(run => DATA.runs.directory[run]).join(', ')],
    ]),
    row.runs.some(run => text(DATA.runs.reason[run])) ? [el('h3', {}, 'What went wrong'),
      el('dl', {class: 'facts'}, row.runs.filter(run => text(DATA.runs.reason[run])).flatMap(run => [el('dt', {}, `seed ${DATA.runs.seed[run]}`), el('dd', {}, `${text(DATA.runs.status[run])}: ${text(DATA.runs.reason[run])}`)]))] : null,
    el('details', {}, el('summary', {}, 'all settings'), facts(Object.entries(settingsOf(row)).sort(([a], [b]) => a.localeCompare(b))),
      cell?.raw ? [el('p', {class: 'small-text'}, `As this number's record has it: ${cell.raw}`)] : null,
      el('p', {class: 'small-text'}, `The protocol: ${Object.entries(study.judged).map(([name, value]) => `${name} ${value}`).join(', ') || 'not recorded'}`)),
    el('p', {class: 'buttons'},
      el('button', {type: 'button', onclick: () => set({pins: member(state.pins, row.id)})}, state.pins.includes(row.id) ? 'unpin' : 'pin'),
      el('button', {type: 'button', onclick: () => set({baseline: state.baseline === row.id ? '' : row.id})}, state.baseline === row.id ? 'no longer the baseline' : 'make it the baseline')));
}

// Return the published values that a row repeats, those of the column's own quantity first; null without any.
function publishedPart(row, column) {
  const values = [...new Set(row.runs.flatMap(run => (DATA.runs.published[run] || []).map(places => places.join())))]
    .map(places => places.split(',').map(place => text(place)));
  if (!values.length) return null;
  const key = column && column.key;
  values.sort((a, b) => (b[0] === key) - (a[0] === key));
  return [el('h3', {}, 'Published'), facts(values.map(([metric, cell, value, source]) =>
    [cell, `${metric === key ? 'this number: ' : ''}${value}; ${source}`])), copyable(values[0][4])];
}

function seedsPart(column, row) {
  if (!column.seeds) return null;
  const values = row.runs.map((run, place) => [DATA.runs.seed[run], column.seeds[row.index][place]]).filter(([, value]) => value !== null);
  if (!values.length) return null;
  const finished = seedValues(column, row), several = finished.length > 1;
  return el('p', {}, 'seeds: ', values.map(([seed, value]) => `${seed}: ${exactly(value)}`).join(' · '),
    several ? ` (mean ${exactly(mean(finished))}, sd ${number(deviation(finished))}, standard error of the mean ${number(deviation(finished) / Math.sqrt(finished.length))})` : '');
}

// Return in words in what two protocols of the same data differ.
function protocolDifference(study, other) {
  const names = [...new Set([...Object.keys(study.judged), ...Object.keys(other.judged)])].sort();
  return names.filter(name => study.judged[name] !== other.judged[name])
    .map(name => `${study.judged_settings[name] ?? `${name} unset`} instead of ${other.judged_settings[name] ?? `${name} unset`}`).join('; ') || 'nothing that the records hold';
}

function startDrawer() {
  const sheet = byId('sheet');
  byId('sheet-close').addEventListener('click', () => sheet.close());
  sheet.addEventListener('click', event => { if (event.target === sheet) sheet.close(); });
  sheet.addEventListener('close', () => set({open: '', evidence: ''}));
  addView(['open', 'study', 'pins', 'baseline'], sheet, () => { if (state.open || (sheet.open && !state.evidence)) drawDrawer(); });
}
