// What the reader has chosen: one object, mirrored in the address, so that a view can be sent to somebody.

const FIELDS = {  // name in the address, the value of a page that nobody has touched, and what it may be: words, or numbers from a least one
  study: ['s', () => DATA.studies[0].id],
  group: ['g', 'overview'],
  columns: ['c', []],
  query: ['q', ''],
  hidden: ['f', []],
  status: ['st', 'all', () => ['all', 'finished', 'troubled']],
  rows: ['r', 'models', () => ['models', 'all', 'pinned']],
  sort: ['o', ''],
  differs: ['d', false],
  statistic: ['m', 'mean', () => ['mean', 'median']],
  expanded: ['e', []],
  pins: ['p', []],
  baseline: ['b', ''],
  guard: ['gd', GUARD, 1],
  x: ['x', 'latency'],
  y: ['y', ''],
  linear: ['ln', []],
  front: ['fr', true],
  curve: ['cv', ''],
  axis: ['ax', 'updates', () => Object.keys(AXIS_WORDS)],
  bandsLog: ['cl', false],
  reach: ['tt', ''],
  scale: ['sc', 'batch', () => Object.keys(SCALES)],
  strip: ['sp', ''],
  budget: ['k', 1, 1],
  tau: ['t', 0.05, 1e-9],
  sample: ['i', 0, 0],
  shown: ['sv', ''],
  a: ['A', ''],
  b: ['B', ''],
  open: ['w', ''],
  evidence: ['ev', ''],
  claim: ['L', ''],
  verdict: ['v', 'all', () => ['all', ...Object.keys(VERDICTS)]],
  likelihood: ['hl', 'any', () => LIKELIHOODS_ASKED.map(([key]) => key)],
  latency: ['hm', ''],
  throughput: ['ht', ''],
  training: ['hd', ''],
  parameters: ['hp', ''],
  memory: ['hy', ''],
  invertible: ['hi', false],
  conditional: ['hc', false],
  checkpoint: ['hk', false],
  dimension: ['hn', ''],
  lost: ['hu', ''],
  prefer: ['hw', '', () => [...Object.keys(WEIGHTS), 'own']],
  fidelity: ['hwf', 1, 0],
  coverage: ['hwc', 0, 0],
  density: ['hwd', 0, 0],
};

const state = {};
const views = [];          // {uses: [names of fields], section, draw: when it is needed, now: at once}

const initial = name => {
  const value = FIELDS[name][1];
  return typeof value === 'function' ? value() : Array.isArray(value) ? [...value] : value;
};

// Return the items of a list in an address; one that was cut or mangled on its way is left out.
function itemsOf(list) {
  return list.split(',').flatMap(item => {
    try { return item ? [decodeURIComponent(item)] : []; } catch { return []; }
  });
}

// Return the value that a text of the address gives to a field; its first value where the text makes no sense.
function valueOf(found, first, allowed) {
  if (Array.isArray(first)) return itemsOf(found);
  if (typeof first === 'boolean') return found === '1';
  if (typeof first === 'number') return found.trim() && Number.isFinite(Number(found)) && Number(found) >= allowed ? Number(found) : first;
  return allowed && !allowed().includes(found) ? first : found;
}

// Read the state off the address; what the address does not name, or names in vain, has its first value.
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [name, [key, , allowed]] of Object.entries(FIELDS)) {
    const first = initial(name), found = given.get(key);
    state[name] = found === null ? first : valueOf(found, first, allowed);
  }
  if (!DATA.studies.some(study => study.id === state.study)) state.study = DATA.studies[0].id;
}

// Return the address of the present view, without what has its first value.
function address() {
  const shown = new URLSearchParams();
  for (const [name, [key]] of Object.entries(FIELDS)) {
    const value = state[name], first = initial(name);
    if (Array.isArray(value) ? value.join() === first.join() : value === first) continue;
    if (Array.isArray(value)) shown.set(key, value.map(encodeURIComponent).join(','));
    else shown.set(key, typeof value === 'boolean' ? (value ? '1' : '0') : String(value));
  }
  return shown.toString();
}

function writeAddress() {
  const now = address();
  if (now !== location.hash.slice(1)) history.replaceState(null, '', `#${now}`);
}

// Change fields of the state and draw what depends on them.
function set(changes) {
  const changed = Object.keys(changes).filter(name => String(state[name]) !== String(changes[name]));
  if (!changed.length) return;
  Object.assign(state, changes);
  writeAddress();
  draw(changed);
}

// Draw the views that use some fields; all of them without an argument.
function draw(changed = null) {
  for (const view of views) {
    if (changed === null || changed.some(name => view.uses.includes(name))) view.draw();
  }
}

const queue = new Set();   // charts that wait to be drawn, one in each turn, so that the table answers at once
let drawing = null;

// Return a promise that is kept when every chart near the window is drawn.
function idle() {
  return drawing || Promise.resolve();
}

function later(work) {
  queue.add(work);
  drawing ??= (async () => {
    while (queue.size) {
      await new Promise(done => setTimeout(done));
      const [next] = queue;
      queue.delete(next);
      next();
    }
    drawing = null;
  })();
}

// Add a view. A chart is drawn when it comes near the window, so that a page of many charts opens at once.
function addView(uses, node, drawNow, lazy = false) {
  const section = node.closest('section')?.id;
  if (!lazy) { views.push({uses, section, draw: drawNow, now: drawNow}); return; }
  let near = false, stale = true;
  const work = () => { if (near && stale) { stale = false; drawNow(); } };
  new IntersectionObserver(entries => {
    near = entries.at(-1).isIntersecting;
    if (near && stale) later(work);
  }, {rootMargin: '300px'}).observe(node);
  views.push({uses, section, now: drawNow, draw: () => { stale = true; if (near) later(work); }});
}

const current = () => studyOf(state.study);
const member = (list, item) => list.includes(item) ? list.filter(other => other !== item) : [...list, item];
const FILTERS = ['study', 'query', 'hidden', 'status', 'rows', 'pins'];

function searched(row) {
  return once(row.study, `search ${row.id}`, () => [row.name, row.model, row.family, row.id,
    ...row.runs.map(run => DATA.runs.id[run]),
    ...row.study.settings[row.index].map(([name, value]) => `${text(name)}=${text(value)}`)].join(' ').toLowerCase());
}

// Return the ids of the answers of the decision helper to the question without constraints; none of MANY configurations,
// each of which the helper holds against all others.
const usualAnswers = study => once(study, 'usual answers', () => new Set(rowsOf(study).length > MANY ? [] : decided(study, NOTHING_ASKED).cards.map(card => card.row.id)));

// Return whether the search and the filters at the top are in use.
const filtered = () => Boolean(state.query.trim() || state.hidden.length || state.status !== 'all');

// Return the rows that the search and the filters at the top leave. Helper, trade-off and table are all about these rows.
function matching(study) {
  const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
  return rowsOf(study).filter(row => !state.hidden.includes(row.family) && !(state.status === 'finished' && row.finished < row.runs.length) &&
    !(state.status === 'troubled' && !lostOf(row).total) && words.every(word => searched(row).includes(word)));
}

// Return in words which configurations a view is about.
function scopeText(study) {
  const all = count(rowsOf(study).length, 'configuration');
  return filtered() ? `the ${matching(study).length} of ${all} that the search and the filters leave` : `all ${all}`;
}

// Return a sentence that no row is left to show, with a button that resets the search and the filters.
const nothingLeft = () => el('p', {class: 'warnbox', role: 'status'}, filtered() ? 'Nothing matches the search and the filters. ' : 'Nothing is pinned. ',
  el('button', {type: 'button', class: 'small', onclick: resetFilter}, 'reset'));

function resetFilter() {
  byId('search').value = '';
  set({query: '', hidden: [], status: 'all', rows: state.rows === 'pinned' ? 'models' : state.rows});
}

// Return the rows of a study that the filters leave. Beside the row that stands for each model are the helper's usual
// answers, so that it names none that is out of sight. Pinned rows stay in sight of every choice but the search.
function visible(study = current(), scope = state.rows) {
  const searching = Boolean(state.query.trim());
  return matching(study).filter(row => {
    const pinned = state.pins.includes(row.id);
    if (scope === 'models' && !row.stands && !pinned && !searching && !usualAnswers(study).has(row.id)) return false;
    return scope !== 'pinned' || pinned;
  });
}
