// The head of the page, the filter bar, and the start.

function jump(id) {
  const section = byId(id);
  section.scrollIntoView();
  section.querySelector('h2')?.focus({preventScroll: true});
}

function drawHead() {
  const made = DATA.made, study = current();
  const unfinished = made.runs - made.finished;
  fill(byId('facts'), [
    `${count(made.runs, 'run')} of ${count(made.models, 'model')}, ${count(made.seeds, 'seed')}`,
    `${count(DATA.studies.length, 'comparison')} (data set and protocol)`,
    unfinished ? `${unfinished} not finished` : null, made.newest ? `newest record ${made.newest} UTC` : null,
    made.machines.length ? `on ${made.machines[0]}${made.machines.length > 1 ? ` and ${made.machines.length - 1} more` : ''}` : null,
    made.protocols.length > 1 ? `${made.protocols.length} protocols` : made.protocols.length ? `one protocol: ${study.judged_words}` : null,
    made.versions.length ? `records of zoo ${made.versions.join(', ')}` : null,
    made.commits.length ? `commit ${made.commits.slice(0, 3).join(', ')}${made.commits.length > 3 ? ` and ${made.commits.length - 3} more` : ''}` : null,
  ].filter(Boolean).map(words => el('li', {}, words)));
  const command = byId('made-command');
  if (command && !command.nextSibling) command.after(' ', el('button', {type: 'button', class: 'small', onclick: event => copyText(command.textContent, event.target)}, 'copy'));
  const warnings = [...(DATA.warnings || []), ...(made.cautions || [])];
  const alike = DATA.studies.filter(other => other.label === study.label && other !== study);
  if (alike.length) warnings.push(`${study.label} was judged under ${alike.length + 1} protocols, whose values do not compare; the other has ${protocolDifference(alike[0], study)}.`);
  if (made.machines.length > 1) warnings.push(`Runs are of ${made.machines.length} machines or loads; speeds of different ones are not ranked together.`);
  write(byId('about-said'), `About these records${warnings.length ? `, and ${count(warnings.length, 'warning')}` : ''}`);
  fill(byId('warnings'), warnings.map(words => el('li', {}, words)));
}

function drawFilter() {
  const study = current(), bar = byId('filter');
  const families = DATA.families.concat(rowsOf(study).map(row => row.family)).filter((family, i, all) => all.indexOf(family) === i && rowsOf(study).some(row => row.family === family));
  const search = byId('search');
  if (document.activeElement !== search) search.value = state.query;
  fill(byId('filter-study'), select('data', DATA.studies.map(one => [one.id, `${one.title} (${one.runs_count ?? one.rows.runs.flat().length} runs)`]), study.id,
    id => { rowsDrawn = WINDOW; set({study: id, expanded: [], open: ''}); }));
  fill(byId('filter-families'), families.map(family => el('button', {type: 'button', class: 'family', 'aria-pressed': String(!state.hidden.includes(family)),
    onclick: () => set({hidden: member(state.hidden, family)})}, swatch(family), family)));
  fill(byId('filter-status'), select('status', [['all', 'all'], ['finished', 'all seeds finished'], ['troubled', 'some seed lost']], state.status, status => set({status})));
  const pins = state.pins.filter(id => rowOf(study, id));
  fill(byId('filter-pins'), pins.length ? el('button', {type: 'button', class: 'small', onclick: () => set({pins: []})}, `${pins.length} pinned: unpin`) : null,
    address() ? el('button', {type: 'button', class: 'small', onclick: () => { location.hash = ''; readAddress(); draw(); search.focus({preventScroll: true}); }}, 'reset') : null,
    el('button', {type: 'button', class: 'small', onclick: event => copyText(location.href, event.target)}, 'copy link'));
  bar.classList.toggle('filtered', Boolean(state.query || state.hidden.length || state.status !== 'all'));
}

// A family's button keeps the focus when the bar is drawn again.
function keepFocus(work) {
  const label = document.activeElement?.textContent, within = document.activeElement?.closest('#filter');
  work();
  if (within && label && !document.contains(document.activeElement)) return;
  if (within && label) [...within.querySelectorAll('button')].find(button => button.textContent === label)?.focus({preventScroll: true});
}

function startFilter() {
  let waiting = 0;
  byId('search').addEventListener('input', event => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { rowsDrawn = WINDOW; set({query: event.target.value}); }, 120);
  });
  document.addEventListener('keydown', event => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === '/' && !typing && !byId('sheet').open) { event.preventDefault(); byId('search').focus(); }
    if (event.key === 'Escape' && event.target === byId('search')) { event.target.value = ''; set({query: ''}); }
  });
  byId('filter-toggle').addEventListener('click', () => {
    const open = byId('filter').classList.toggle('open');
    byId('filter-toggle').setAttribute('aria-expanded', String(open));
  });
  addView([...FILTERS, 'sort', 'group', 'baseline', 'verdict'], byId('filter'), () => keepFocus(drawFilter));
  addView(['study'], byId('facts'), drawHead);
}

// Link to the sections that the present study has.
function drawNavigation() {
  fill(byId('nav'), [...document.querySelectorAll('main > section')].filter(section => !section.hidden).map(section =>
    el('a', {href: `#${section.id}`, onclick: event => { event.preventDefault(); jump(section.id); }}, section.querySelector('h2').textContent)));
}

function startNavigation() {
  document.querySelectorAll('a.skip').forEach(link => link.addEventListener('click', event => { event.preventDefault(); jump(link.getAttribute('href').slice(1)); }));
}

// Leave room above a heading for the bar that stays at the top, which is as high as its choices need.
function followBar() {
  const bar = byId('filter');
  new ResizeObserver(() => { document.documentElement.style.scrollPaddingTop = `${bar.offsetHeight + 8}px`; }).observe(bar);
}

// On a phone the facts and the warnings are folded, so that the slide stands first; elsewhere they are always open.
function foldHead() {
  const phone = matchMedia('(max-width: 700px)'), fold = () => { byId('about').open = !phone.matches; };
  phone.addEventListener('change', fold);
  fold();
}

// Draw everything again in the colours of another theme.
function followTheme() {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => draw());
  let width = window.innerWidth, waiting = 0;
  addEventListener('resize', () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { if ((width < 700) !== narrow()) draw(); width = window.innerWidth; }, 150);
  });
}

// Show the tables for browsers without scripts, where the numbers of the page cannot be unpacked.
function showPlain() {
  const plain = document.querySelector('main > noscript'), parsed = new DOMParser().parseFromString(plain.textContent, 'text/html');
  parsed.querySelector('.warnbox').textContent = 'The numbers inside this file are damaged, or this browser is too old to unpack them: here are the tables and the verdicts, without choices.';
  document.querySelectorAll('.skip, #filter, main > section').forEach(part => { part.hidden = true; });
  plain.after(...parsed.body.children);
}

async function start() {
  try { DATA = await unpackJson('data'); } catch { showPlain(); return; }
  if (DATA.jobs) drawJobs();
  if (!DATA.studies.length) {  // a live page before the first record
    document.querySelectorAll('#filter, main > section').forEach(part => { part.hidden = true; });
    listen();
    return;
  }
  holdWritten();
  readAddress();
  foldHead();
  for (const begin of STARTS) begin();
  document.documentElement.classList.add('ready');
  draw();
  addEventListener('hashchange', () => { if (location.hash.slice(1) !== address()) { readAddress(); draw(); } });
  followTheme();
  followBar();
  await new Promise(done => { requestAnimationFrame(() => setTimeout(done)); });  // the table is painted before the rest is unpacked
  try { SERIES = await unpackJson('series'); PIXELS = await unpack('pixels'); } catch { showPlain(); return; }
  await runLibrary();
  for (const begin of LATER) begin();
  addView(['study'], byId('nav'), drawNavigation);  // the last: sections show or hide themselves before
  draw();
  if (DATA.jobs) listen();
}

const STARTS = [startFilter, startHelper, startTable, startDrawer, startNavigation, startPrinting];  // what needs the data alone
const LATER = [startTradeoff, startCurves, startMore, startSamples, startClaims];  // charts, curves and pixels; an address may lead to a claim, below all of them
window.zooReady = start();
window.zoo = {state, set, address, addressKeys: Object.values(FIELDS).map(([key]) => key), idle, tableTexts, COPIES, blocks, number, welch, tQuantile, holm, comparedValues, comparedRows, collapsed, front, visible, decide, constraints, rowsOf, columnOf, current, alike, chanceBetter, reached, turns, withoutEffort, riseOf, placed, divergences, markersOf, cut, widthOf, studyData: () => DATA};
