// The lecture's claims as a forest: sentence, verdict, effect with its interval, number of values, evidence.

const VERDICTS = {'supported': 'good', 'not supported': 'bad', 'equivalent': 'warn', 'suggestive': 'warn', 'undecided': 'open'};

const RATIO = 8;  // most that a ratio is drawn away from 1

// Return an effect with its interval: a factor is drawn on the one logarithmic scale that all factors share, with the zone
// that counts as no effect, and an arrow at the edge for what lies beyond; a difference is written only, since no scale fits all.
function forest(effect) {
  const words = el('span', {}, `${effect.ratio ? '×' : ''}${general(effect.estimate, 3)}${effect.low === null ? '' : effect.low === effect.high ? ' (without spread over the seeds)' : ` [${general(effect.low, 3)}, ${general(effect.high, 3)}]`}`);
  if (!effect.ratio) return el('span', {class: 'forest'}, el('span', {class: 'dim'}, 'a difference or slope, not drawn:'), words);
  const width = 220, half = width / 2, reach = Math.log(RATIO), away = value => Math.log(value) / reach;
  const place = value => half + (half - 12) * Math.max(-1, Math.min(1, away(value)));
  const tick = value => [svg('line', {x1: place(value), x2: place(value), y1: 0, y2: 18, class: value === 1 ? 'axis' : 'tick'}),
    svg('text', {x: place(value), y: 28, class: 'scale', 'text-anchor': 'middle'}, document.createTextNode(value < 1 ? `1/${1 / value}` : String(value)))];
  const parts = effect.zone ? [svg('rect', {x: place(effect.zone[0]), width: place(effect.zone[1]) - place(effect.zone[0]), y: 0, height: 18, class: 'zone'})] : [];
  parts.push(...[1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8].flatMap(tick));
  if (effect.low !== null && effect.high !== null) parts.push(svg('line', {x1: place(effect.low), x2: place(effect.high), y1: 9, y2: 9, class: 'whisker'}));
  const side = Math.sign(away(effect.estimate)), edge = half + side * half, beyond = Math.abs(away(effect.estimate)) > 1;
  parts.push(beyond ? svg('path', {d: `M${edge} 9 l${-side * 9} -6 v12 z`, class: 'dot beyond'}) : svg('circle', {cx: place(effect.estimate), cy: 9, r: 4, class: 'dot'}));
  return el('span', {class: 'forest'}, svg('svg', {width, height: 30, viewBox: `0 0 ${width} 30`, 'aria-hidden': 'true'}, parts), words);
}

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

function claimRow(claim) {
  const filter = claim.rows.length ? el('button', {type: 'button', class: 'small', onclick: () => {
    set({study: claim.study || state.study, pins: claim.rows, rows: 'pinned', query: '', hidden: []});
    jump('table');
  }}, `evidence: ${count(claim.rows.length, 'row')}`) : null;
  return el('article', {class: claimName(claim) === state.claim ? 'claim named' : 'claim', id: `claim-${claimName(claim)}`},
    el('h3', {tabindex: -1}, claim.sentence, ' ', el('span', {class: `chip ${VERDICTS[claim.verdict]}`}, claim.verdict)),
    el('p', {class: 'dim small-text'}, claim.data, ' ', filter),
    claim.parts.map(part => el('div', {class: part.decides ? 'part' : 'part beside'},
      part.effect ? forest(part.effect) : null,
      el('p', {}, withCode(part.sentence), el('span', {class: 'dim'}, ` ${part.decides ? part.verdict : 'does not decide'}${part.test ? `; ${part.test}` : ''}${part.n ? `; n = ${part.n}` : ''}`)))),
    claim.missing.map(missing => el('p', {class: 'dim small-text'}, withCode(missing))));
}

let arrived = '';  // the claim that the page has gone to, so that a change of theme does not go there again

// Go to the claim that the address names, if there is one.
function goToClaim() {
  const heading = byId(`claim-${state.claim}`)?.querySelector('h3');
  heading?.scrollIntoView();
  heading?.focus({preventScroll: true});
}

function startClaims() {
  const claims = DATA.claims || [];
  byId('claims').hidden = !claims.length;
  if (!claims.length) return;
  let wanted = 'all';
  const box = byId('claims-box');
  const legend = `The drawings: factors (×) on one logarithmic scale around 1, with their 95 % intervals. Shaded: what the rule counts as no effect. An arrow: the value lies beyond ${RATIO} times; its number is beside it. Differences and slopes are written, not drawn.`;
  const show = () => {
    const held = box.contains(document.activeElement);  // by the claim that the reader has gone to
    fill(box, el('p', {class: 'dim small-text'}, legend), claims.filter(claim => wanted === 'all' || claim.verdict === wanted).map(claimRow));
    if (held) goToClaim();
  };
  fill(byId('claims-controls'), select('verdict', [['all', `all ${claims.length}`], ...Object.keys(VERDICTS).map(name => [name, `${name}: ${claims.filter(claim => claim.verdict === name).length}`])], wanted, value => { wanted = value; show(); }));
  addView([], byId('claims'), show, true);
  addView(['claim'], byId('claims'), () => {
    if (state.claim === arrived) return;
    arrived = state.claim;
    if (!claims.some(claim => claimName(claim) === state.claim)) return;
    wanted = 'all';
    byId('claims-controls').querySelector('select').value = wanted;
    show();
    goToClaim();
  });
  write(byId('claims-lead'), DATA.claims_lead);
}
