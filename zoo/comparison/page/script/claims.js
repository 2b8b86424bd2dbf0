// The lecture's claims as a forest: sentence, verdict, effect with its interval, number of values, evidence.

const VERDICTS = {'supported': 'good', 'not supported': 'bad', 'equivalent': 'warn', 'suggestive': 'warn', 'undecided': 'warn'};

const RATIO = 8;  // most that a ratio is drawn away from 1

// Return a drawing of an effect and its interval; ratios are drawn by their logarithms around 1.
function forest(effect) {
  const width = 190, half = width / 2, reach = Math.log(RATIO);
  const beyond = effect.ratio && Math.abs(Math.log(effect.estimate)) > reach;
  const place = value => (effect.ratio ? half + half * Math.max(-1, Math.min(1, Math.log(value) / reach)) : half + half * Math.max(-1, Math.min(1, value / effect.scale)));
  const [low, high] = [effect.low, effect.high].map(value => (value === null ? null : place(value)));
  const parts = [svg('line', {x1: half, x2: half, y1: 0, y2: 18, class: 'axis'})];
  if (low !== null && high !== null) parts.push(svg('line', {x1: low, x2: high, y1: 9, y2: 9, class: 'whisker'}));
  parts.push(svg('circle', {cx: place(effect.estimate), cy: 9, r: 4, class: beyond ? 'dot beyond' : 'dot'}));
  const words = `${effect.ratio ? '×' : ''}${general(effect.estimate, 3)}${effect.low === null ? '' : ` [${general(effect.low, 3)}, ${general(effect.high, 3)}]`}`;
  return el('span', {class: 'forest'}, svg('svg', {width, height: 18, viewBox: `0 0 ${width} 18`, 'aria-hidden': 'true'}, parts), el('span', {}, words));
}

function claimRow(claim) {
  const filter = claim.rows.length ? el('button', {type: 'button', class: 'small', onclick: () => {
    set({study: claim.study || state.study, pins: claim.rows, rows: 'pinned', query: '', hidden: []});
    jump('table');
  }}, `evidence: ${count(claim.rows.length, 'row')}`) : null;
  return el('article', {class: 'claim'},
    el('h3', {}, claim.sentence, ' ', el('span', {class: `chip ${VERDICTS[claim.verdict]}`}, claim.verdict)),
    el('p', {class: 'dim small-text'}, claim.data, ' ', filter),
    claim.parts.map(part => el('div', {class: part.decides ? 'part' : 'part beside'},
      part.effect ? forest(part.effect) : null,
      el('p', {}, part.sentence, el('span', {class: 'dim'}, ` ${part.decides ? part.verdict : 'beside'}${part.test ? `; ${part.test}` : ''}; n = ${part.n}`)))),
    claim.missing.map(missing => el('p', {class: 'dim small-text'}, missing)));
}

function startClaims() {
  const claims = DATA.claims || [];
  byId('claims').hidden = !claims.length;
  if (!claims.length) return;
  let wanted = 'all';
  const box = byId('claims-box');
  const legend = `The drawings: a factor (×) on a logarithmic scale from 1/${RATIO} to ${RATIO} around 1, a hollow dot lies beyond it; a difference around 0, on a scale of its own. Lines are 95 % intervals.`;
  const show = () => fill(box, el('p', {class: 'dim small-text'}, legend), claims.filter(claim => wanted === 'all' || claim.verdict === wanted).map(claimRow));
  fill(byId('claims-controls'), select('verdict', [['all', `all ${claims.length}`], ...Object.keys(VERDICTS).map(name => [name, `${name}: ${claims.filter(claim => claim.verdict === name).length}`])], wanted, value => { wanted = value; show(); }));
  addView([], byId('claims'), show, true);
  byId('claims-lead').textContent = DATA.claims_lead;
}
