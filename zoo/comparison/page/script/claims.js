// The lecture's claims as a forest: a row has the sentence, the verdict with its limits, and the effect with its interval; what
// was measured is folded below it.

const VERDICTS = {'supported': 'good', 'not supported': 'bad', 'equivalent': 'warn', 'suggestive': 'warn', 'undecided': 'open'};

const RATIO = 8;  // most that a ratio is drawn away from 1
const FOREST = {width: 220, height: 18, edge: 12};  // of a drawing without the numbers of its scale

// Return the least of 1, 2 and 5 times a power of ten that is not below a number.
function roundedUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map(step => step * power).find(end => end >= value * (1 - 1e-9));
}

// Return the scale of an effect: what no effect is, how far from it a value lies (1 at the end of the scale), and ticks with
// their labels. All factors share one logarithmic scale; a difference has its own, up to a round number beyond its interval.
function scaleOf(effect) {
  if (effect.ratio) {
    return {away: value => Math.log(value) / Math.log(RATIO), ticks: [[1 / 8, '1/8'], [1 / 4, ''], [1 / 2, '1/2'], [1, '1'], [2, '2'], [4, ''], [8, '8']]};
  }
  const end = roundedUp(Math.max(...known([effect.estimate, effect.low, effect.high]).map(Math.abs)) || 1);
  return {away: value => value / end, ticks: [[-end, general(-end, 1)], [0, '0'], [end, general(end, 1)]]};
}

// Return the drawing of an effect with its interval, the zone that counts as no effect, and an arrow at the edge for what lies
// beyond the scale.
function forest(effect) {
  const {width, height, edge} = FOREST, half = width / 2, middle = height / 2, {away, ticks} = scaleOf(effect);
  const place = value => half + (half - edge) * Math.max(-1, Math.min(1, away(value)));
  const parts = effect.zone ? [svg('rect', {x: place(effect.zone[0]), width: place(effect.zone[1]) - place(effect.zone[0]), y: 0, height, class: 'zone'})] : [];
  parts.push(...ticks.flatMap(([value, label]) => [svg('line', {x1: place(value), x2: place(value), y1: 0, y2: height, class: away(value) === 0 ? 'axis' : 'tick'}),
    svg('text', {x: place(value), y: height + 10, class: 'scale', 'text-anchor': 'middle'}, document.createTextNode(label))]));
  if (effect.low !== null && effect.high !== null) parts.push(svg('line', {x1: place(effect.low), x2: place(effect.high), y1: middle, y2: middle, class: 'whisker'}));
  const far = away(effect.estimate), side = Math.sign(far), end = half + side * half;
  parts.push(Math.abs(far) > 1 ? svg('path', {d: `M${end} ${middle} l${-side * 9} -6 v12 z`, class: 'dot beyond'}) : svg('circle', {cx: place(effect.estimate), cy: middle, r: 4, class: 'dot'}));
  return svg('svg', {width, height, viewBox: `0 0 ${width} ${height}`, class: 'forest', 'aria-hidden': 'true'}, parts);
}

// Return what is missing of an effect's interval, in words.
const withoutInterval = effect => effect.low === null ? ' (a test without an interval)' : effect.low === effect.high ? ' (without spread over the seeds)' : '';

// Return the name of a claim in the address: its key and the study that it was judged in.
const claimName = claim => `${claim.key}~${claim.study}`;

// Return the claim of the ledger with a key that was judged in a study, or on all runs; undefined without one.
const claimOf = (key, study) => (DATA.claims || []).find(claim => claim.key === key && (claim.of_all || claim.study === study));

// Return a link to a claim, whose address leads there from anywhere.
function claimLink(claim) {
  const there = new URLSearchParams(address());
  there.set(FIELDS.claim[0], claimName(claim));
  there.delete(FIELDS.evidence[0]);
  return el('a', {href: `#${there}`, onclick: event => {
    event.preventDefault();
    byId('sheet').close();
    set({claim: ''});
    set({claim: claimName(claim)});
  }}, `${claim.sentence} (${claim.data}: ${claim.verdict})`);
}

// Return a claim as a row that unfolds.
function claimRow(claim) {
  const filter = claim.rows.length ? el('button', {type: 'button', class: 'small', onclick: () => {
    set({study: claim.study || state.study, pins: claim.rows, rows: 'pinned', query: '', hidden: []});
    jump('table');
  }}, `evidence: ${count(claim.rows.length, 'row')}`) : null;
  const effect = claim.shown === null ? null : claim.parts[claim.shown].effect;
  return el('details', {class: 'claim', id: `claim-${claimName(claim)}`, 'data-verdict': claim.verdict},
    el('summary', {},
      el('h3', {}, claim.sentence, ' ', el('span', {class: 'dim'}, claim.data)),
      el('span', {class: 'judged'}, el('span', {class: `chip ${VERDICTS[claim.verdict]}`}, claim.badge), ' ', el('span', {class: 'dim limits'}, claim.limits.join(', '))),
      effect ? forest(effect) : null,
      el('span', {class: effect ? 'words' : 'words alone'}, claim.finding, effect ? withoutInterval(effect) : null, ' ', el('span', {class: 'dim n'}, `n = ${claim.n}`))),
    el('div', {class: 'proof'},
      claim.parts.map(part => el('div', {class: part.decides ? 'part' : 'part beside'},
        part.effect ? el('span', {class: 'drawn'}, forest(part.effect), el('span', {}, part.words, withoutInterval(part.effect))) : null,
        el('p', {}, withCode(part.sentence), el('span', {class: 'dim'}, ` ${part.decides ? part.verdict : 'does not decide'}${part.test ? `; ${part.test}` : ''}${part.n ? `; n = ${part.n}` : ''}`)))),
      claim.missing.map(missing => el('p', {class: 'dim small-text'}, withCode(missing))), filter));
}

let arrived = '';  // the claim that the page has gone to, so that a change of theme does not go there again
let ledgerShown = null;  // the claims that the rows were made of

// Make the rows if the claims are new ones, and show those with the verdict that is asked for. What is unfolded stays so.
function showClaims() {
  const box = byId('claims-box'), claims = DATA.claims || [];
  if (ledgerShown !== claims) {
    const open = new Set([...box.querySelectorAll('details[open]')].map(row => row.id)), held = document.activeElement?.closest('.claim')?.id;
    const legend = `Drawn are effects with their 95 % intervals: factors (×) around 1, all on one logarithmic scale from 1/${RATIO} to ${RATIO}; differences around 0, each on its own scale. Shaded: what the rule counts as no effect. An arrow: the value lies beyond the scale.`;
    fill(box, el('p', {class: 'dim small-text'}, legend), claims.map(claimRow));
    for (const row of box.querySelectorAll('.claim')) row.open = open.has(row.id);
    if (held) byId(held)?.querySelector('summary').focus({preventScroll: true});
    ledgerShown = claims;
  }
  for (const row of box.querySelectorAll('.claim')) {
    row.hidden = state.verdict !== 'all' && row.dataset.verdict !== state.verdict;
    row.classList.toggle('named', row.id === `claim-${state.claim}`);
  }
}

// Go to the claim that the address names, and unfold it.
function goToClaim() {
  const row = byId(`claim-${state.claim}`), heading = row.querySelector('summary');
  row.open = true;
  row.scrollIntoView();
  heading.focus({preventScroll: true});
}

// Choose a verdict; a claim that is then out of sight is not named any more.
function chooseVerdict(verdict) {
  const named = (DATA.claims || []).find(claim => claimName(claim) === state.claim);
  set({verdict, claim: verdict === 'all' || named?.verdict === verdict ? state.claim : ''});
}

function startClaims() {
  addView(['verdict'], byId('claims-controls'), () => {
    const claims = DATA.claims || [];
    byId('claims').hidden = !claims.length;
    const options = Object.keys(VERDICTS).map(name => [name, `${name}: ${claims.filter(claim => claim.verdict === name).length}`]);
    const held = byId('claims-controls').contains(document.activeElement);
    fill(byId('claims-controls'), select('verdict', [['all', `all ${claims.length}`], ...options], state.verdict, chooseVerdict));
    if (held) byId('claims-controls').querySelector('select').focus();
  });
  addView(['verdict', 'claim'], byId('claims'), showClaims, true);
  addView(['claim'], byId('claims'), () => {
    if (state.claim === arrived) return;
    arrived = state.claim;
    const claim = (DATA.claims || []).find(one => claimName(one) === state.claim);
    if (!claim) return;
    if (state.verdict !== 'all' && state.verdict !== claim.verdict) set({verdict: 'all'});
    showClaims();
    goToClaim();
  });
}
