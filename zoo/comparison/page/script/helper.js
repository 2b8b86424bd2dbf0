// The measured slide, and the form of the decision helper with its cards.

const VERDICT_CHIPS = {'yes': 'good', 'no': 'bad', 'bound': 'warn', 'estimate': 'warn', 'solver': 'warn', 'undecided': 'open', 'not measured': 'quiet'};
const QUESTIONS = ['parallel', 'sharp', 'stable', 'density'];

function drawSlide() {
  const slides = DATA.slides, own = slides.by_study[state.study], id = own && own.rows.length ? state.study : slides.first;
  const shown = id && slides.by_study[id];
  byId('slide').hidden = !shown || !shown.rows.length;
  if (byId('slide').hidden) return;
  const cellNode = (row, question) => {
    const cell = row.cells.find(one => one.question === question);
    if (!cell || cell.verdict === 'not measured') return el('td', {'data-label': `${question}?`}, el('span', {class: 'dim'}, cell?.text ? `not measured: ${cell.text}` : 'not measured'));
    const others = Object.entries(cell.others).filter(([, verdict]) => verdict !== cell.verdict && verdict !== 'not measured');
    return el('td', {'data-label': `${question}?`}, el('button', {type: 'button', class: 'cell', 'aria-haspopup': 'dialog', onclick: () => set({study: id, evidence: `${row.family}|${question}`})},
      el('span', {class: `chip ${VERDICT_CHIPS[cell.verdict]}`}, cell.verdict), ' ', cell.text),
      cell.counted ? el('span', {class: 'delta'}, `of ${cell.counted}`) : null,
      others.length ? el('span', {class: 'delta'}, others.map(([model, verdict]) => `${model}: ${verdict}`).join(', ')) : null);
  };
  fill(byId('slide-box'), el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'the measured slide'}, el('table', {class: 'slide'},
    el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, 'family'), QUESTIONS.map(question => el('th', {scope: 'col'}, `${question}?`)))),
    el('tbody', {}, shown.rows.map(row => el('tr', {}, el('th', {scope: 'row'}, row.family, el('span', {class: 'dim'}, ` (${row.model})`)), QUESTIONS.map(question => cellNode(row, question))))))),
  el('p', {class: 'dim small-text'}, el('span', {class: 'chip good'}, 'yes'), ' and ', el('span', {class: 'chip bad'}, 'no'), ' are sure: the whole 95 % interval, a count or the kind decides. ', el('span', {class: 'chip warn'}, 'bound'), ', estimate and solver are neither.'),
  el('ul', {class: 'notes'}, slides.thresholds.map(words => el('li', {}, words))),
  el('p', {class: 'dim small-text'}, `Of ${shown.about}.`, shown.absent.length ? ` No finished run of: ${shown.absent.join(', ')}.` : ''));
}

// Open the evidence of the cell that the address names, on the slide that is shown.
function drawEvidence() {
  if (!state.evidence) return;
  const [family, question] = state.evidence.split('|'), row = DATA.slides.by_study[state.study]?.rows.find(one => one.family === family);
  const cell = row?.cells.find(one => one.question === question);
  if (cell) openEvidence(state.study, row, cell);
}

function openEvidence(id, row, cell) {
  const claim = claimOf(cell.claim, id);
  openSheet(`${row.family}: ${cell.question}?`, el('p', {class: 'big'}, `${cell.verdict} · ${cell.text}`), el('p', {}, `The rule: ${cell.test}.`), el('p', {}, `${count(cell.n, 'run')} of ${cell.counted || row.model}.`),
    Object.keys(cell.others).length ? el('p', {}, `Other models of the family: ${Object.entries(cell.others).map(([model, verdict]) => `${model} ${verdict}`).join(', ')}.`) : null,
    el('p', {}, 'In the ledger: ', claim ? claimLink(claim) : cell.claim ? 'nothing of this was measured on these data.' : 'no claim asks this of the family.', claim && cell.apart ? ` ${cell.apart}` : null),
    el('p', {}, el('button', {type: 'button', onclick: () => { byId('sheet').close(); set({study: id, pins: cell.rows, rows: 'pinned', query: '', hidden: []}); jump('table'); }}, 'see its rows in the table')));
}

const NUMBER = '(\\d+\\.?\\d*(?:[eE][+-]?\\d+)?|\\.\\d+)';
const SECONDS = {us: 1e-6, 'µs': 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600};
const AMOUNTS = {'': 1, k: 1e3, m: 1e6, g: 1e9};

// Return a duration in seconds of a text such as "10 ms", "2 s", "1.5 h"; null for nothing, NaN for nonsense.
function secondsOf(words) {
  if (!words.trim()) return null;
  const found = new RegExp(`^\\s*${NUMBER}\\s*(us|µs|ms|s|min|h)\\s*$`, 'i').exec(words);
  return found ? Number(found[1]) * SECONDS[found[2].toLowerCase()] : NaN;
}

// Return a number of a text such as "1000", "200k", "1.5M", "2 GB"; null for nothing, NaN for nonsense.
function amountOf(words) {
  if (!words.trim()) return null;
  const found = new RegExp(`^\\s*${NUMBER}\\s*([kMG]?)B?\\s*$`, 'i').exec(words);
  return found ? Number(found[1]) * AMOUNTS[found[2].toLowerCase()] : NaN;
}

// Return a share of a text such as "10 %" or "0.1"; null for nothing, NaN for nonsense.
function shareOf(words) {
  if (!words.trim()) return null;
  const found = new RegExp(`^\\s*${NUMBER}\\s*(%?)\\s*$`).exec(words), share = found ? Number(found[1]) / (found[2] ? 100 : 1) : NaN;
  return share <= 1 ? share : NaN;
}

// Return a number of dimensions; null for nothing, NaN for nonsense.
function dimensionOf(words) {
  const value = amountOf(words);
  return value === null || (Number.isInteger(value) && value > 0) ? value : NaN;
}

// The fields of the form: what reads them, and examples of what they take.
const READ = {latency: [secondsOf, '10 ms, 0.5 s'], throughput: [amountOf, '1000, 20k'], training: [secondsOf, '60 s, 2 min, 1 h'],
  parameters: [amountOf, '200k, 1.5M'], memory: [amountOf, '500 MB, 2 GB'], dimension: [dimensionOf, '64, 3072'], lost: [shareOf, '10 %, 0.1']};

// Return the fields whose text cannot be read.
const unreadable = () => Object.keys(READ).filter(name => Number.isNaN(READ[name][0](state[name])));

const LIKELIHOODS_ASKED = [['any', 'any or none'], ['estimate', 'at least an estimate'], ['bound', 'at least a bound'], ['exact', 'exact']];
const WEIGHTS = {'': [null, 0, null], quality: [1, 0, 0], coverage: [0, 1, 0], likelihood: [0, 0, 1], balanced: [1, 1, 0]};

// Return the constraints that the form holds.
function constraints() {
  const [fidelity, coverage, density] = state.prefer === 'own' ? ['fidelity', 'coverage', 'density'].map(name => Math.max(0, state[name])) : WEIGHTS[state.prefer] || WEIGHTS[''];
  return {likelihood: state.likelihood, latency: secondsOf(state.latency), throughput: amountOf(state.throughput), training: secondsOf(state.training), memory: amountOf(state.memory),
    parameters: amountOf(state.parameters), invertible: state.invertible, conditional: state.conditional, checkpoint: state.checkpoint,
    dimension: dimensionOf(state.dimension), lost: shareOf(state.lost), fidelity, coverage, density};
}

function cardNode(card, study) {
  const {row} = card, facts = study.helper.rows[row.index];
  const run = row.runs.find(one => text(DATA.runs.status[one]) === 'finished') ?? row.runs[0], pictures = picturesOf(study, row).samples;
  return el('article', {class: 'card'}, el('h3', {}, swatch(row.family), ' ', el('button', {type: 'button', class: 'cell text', 'aria-haspopup': 'dialog', onclick: () => set({study: study.id, open: `${row.id}|`})}, row.name),
    card.letters ? el('sup', {class: 'letters'}, card.letters) : null),
  el('p', {class: 'small-text'}, card.why, card.ranked ? el('span', {class: 'dim'}, ` (best in ${share(card.onTop)} of draws)`) : null),
  PIXELS && pictures && pictures.kind === 'images' ? tiles(pictures, upTo(Math.min(6, pictures.count)), 6, `samples of ${row.name}`) : null,
  el('dl', {class: 'facts'}, facts.numbers.flatMap(([name, words]) => [el('dt', {}, name), el('dd', {}, words)])),
  el('p', {class: 'dim small-text'}, `${facts.error}; ${count(card.tried[0], 'configuration')} of ${row.model} tried, ${card.tried[1]} of its family`,
    card.lettered && !card.letters ? `; no letter, since the table ranks one configuration a model${standing(study, row.model) === row ? ' with two or more seeds' : ` (${standing(study, row.model).name})`}` : null),
  facts.beside_table ? el('p', {class: 'warnbox small-text'}, facts.beside_table) : null,
  facts.device ? el('p', {class: facts.elsewhere.latency ? 'warnbox small-text' : 'dim small-text'}, `timed on ${facts.device}${facts.elsewhere.latency ? '; its times are not compared with those of most runs here' : ''}`) : null,
  el('p', {class: 'dim small-text'}, `${facts.lost.text}${facts.checkpoint ? `; its weights lay beside the record when this page was made (${facts.checkpoint})` : ''}`),
  DATA.runs.command[run] ? (narrow() ? el('details', {}, el('summary', {class: 'small-text'}, 'command'), copyable(DATA.runs.command[run])) : copyable(DATA.runs.command[run])) : null,
  text(DATA.runs.departs[run]) ? el('p', {class: 'warnbox small-text'}, `${text(DATA.runs.departs[run]).replace(/\.$/, '').split('; ')[0]}.`) : null,
  restoredPart(run));
}

function drawHelper() {
  const wrong = unreadable();
  for (const input of byId('helper-controls').querySelectorAll('input[name]')) input.setAttribute('aria-invalid', String(wrong.includes(input.name)));
  if (wrong.length) {
    fill(byId('helper-box'), el('p', {class: 'warnbox', role: 'alert'}, wrong.map(name => `“${state[name]}” is not a limit of ${name}; write for example ${READ[name][1]}. `)));
    return;
  }
  const asked = constraints(), study = answering(asked), rows = matching(study);
  if (!rows.length) { fill(byId('helper-box'), nothingLeft()); return; }
  const answer = filtered() ? decide(study, asked, rows) : decided(study, asked);
  const out = new Map();
  for (const {row, reasons} of answer.excluded) if (row.stands || answer.excluded.filter(one => one.row.model === row.model).length === rows.filter(one => one.model === row.model).length) {
    if (row.stands) out.set(row.id, [row.name, reasons]);
  }
  const more = answer.excluded.length - out.size;
  const relax = relaxation => el('li', {}, relaxation.text, ' ', relaxButton(relaxation));
  fill(byId('helper-box'),
    el('p', {class: 'certainty'}, `Of ${study.title} alone, of ${scopeText(study)}; nothing is extrapolated. `, answer.notes.join(' '), ' ',
      study === current() ? null : el('button', {type: 'button', class: 'small', onclick: () => set({study: study.id})}, `show ${study.title} in all views`)),
    el('div', {class: 'blocks'}, answer.blocks.map(block => blockNode(block, study, answer.blocks.length > 1))),
    answer.relaxations.length ? el('div', {}, el('h3', {}, 'What would change it'), el('ul', {class: 'notes'}, answer.relaxations.map(relax))) : null,
    out.size || more ? el('details', {open: !narrow()}, el('summary', {}, `Why not the others (${answer.excluded.length})`), el('ul', {class: 'notes'}, [...out.values()].map(([name, reasons]) => el('li', {}, el('strong', {}, name), `: ${reasons.map(reason => reason.text).join('; ')}`)),
      more > 0 ? el('li', {}, `and ${count(more, 'other configuration')} of these models`) : null)) : null,
    answer.unmeasured.length ? el('div', {}, el('h3', {}, 'Not measured'), unmeasuredNodes(answer.unmeasured)) : null);
}

// Return what was not measured, each with its command; more than two are folded.
function unmeasuredNodes(unmeasured) {
  const nodes = unmeasured.map(([words, command]) => el('div', {}, el('p', {class: 'small-text'}, words), copyable(command)));
  return [...nodes.slice(0, 2), nodes.length > 2 ? el('details', {}, el('summary', {class: 'small-text'}, `and ${nodes.length - 2} more`), nodes.slice(2)) : null];
}

const COLUMNS = 4;  // most cards beside each other, for whose width the style sheet has classes

// Return the cards that are ranked together, below how sure their order is. Blocks of few cards stand beside each other.
function blockNode(block, study, several) {
  return el('div', {class: `together ${several ? `of${Math.min(block.cards.length, COLUMNS)}` : 'whole'}`}, block.kind ? el('h3', {}, KIND_WORDS[block.kind]) : null,
    el('p', {class: 'certainty'}, el('strong', {}, 'How sure: '), block.certainty),
    el('div', {class: 'cards'}, block.cards.slice(0, 8).map(card => cardNode(card, study))),
    block.cards.length > 8 ? el('p', {class: 'dim'}, `and ${block.cards.length - 8} more on the front`) : null);
}

// Return the button that relaxes a constraint as an answer proposes.
function relaxButton(relaxation) {
  const {constraint, value} = relaxation;
  const change = constraint === 'likelihood' ? {likelihood: value} : ['invertible', 'conditional', 'checkpoint'].includes(constraint) ? {[constraint]: false} :
    constraint === 'lost' ? {lost: `${Math.ceil(1000 * value) / 10} %`} : constraint === 'dimension' ? {dimension: value === null ? '' : String(value)} : {[constraint]: value === null ? '' : ['latency', 'training'].includes(constraint) ? `${Number((value * (value < 1 ? 1000 : 1)).toPrecision(3))} ${value < 1 ? 'ms' : 's'}` : general(value, 6)};
  return el('button', {type: 'button', class: 'small', onclick: () => { set(change); drawHelperForm(); }}, 'relax');
}

function drawHelperForm() {
  const field = (label, name, example) => el('label', {class: 'field'}, el('span', {}, label),
    el('input', {type: 'text', name, size: 8, value: state[name], placeholder: example, onchange: event => set({[name]: event.target.value.trim()})}));
  const study = current(), {criteria, known} = study.helper, prefer = state.prefer || (known ? 'likelihood' : 'quality');
  const weight = (label, name) => el('label', {class: 'field'}, el('span', {}, label), el('input', {type: 'number', name, min: 0, step: 0.5, value: state[name], onchange: event => set({[name]: Math.max(0, Number(event.target.value))})}));
  const weights = [['quality', 'samples near the data', criteria.fidelity], ['coverage', 'samples of every kind', criteria.coverage], ['likelihood', known ? 'divergence from the known density' : 'likelihood, each kind by itself', criteria.density], ['balanced', 'near and of every kind', criteria.coverage], ['own', 'weights of my own', criteria.fidelity]];
  fill(byId('helper-controls'),
    select('likelihood', LIKELIHOODS_ASKED, state.likelihood, likelihood => set({likelihood})),
    field('one sample ≤', 'latency', '10 ms'), field('samples/s ≥', 'throughput', '1000'), field('training ≤', 'training', '60 s'), field('parameters ≤', 'parameters', '200k'), field('memory ≤', 'memory', '2 GB'),
    toggle('invertible latents', state.invertible, invertible => set({invertible})), toggle('conditional', state.conditional, conditional => set({conditional})),
    toggle('weights at hand', state.checkpoint, checkpoint => set({checkpoint})), field('dimensions ≈', 'dimension', '64'), field('runs lost ≤', 'lost', '10 %'),
    select('best in', weights.filter(([, , quantity]) => quantity).map(([key, words]) => [key, words]), prefer, chosen => { set({prefer: chosen}); drawHelperForm(); }),
    prefer === 'own' ? [weight('weight of near', 'fidelity'), criteria.coverage ? weight('of every kind', 'coverage') : null, weight('of likelihood', 'density')] : null);
}

function startHelper() {
  const asked = ['likelihood', 'latency', 'throughput', 'training', 'parameters', 'memory', 'invertible', 'conditional', 'checkpoint', 'dimension', 'lost', 'prefer', 'fidelity', 'coverage', 'density'];
  addView(['study'], byId('slide'), drawSlide);
  addView(['evidence', 'study'], byId('sheet'), drawEvidence);
  addView(['study', ...asked], byId('helper'), () => { if (!byId('helper-controls').contains(document.activeElement)) drawHelperForm(); });
  addView(['study', 'query', 'hidden', 'status', ...asked], byId('helper'), drawHelper, true);
}
