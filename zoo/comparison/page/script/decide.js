// The rules of the decision helper, those of zoo.comparison.recommend: who is out and why, who is best and how
// sure that is, and what would change it. A test asks both the same questions.

const DRAWS = 2000, MOST = 0.5, LEVEL = 0.05, LIKELY = 0.05, POSSIBLE = 0.01, FRONT_SHARE = 0.25, SURE = 0.95, ENOUGH_SEEDS = 3;
const NOTHING_ASKED = {likelihood: 'any', latency: null, throughput: null, training: null, memory: null, parameters: null, invertible: false, conditional: false,
  checkpoint: false, dimension: null, lost: null, fidelity: null, coverage: 0, density: null};
const LEVELS = ['any', 'estimate', 'bound', 'exact'];
const KIND_LEVELS = {'estimate': 1, 'lower bound': 2, 'exact†': 3, 'exact': 3};
const LIMITS = {  // upper limit or not, and how a sentence begins
  latency: [true, 'one sample takes'], throughput: [false, 'it makes'], training: [true, 'training takes'],
  memory: [true, 'training needs'], parameters: [true, 'it has'],
};
const QUANTITY_NAMES = {latency: 'latency', throughput: 'throughput', training: 'training', memory: 'memory', parameters: 'parameters'};
const SEVERAL = "its seeds' likelihoods are of several kinds";
const LACKS = {'none': 'it defines no likelihood', 'estimate': 'its likelihood is an estimate (≈)', 'lower bound': 'its likelihood is a bound (≤)'};
const RELAXABLE = {likelihood: 'any likelihood', latency: 'the latency', throughput: 'the throughput', training: 'the training time', memory: 'the memory',
  parameters: 'the limit of parameters', invertible: 'invertible latents', conditional: 'labels', checkpoint: 'the weights', dimension: 'the dimension', lost: 'the limit of lost runs'};
const ENOUGH = {bound: 'If a bound of the likelihood is enough,', estimate: 'If an estimate of the likelihood is enough,'};

const secondsText = seconds => (seconds < 1 ? `${general(1e3 * seconds, 3)} ms` : `${number(Number((seconds < 3600 ? seconds : seconds / 3600).toPrecision(3)))} ${seconds < 3600 ? 's' : 'h'}`);

function limitText(constraint, value) {
  if (constraint === 'latency' || constraint === 'training') return secondsText(value);
  if (constraint === 'memory') return `${grouped(value / 1e6, 0)} MB`;
  if (constraint === 'throughput') return `${number(value)} samples/s`;
  if (constraint === 'lost') return `${(100 * value).toFixed(0)}% of its runs lost`;
  return `${grouped(value, 0)} parameters`;
}

// Return a limit of three digits that lets a value in.
function loosened(needed, upper) {
  if (needed <= 0) return needed;
  const step = 10 ** (Math.floor(Math.log10(needed)) - 2);
  const steps = upper ? Math.ceil(needed / step - 1e-9) : Math.floor(needed / step + 1e-9);
  return Number((steps * step).toPrecision(3));
}

// Return the weights of what decides. Where nothing is asked for it is the distance of samples, or the divergence from the
// density of the data where that is known.
const weightsOf = (study, asked) => ({fidelity: asked.fidelity ?? Number(!study.helper.known), coverage: asked.coverage || 0, density: asked.density ?? Number(study.helper.known)});

// Return the weighted criteria that the study measures: [weight, key, {name, direction, unit}].
const criteriaOf = (study, asked) => Object.entries(weightsOf(study, asked)).filter(([key, weight]) => weight && study.helper.criteria[key]).map(([key, weight]) => [weight, key, study.helper.criteria[key]]);

const isNear = (dimension, asked) => Math.max(dimension, asked) <= DATA.near * Math.min(dimension, asked);

// Return the study that answers a question: the present one, or the one whose data are nearest to the dimension asked for.
function answering(asked) {
  const study = current(), sized = DATA.studies.filter(one => one.helper.dimension && criteriaOf(one, asked).length);
  if (asked.dimension === null || !sized.length) return study;
  const away = one => Math.abs(Math.log(one.helper.dimension / asked.dimension));
  return sized.reduce((best, one) => (away(one) < away(best) - 1e-9 ? one : best), sized.includes(study) ? study : sized[0]);
}

// Return what to know of the data that answer, and of what decides.
function notesOf(study, asked) {
  const {dimension, known} = study.helper, notes = [], far = asked.dimension;
  if (far !== null && far !== undefined && dimension && dimension !== far) {
    notes.push(isNear(dimension, far) ? `Nothing was measured at ${grouped(far, 0)} dimensions; the nearest is ${study.label} with ${grouped(dimension, 0)}, and its numbers are not scaled.` :
      `Nothing was measured near ${grouped(far, 0)} dimensions: the nearest is ${study.label} with ${grouped(dimension, 0)}, more than ${DATA.near} times away, which says nothing.`);
  }
  if (known && (asked.fidelity ?? null) === null && (asked.density ?? null) === null) notes.push(`The density of ${study.title} is known: what decides is the divergence from it (kl), within each kind of likelihood.`);
  const idle = Object.entries(weightsOf(study, asked)).filter(([key, weight]) => weight && !study.helper.criteria[key]).map(([key]) => key);
  return [...notes, ...idle.map(name => `No record of ${study.title} measures ${name}, so its weight counts for nothing.`), ...(weightsOf(study, asked).density ? study.helper.proven : [])];
}

// Return the reason why the data of a study say nothing of the dimension that is asked for.
function besideDimension(study, asked) {
  const {dimension} = study.helper, far = asked.dimension ?? null;
  if (far === null || (dimension && isNear(dimension, far))) return [];
  if (!dimension) return [{constraint: 'dimension', text: 'its records do not say how many dimensions the data have', needed: null}];
  return [{constraint: 'dimension', text: `it was measured at ${grouped(dimension, 0)} dimension${dimension > 1 ? 's' : ''}, not near ${grouped(far, 0)}`, needed: dimension}];
}

function reasonsAgainst(row, asked, criteria) {
  const facts = row.study.helper.rows[row.index], reasons = [];
  if (!row.finished) return [{constraint: 'finished', text: 'no run of it finished', needed: null}];
  if (facts.collapsed) reasons.push({constraint: 'collapsed', text: facts.collapsed, needed: null});
  if ((KIND_LEVELS[facts.kind] || 0) < LEVELS.indexOf(asked.likelihood)) reasons.push({constraint: 'likelihood', text: LACKS[facts.kind] || SEVERAL, needed: null});
  for (const [constraint, [upper, verb]] of Object.entries(LIMITS)) {
    const limit = asked[constraint];
    if (limit === null || limit === undefined) continue;
    const values = facts.values[constraint];
    if (!values) { reasons.push({constraint, text: `its ${QUANTITY_NAMES[constraint]} was not measured`, needed: null}); continue; }
    const value = mean(values), device = facts.elsewhere[constraint];
    if (device) reasons.push({constraint, text: `its ${QUANTITY_NAMES[constraint]} on ${row.study.helper.timed[constraint]} is unknown (timed on ${device}: ${limitText(constraint, value)})`, needed: null});
    else if (upper ? value > limit : value < limit) reasons.push({constraint, text: `${verb} ${limitText(constraint, value)} ${upper ? '>' : '<'} ${limitText(constraint, limit)}`, needed: value});
  }
  if (asked.invertible && !facts.invertible) reasons.push({constraint: 'invertible', text: 'no inverse of its latents was measured', needed: null});
  if (asked.conditional && !facts.conditional) reasons.push({constraint: 'conditional', text: 'it was trained without labels', needed: null});
  if (asked.checkpoint && !facts.checkpoint) reasons.push({constraint: 'checkpoint', text: 'no trained weights lie beside its records', needed: null});
  const {total, runs, how} = facts.lost;
  if (asked.lost !== null && asked.lost !== undefined && total / runs > asked.lost) reasons.push({constraint: 'lost', text: `lost ${total} of its ${runs} runs (${how})`, needed: total / runs});
  reasons.push(...besideDimension(row.study, asked));
  for (const [, key, quantity] of criteria) {
    if (key === 'density' && !(facts.kind in KIND_LEVELS)) reasons.push({constraint: 'criteria', text: LACKS[facts.kind] || SEVERAL, needed: null});
    else if (!facts.values[key]) reasons.push({constraint: 'criteria', text: `its ${quantity.spoken} was not measured`, needed: null});
  }
  return [...new Map(reasons.map(reason => [reason.text, reason])).values()];  // each once; what decides is no constraint to relax
}

// Return a share in whole per cent, halves upwards.
const share = part => `${Math.floor(100 * part + 0.5 + 1e-9)} %`;

// Return plausible losses of each row in one quantity: logarithms of distances and times if those of all rows are
// positive (an unbiased distance may be negative). They are drawn once, so that another constraint does not change them.
function lossesOf(rows, key, direction, unit) {
  const measured = rows.flatMap(row => row.study.helper.rows[row.index].values[key] || []);
  const logs = direction === 'lower' && unit !== 'nats' && unit !== 'bits/dim' && measured.every(value => value > 0);
  return rows.map(row => once(row.study, `losses ${key} ${logs} ${row.id}`, () => drawnLosses(row, key, direction, logs)));
}

function drawnLosses(row, key, direction, logs) {
  const {helper} = row.study, random = generator(seedOf(`${row.id} ${helper.criteria[key]?.name ?? key}`));
  const facts = helper.rows[row.index], values = facts.values[key];
  if (!values) return new Float64Array(DRAWS).fill(Infinity);
  const drawn = drawsOf(values, DRAWS, random, logs, values.length === 1 ? facts.errors[key] : null);
  return direction === 'higher' ? drawn.map(value => -value) : drawn;
}

// Return whether one configuration beats another on the front, the rule of zoo.comparison.front: its loss is smaller and
// its cost at most the slack larger, or its loss is the same and its cost smaller by more than the slack.
const beats = (loss, cost, thanLoss, thanCost, slack) =>
  (loss < thanLoss ? cost <= thanCost + slack : loss === thanLoss && cost < thanCost - slack);

// Return for each row the share of draws of the means in which it is on top, the share in which it is on the front, and
// the place of the row that beats it in most draws.
function contest(rows, criteria, likelihood) {
  const n = rows.length, score = rows.map(() => new Float64Array(DRAWS));
  for (const [weight, key, {direction, unit}] of criteria) {
    const losses = lossesOf(rows, key, direction, unit), means = losses.map(values => sum([...values]) / DRAWS);
    const centre = mean(means), scale = Math.sqrt(mean(means.map(value => (value - centre) ** 2))) || 1;
    losses.forEach((values, i) => values.forEach((value, d) => { score[i][d] += weight * value / scale; }));
  }
  const latency = lossesOf(rows, 'latency', 'lower', 's');
  const density = rows.length ? rows[0].study.helper.criteria.density : null;
  const bits = likelihood ? lossesOf(rows, 'density', 'lower', density.unit) : null;
  const kinds = rows.map(row => row.study.helper.rows[row.index].kind);
  const top = new Array(n).fill(0), front = new Array(n).fill(0);
  for (let d = 0; d < DRAWS; d++) {
    let best = 0;
    for (let i = 1; i < n; i++) if (score[i][d] < score[best][d]) best = i;
    if (n) top[best]++;
  }
  const slack = Math.log(DATA.thickness), apart = rows.map(row => Boolean(row.study.helper.rows[row.index].elsewhere.latency));
  const wins = rows.map(() => new Array(n).fill(0));
  for (let i = 0; i < n; i++) {
    const beaten = new Uint8Array(DRAWS);
    for (let j = 0; j < n; j++) {
      if (i === j || (bits && kinds[i] !== kinds[j]) || (!apart[i] && apart[j])) continue;
      for (let d = 0; d < DRAWS; d++) {
        const better = apart[i] ? score[j][d] < score[i][d] : beats(score[j][d], latency[j][d], score[i][d], latency[i][d], slack);
        if (better && (!bits || bits[j][d] <= bits[i][d])) { wins[i][j]++; beaten[d] = 1; }
      }
    }
    front[i] = 1 - sum([...beaten]) / DRAWS;
  }
  // Return the first answer that beats i in most draws; if none does, the configuration that beats it most often.
  const better = (i, answers) => answers.find(j => wins[i][j] > MOST * DRAWS) ?? wins[i].indexOf(Math.max(...wins[i]));
  return {top: top.map(times => times / DRAWS), front, better};
}

// Return how the rows stand to the best in the only criterion by the tests, by id: tied, unclear or worse. Of each model the
// configuration of the best mean is tested; see best_of in groups.py.
function testedOf(admitted, criteria) {
  const standings = new Map();
  if (criteria.length !== 1) return standings;
  const [, key, {direction, unit}] = criteria[0], entrants = new Map();
  const valuesOf = row => row.study.helper.rows[row.index].values[key], meanLoss = row => loss(mean(valuesOf(row)), direction);
  for (const row of [...admitted].sort((a, b) => meanLoss(a) - meanLoss(b))) if (!entrants.has(row.model)) entrants.set(row.model, row);
  const ranked = [...entrants.values()].filter(row => valuesOf(row).length >= 2).sort((a, b) => loss(mean(valuesOf(a)), direction) - loss(mean(valuesOf(b)), direction));
  const likelihood = key === 'density', logs = !likelihood && direction === 'lower' && [...entrants.values()].every(row => Math.min(...valuesOf(row)) > 0);
  const samples = ranked.map(row => valuesOf(row).map(value => (direction === 'one' ? loss(value, 'one') : logs ? Math.log(value) : value)));
  const pairs = [], ps = [];
  for (let i = 0; i < ranked.length; i++) for (let j = i + 1; j < ranked.length; j++) { pairs.push(`${i},${j}`); ps.push(welch(samples[i], samples[j])); }
  const adjusted = holm(ps), different = new Set(pairs.filter((_, k) => adjusted[k] < 0.05));
  const beaten = j => ranked.some((_, i) => i < j && different.has(`${i},${j}`)), beats = i => ranked.some((_, j) => i < j && different.has(`${i},${j}`));
  if (ranked.length > 1) ranked.forEach((row, place) => standings.set(row.id, !beaten(place) && (beats(place) || !beats(0)) ? 'tied' : different.has(`0,${place}`) ? 'worse' : 'unclear'));
  return standings;
}

const valueText = (key, quantity, value) => (key === 'latency' ? secondsText(value) : Math.abs(value) >= 1000 ? number(value) : general(value, ['bits_per_dim', 'nll'].includes(quantity) ? 4 : 3));

// Return the criteria in which another row has the better mean: [key, quantity, own values, values of the other].
function gains(row, better, criteria) {
  return criteria.map(([, key, quantity]) => [key, quantity, ...[row, better].map(one => one.study.helper.rows[one.index].values[key])])
    .filter(([, {direction}, ours, theirs]) => loss(mean(theirs), direction) < loss(mean(ours), direction));
}

// Return the largest p-value of Welch's test among the gains; 1 if there is nothing to test.
function gainP(row, better, criteria) {
  return Math.max(...gains(row, better, criteria).map(([key, {direction}, ours, theirs]) => {
    if (ours.length < 2 || theirs.length < 2) return 1;
    const logs = key !== 'density' && direction === 'lower' && Math.min(...ours, ...theirs) > 0;
    return welch(...[ours, theirs].map(values => (logs ? values.map(Math.log) : values)));
  }), criteria.length && gains(row, better, criteria).length ? 0 : 1);
}

// Return in which numbers another row is better, and whether a test says so; p is adjusted for all such comparisons. Times
// within the thickness of the front count as equal. Times of two devices are not compared.
function comparisonText(row, better, criteria, asked, p) {
  const facts = [row, better].map(one => one.study.helper.rows[one.index]), found = gains(row, better, criteria);
  const [ours, theirs] = facts.map(one => one.values.latency);
  if (ours && theirs && !facts.some(one => one.elsewhere.latency) && mean(ours) > DATA.thickness * mean(theirs)) found.push(['latency', {name: 'latency', spoken: 'latency'}, ours, theirs]);
  if (asked.likelihood !== 'any' && facts[0].kind === facts[1].kind && !found.some(([key]) => key === 'density')) {
    const values = facts.map(one => one.values.density);
    if (values[0] && values[1] && mean(values[1]) < mean(values[0])) found.push(['density', row.study.helper.criteria.density, ...values]);
  }
  const points = found.map(([key, quantity, a, b]) => `${quantity.spoken} ${valueText(key, quantity.name, mean(b))} against ${valueText(key, quantity.name, mean(a))}`);
  const verb = row.finished < 2 || better.finished < 2 ? `has the better number${points.length > 1 ? 's' : ''} (one seed, not tested)` : p < LEVEL ? 'is better' : 'has the better mean (the test does not tell them apart)';
  return `${better.name} ${verb}${points.length ? `: ${points.join(', ')}` : ''}`;
}

// Return the rows that are ranked together, by the kind of their likelihood; all of them, under '', unless likelihoods rank.
function byKind(rows, apart) {
  const kind = row => row.study.helper.rows[row.index].kind;
  const kinds = apart ? KINDS.filter(one => rows.some(row => kind(row) === one)) : [''];
  return kinds.map(one => [one, apart ? rows.filter(row => kind(row) === one) : rows]);
}

// Return the answer to constraints, which is computed once.
const decided = (study, asked) => once(study, `decided ${JSON.stringify(asked)}`, () => decide(study, asked));

// Return the answer to constraints: blocks of cards with how sure their order is, who is out and why, what to relax, and
// what was not measured.
// `rows` are the configurations that take part.
function decide(study, asked, rows = rowsOf(study)) {
  const criteria = criteriaOf(study, asked), apart = Boolean(weightsOf(study, asked).density);
  if (!criteria.length) return {blocks: [{kind: '', cards: [], certainty: 'The records have none of the weighted criteria.'}], cards: [], excluded: [], criteria: '', relaxations: [], unmeasured: [], notes: []};
  const facts = row => study.helper.rows[row.index], main = criteria.reduce((a, b) => (b[0] > a[0] ? b : a));
  const words = criteria.length === 1 ? criteria[0][2].spoken : `${criteria.map(([weight, , quantity]) => `${general(weight, 6)} x ${quantity.spoken}`).join(' + ')}, each over its standard deviation among the admitted`;
  const reasons = new Map(rows.map(row => [row.id, reasonsAgainst(row, asked, criteria)]));
  const together = byKind(rows.filter(row => !reasons.get(row.id).length), apart);
  const blocks = (together.length ? together : [['', []]]).map(([kind, admitted]) => ({kind, ...blockOf(rows, admitted, criteria, asked, words, reasons, kind)}));
  const cards = blocks.flatMap(block => block.cards);
  const meanLoss = row => { const values = facts(row).values[main[1]]; return values ? loss(mean(values), main[2].direction) : Infinity; };
  return {blocks, cards, criteria: words, excluded: rows.filter(row => reasons.get(row.id).length).map(row => ({row, reasons: reasons.get(row.id)})),
    relaxations: relaxations(rows, reasons, cards.map(card => card.row), asked, main, meanLoss, apart),
    unmeasured: unmeasured(study, cards, rows, asked, reasons), notes: notesOf(study, asked)};
}

// Return the answers among rows that are ranked together, and how sure their order is; the others get their reason.
function blockOf(rows, admitted, criteria, asked, words, reasons, kind) {
  const facts = row => row.study.helper.rows[row.index];
  const found = contest(admitted, criteria, asked.likelihood !== 'any'), tested = testedOf(admitted, criteria);
  const tied = new Set([...tested].filter(([, standing]) => standing === 'tied').map(([id]) => id));
  const answers = admitted.map((_, i) => i).filter(i => found.top[i] >= (tied.has(admitted[i].id) ? POSSIBLE : LIKELY) || found.front[i] >= FRONT_SHARE);
  const chosen = new Set(answers.map(i => admitted[i].id));
  for (const id of [...tied]) if (!chosen.has(id)) { tied.delete(id); tested.delete(id); }
  const main = criteria.reduce((a, b) => (b[0] > a[0] ? b : a)), mainLoss = i => loss(mean(facts(admitted[i]).values[main[1]]), main[2].direction);
  answers.sort((a, b) => (tied.has(admitted[b].id) - tied.has(admitted[a].id)) || found.top[b] - found.top[a] || mainLoss(a) - mainLoss(b));
  const beaten = admitted.map((row, i) => [row, i]).filter(([row]) => !chosen.has(row.id)).map(([row, i]) => [row, admitted[found.better(i, answers)]]);
  const ps = holm(beaten.map(([row, better]) => gainP(row, better, criteria)));
  beaten.forEach(([row, better], k) => reasons.get(row.id).push({constraint: 'dominated', text: comparisonText(row, better, criteria, asked, ps[k]), needed: null}));
  const errorKnown = row => criteria.every(([, key]) => facts(row).values[key].length > 1 || facts(row).errors[key] !== undefined);
  const alone = admitted.length === 1, mixed = admitted.some(row => facts(row).elsewhere.latency);
  const why = (row, top) => {
    const standing = tested.get(row.id);
    if (alone) return 'the only one';
    if (top >= LIKELY && !errorKnown(row)) return `the best number in ${words}, whose error is not known`;
    if (top >= LIKELY && row.finished === 1) return `one seed, which has no rank in ${words}`;
    if (standing === 'tied' && tied.size > 1) return `not told apart from the best in ${words}`;
    if (top >= SURE) return `best in ${words}`;
    if (standing === 'tied') return `the best of the tested in ${words}`;
    if (top < LIKELY) return `none that is better in ${words} is as fast${asked.likelihood !== 'any' ? ' and has as good a likelihood' : ''}${mixed ? ', of those that were timed on one device' : ''}`;
    const but = standing === 'unclear' ? 'so uncertain that the tests cannot tell it from the best, nor from worse ones' : standing === 'worse' ? 'although the tests tell it from the best' :
      tested.size ? `not tested (another configuration of ${row.model} is)` : 'not tested';
    return `possibly the best in ${words}, ${but}`;
  };
  const column = criteria.length === 1 && admitted.length ? columnOf(admitted[0].study, criteria[0][2].name) : null;  // the table's column whose letters (of tied groups) the cards repeat
  const cards = answers.map(i => ({row: admitted[i], onTop: found.top[i], onFront: found.front[i], letters: column ? cellOf(column, admitted[i]).letters : '', lettered: Boolean(column && column.letters.some(Boolean)), errorKnown: errorKnown(admitted[i]), ranked: !alone && errorKnown(admitted[i]) && admitted[i].finished > 1, why: why(admitted[i], found.top[i]),
    tried: ['model', 'family'].map(name => rowsOf(admitted[i].study).filter(row => row[name] === admitted[i][name]).length)}));
  return {cards, certainty: alone ? `${cards[0].row.name} is the only one${kind ? ' of its kind' : ''} that fulfils the constraints.` : certaintyText(cards, tied.size, cards.filter(card => tested.size && card.ranked && !tested.has(card.row.id)).map(card => card.row.name))};
}

function certaintyText(cards, tied, untested) {
  if (!cards.length) return 'No measured configuration fulfils the constraints.';
  const unknown = cards.filter(card => !card.errorKnown).map(card => card.row.name);
  if (unknown.length) return `Not at all: ${unknown.join(', ')} ${unknown.length === 1 ? 'has' : 'have'} one seed and no known error, so that the order may be chance.`;
  const ranked = cards.filter(card => card.ranked), single = cards.filter(card => !card.ranked).map(card => card.row.name).join(', ');
  if (!ranked.length) return 'One training seed each: no ranks.';
  const shares = ranked.filter(card => card.onTop >= LIKELY).map(card => `${card.row.name} ${share(card.onTop)}`).join(', ');
  const seeds = [...new Set(ranked.map(card => card.row.finished))].sort((a, b) => a - b);
  const n = `n = ${seeds[0]}${seeds.length > 1 ? ` to ${seeds.at(-1)} seeds` : ' seeds'}`;
  return (shares ? `Best in draws of the means over seeds (t): ${shares}; ${n}.` : `Ranked with ${n}.`) + (tied > 1 ? ` The tests cannot tell the first ${tied} apart.` : '') + (untested.length ? ` Not tested, since another configuration of the model is: ${untested.join(', ')}.` : '') + (single ? ` One training seed, so no rank: ${single}.` : '');
}

// Return for each constraint the nearest configuration that it alone keeps out and that leads. The kind of likelihood is
// relaxed step by step, and a further step is told only if it admits a better one.
function relaxations(rows, reasons, answers, asked, main, meanLoss, apart) {
  const facts = row => row.study.helper.rows[row.index], nearest = new Map(), kind = row => (apart ? facts(row).kind : '');
  const best = new Map(byKind(answers, apart).map(([one, members]) => [one, Math.min(Infinity, ...members.map(meanLoss))]));
  for (const row of rows) {
    const against = reasons.get(row.id);
    if (against.length !== 1 || !(against[0].constraint in RELAXABLE)) continue;
    if (meanLoss(row) >= (best.get(kind(row)) ?? Infinity)) continue;
    const {constraint, needed} = against[0], limit = asked[constraint];
    const short = valueText(main[1], main[2].name, mean(facts(row).values[main[1]])), told = `${main[2].spoken} ${main[1] === 'density' ? markedValue(facts(row).kind, short) : short}`;
    const gain = !apart ? `${row.name} comes in (${told}).` : best.has(kind(row)) ? `${row.name} comes in and leads its kind of likelihood (${told}).` :
      `${row.name} would add an answer of its kind of likelihood (${told}); kinds are never compared.`;
    let distance = 0, value = null, words = `Without ${RELAXABLE[constraint]} ${gain}`;
    if (constraint === 'likelihood') {
      const level = KIND_LEVELS[facts(row).kind] || 0;
      value = LEVELS[level]; distance = LEVELS.indexOf(limit) - level;
      if (value in ENOUGH) words = `${ENOUGH[value]} ${gain}`;
    } else if (constraint in LIMITS && needed === null) distance = Infinity;
    else if (constraint === 'lost') { distance = needed - limit; value = needed; words = `At ${limitText('lost', needed)} ${gain}`; }
    else if (constraint === 'dimension' && needed !== null) { distance = Math.abs(Math.log(needed / limit)); value = needed; words = `At ${grouped(needed, 0)} dimensions (${row.study.label}) ${gain}`; }
    else if (needed !== null) {
      value = loosened(needed, LIMITS[constraint][0]);
      distance = needed > 0 && limit > 0 ? Math.abs(Math.log(needed / limit)) : Infinity;
      words = `At ${limitText(constraint, value)} ${gain}`;
    }
    const place = `${constraint}\n${constraint === 'likelihood' ? value : ''}\n${kind(row)}`, before = nearest.get(place);
    if (!before || distance < before.distance || (distance === before.distance && meanLoss(row) < before.mainLoss)) nearest.set(place, {distance, mainLoss: meanLoss(row), kind: kind(row), constraint, value, name: row.name, text: words});
  }
  return [...nearest.values()].sort((a, b) => a.distance - b.distance).filter(found => {
    if (found.constraint !== 'likelihood') return true;
    const better = found.mainLoss < (best.get(found.kind) ?? Infinity);
    if (better) best.set(found.kind, found.mainLoss);
    return better;
  });
}

// Return the command that makes a run with three seeds.
const moreSeeds = command => ['zoo train -m', ...command.split(' ').filter(word => !/^(seed|sweep)=/.test(word)).slice(2), 'seed=0,1,2'].join(' ');

function unmeasured(study, cards, rows, asked, reasons) {
  const found = [], {absent, aged} = study.helper;
  const {dimension} = study.helper, far = asked.dimension ?? null;
  if (far !== null && far !== dimension) {
    const [words, sweep] = DATA.shipped[far] ?? DATA.shipped.own;
    found.push([`no data of ${grouped(far, 0)} dimensions${words}`, sweep]);
    if (!dimension || !isNear(dimension, far)) return found;
  }
  const sweep = models => `${study.helper.sweep} model=${models.join(',')} seed=0,1,2`;
  if (absent.length) found.push([`${absent.slice(0, 6).join(', ')}${absent.length > 6 ? ` and ${absent.length - 6} more` : ''}: no finished run on ${study.data}${aged}`, sweep(absent)]);
  for (const {row} of cards) {
    const run = row.runs.find(one => text(DATA.runs.status[one]) === 'finished');
    const command = DATA.runs.command[run];
    if (row.finished < ENOUGH_SEEDS && command) found.push([`${row.name}: fewer than ${ENOUGH_SEEDS} seeds${aged}`, moreSeeds(command)]);
  }
  if (asked.conditional && !cards.length) {
    const alone = rows.filter(row => reasons.get(row.id).every(reason => reason.constraint === 'conditional') && 'model.conditional' in settingsOf(row));
    if (alone.length) found.push([`no conditional model on ${study.data}${aged}`, `${sweep([...new Set(alone.map(row => row.model))])} model.conditional=true`]);
  }
  return found;
}
