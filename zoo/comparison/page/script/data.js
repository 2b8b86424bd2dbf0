// What is packed inside the page: gzip under base64 in <script type="application/json">, and what is read off the data.

let DATA = null;          // studies, runs, strings, made, claims, ...
let SERIES = null;        // curves of each run
let PIXELS = null;        // samples and densities, one array of bytes

// Return the bytes of a packed element of the page.
async function unpack(id) {
  const packed = byId(id).textContent.trim();
  if (!packed) return null;
  const binary = atob(packed), bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function unpackJson(id) {
  const bytes = await unpack(id);
  return bytes === null ? null : JSON.parse(new TextDecoder().decode(bytes));
}

// Run the library that draws charts, whose block is the last of the page and may still be on its way. If the block is
// damaged, or its text is not the one that the page's policy names, there is no Plotly afterwards.
async function runLibrary() {
  if (document.readyState === 'loading') await new Promise(done => { document.addEventListener('DOMContentLoaded', done, {once: true}); });
  const script = document.createElement('script');
  try { script.textContent = new TextDecoder().decode(await unpack('library')); } catch { return; }
  document.head.append(script);
  script.remove();
}

// The guard against collapsed models, as in zoo/comparison/guards.py: a distance is too large beyond GUARD times the
// least one of the study, and FLOORS times that of real data where it is sure (guarded).
const GUARD = 10, FLOORS = 20;
const MANY = 200;  // configurations of a study, beyond which the page does not ask the helper's default question by itself
const KINDS = ['exact', 'exact†', 'lower bound', 'estimate', 'mixed'];
// What the kind of a likelihood means, after a sentence that names the kind.
const KIND_MEANS = {'exact†': 'a bound for the integer pixels', 'lower bound': 'the true value is at most this', 'mixed': 'kinds differ between the seeds'};
const KIND_WORDS = {
  'exact': 'exact: computed without approximation',
  'exact†': 'exact†: exact for the dequantised density, a bound for the integer pixels',
  'lower bound': '≤ bound: the true value is at most this, so each is at least as good as its number',
  'estimate': '≈ estimate: a solver, or a stochastic or truncated trace, stands between',
  'mixed': 'kinds differ between the seeds',
  '': 'no value',
};

// What a kind is called in a legend or a list; the words of KIND_WORDS before their colon.
const KIND_NAMES = {'exact': 'exact', 'exact†': 'exact†', 'lower bound': '≤ bound', 'estimate': '≈ estimate', 'mixed': 'mixed kinds', '': 'no likelihood'};

// Return a value or a name with the mark of its kind of likelihood: before a value, behind a name.
const markedValue = (kind, words) => `${{'lower bound': '≤ ', 'estimate': '≈ '}[kind] || ''}${words}${kind === 'exact†' ? '†' : ''}`;
const markedName = (kind, words) => `${words}${{'lower bound': ' ≤', 'estimate': ' ≈', 'exact†': ' †'}[kind] || ''}`;

const memory = new Map();  // what is computed once for each study

function once(study, name, make) {
  const key = `${study.id}\n${name}`;
  if (!memory.has(key)) memory.set(key, make());
  return memory.get(key);
}

const studyOf = id => DATA.studies.find(study => study.id === id) || DATA.studies[0];
const columnsOf = study => once(study, 'columns', () => new Map(study.columns.map(column => [column.key, column])));
const columnOf = (study, key) => columnsOf(study).get(key);
const text = place => DATA.strings[place];

// Return the rows of a study as objects.
function rowsOf(study) {
  return once(study, 'rows', () => study.rows.id.map((id, index) => ({
    id, index, study,
    model: study.rows.model[index], family: study.rows.family[index], name: study.rows.name[index],
    stands: Boolean(study.rows.stands[index]), runs: study.rows.runs[index],
    status: study.rows.status[index], finished: study.rows.finished[index],
  })));
}

const rowOf = (study, id) => rowsOf(study).find(row => row.id === id);
const standing = (study, model) => rowsOf(study).find(row => row.model === model && row.stands);

// Return the settings of a row, those that all rows share included.
function settingsOf(row) {
  const all = Object.fromEntries(Object.entries(row.study.shared).map(([name, place]) => [name, text(place)]));
  for (const [name, value] of row.study.settings[row.index]) all[text(name)] = text(value);
  return all;
}

// Return [name, value here, value there] for each setting in which two rows differ.
function differences(row, other) {
  const own = Object.fromEntries(row.study.settings[row.index].map(([n, v]) => [text(n), text(v)]));
  const theirs = Object.fromEntries(other.study.settings[other.index].map(([n, v]) => [text(n), text(v)]));
  const names = [...new Set([...Object.keys(own), ...Object.keys(theirs)])].sort();
  return names.filter(name => own[name] !== theirs[name])
    .map(name => [name, own[name] ?? 'unset', theirs[name] ?? 'unset']);
}

// Return a cell: its text, value, spread, number of seeds, kind and letters.
function cellOf(column, row) {
  const i = row.index;
  return {
    text: column.text[i], value: column.value[i], spread: column.spread[i], n: column.n[i], kind: column.kind[i],
    odd: Boolean(column.odd[i]), why: text(column.why[i]), raw: text(column.raw[i]), seeds: column.seeds ? column.seeds[i] : null,
    letters: column.letters ? column.letters[i] : '', tied: column.tied ? Boolean(column.tied[i]) : false,
    sure: column.sure ? Boolean(column.sure[i]) : false,
  };
}

// Return the values of the finished seeds of a row.
function seedValues(column, row) {
  if (!column || !column.seeds) return [];
  return known(row.runs.map((run, place) =>
    text(DATA.runs.status[run]) === 'finished' ? column.seeds[row.index][place] : null));
}

// Return how many runs of a row diverged, failed or collapsed, by Python's limits: {total, runs, how}.
const lostOf = row => row.study.helper.rows[row.index].lost;

// Return which runs of a row have collapsed, and why; empty if none has. The reasons come from Python. If the reader has
// chosen another factor than GUARD, the distance of each seed is judged here by that factor, and the other reasons stay.
function collapsed(row, times = state.guard) {
  if (times === GUARD) return row.study.helper.rows[row.index].collapsed;
  const apart = row.study.helper.rows[row.index].collapsed_apart;
  const column = row.study.quality && columnOf(row.study, row.study.quality);
  const values = column ? seedValues(column, row) : [];
  if (apart || !values.length) return apart;
  const best = once(row.study, 'best quality', () => {
    const found = known(column.value);
    return found.length ? Math.min(...found) : null;
  });
  const limit = Math.max(times * Math.max(best ?? 0, 0), FLOORS * row.study.guarded);
  const far = values.filter(value => limit > 0 && value > limit).length;
  return far ? `${far} of ${count(values.length, 'run')} collapsed: samples more than ${times} times as far from the data as the best` : '';
}

// Return the place of a family among the colours; families of a user's own share the last.
const hue = family => {
  const place = DATA.families.indexOf(family);
  return place < 0 ? DATA.families.length - 1 : place;
};

const swatch = family => el('span', {class: `swatch f${hue(family)}`, 'aria-hidden': 'true'});

// Return a colour of the style sheet in the present theme.
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const familyColour = family => colour(`f${hue(family)}`);
