// Changes from the server of `zoo watch`: it is asked again and again, and answers as soon as something is new.

const LONGEST_PAUSE = 10000, TROUBLE = ['not finite', 'stalled', 'broken record'];
let follow = false;

async function listen() {
  let pause = 500;
  for (;;) {
    if (document.hidden) await new Promise(done => document.addEventListener('visibilitychange', done, {once: true}));
    try {
      const answer = await fetch(`/delta?cursor=${DATA.cursor}`);
      const delta = await answer.json();
      if (delta.cursor < DATA.cursor) { location.reload(); return; }  // another server has taken the place of the first
      apply(delta);
      pause = 500;
      byId('live').classList.remove('lost');
    } catch {
      byId('live').classList.add('lost');
      await new Promise(done => setTimeout(done, pause));
      pause = Math.min(LONGEST_PAUSE, 2 * pause);
    }
  }
}

// Put a change into the data and draw what shows it. What is selected, pinned and scrolled to stays.
function apply(delta) {
  DATA.cursor = delta.cursor;
  const jobs = Object.entries(delta.jobs || {});
  for (const [name, job] of jobs) { if (job === null) delete DATA.jobs[name]; else DATA.jobs[name] = job; }
  if (delta.studies && !DATA.studies.length) { location.reload(); return; }
  if (delta.unstarted !== undefined) DATA.unstarted = delta.unstarted;
  if (jobs.length || delta.unstarted !== undefined) drawJobs();
  if (!delta.studies && !delta.runs && delta.warnings === undefined) return;
  if (delta.strings) DATA.strings = delta.strings;
  for (const [place, facts] of Object.entries(delta.runs || {})) for (const [name, value] of Object.entries(facts)) DATA.runs[name][place] = value;
  for (const [place, curves] of Object.entries(delta.series || {})) SERIES[place] = curves;
  if (delta.pixels !== undefined) PIXELS = Uint8Array.from(atob(delta.pixels), character => character.charCodeAt(0));
  for (const name of ['made', 'claims', 'slides', 'warnings']) if (delta[name] !== undefined) DATA[name] = delta[name];
  const known = new Map(DATA.studies.map(study => [study.id, study]));
  for (const study of delta.studies || []) known.set(study.id, study);
  if (delta.order) DATA.studies = delta.order.map(id => known.get(id));
  memory.clear();
  if (follow && delta.studies?.length) { state.study = delta.studies[0].id; writeAddress(); }
  const scroll = [window.scrollX, window.scrollY];
  draw();
  window.scrollTo(...scroll);
  const fresh = new Set(Object.keys(delta.runs || {}).map(Number));
  for (const line of document.querySelectorAll('#table-main tr[data-row]')) {
    const row = rowOf(current(), line.dataset.row);
    if (row && row.runs.some(run => fresh.has(run))) line.classList.add('fresh');
  }
}

function drawJobs() {
  const box = byId('live'), jobs = Object.values(DATA.jobs).sort((a, b) => TROUBLE.includes(b.state) - TROUBLE.includes(a.state) || a.name.localeCompare(b.name));
  const left = jobs.map(job => job.left).filter(value => value !== null);
  box.hidden = false;
  fill(box, el('p', {}, el('strong', {}, 'live'), ` · ${count(jobs.length, 'job')} without a record${DATA.unstarted ? `, ${DATA.unstarted.toLocaleString('en')} of the sweep not begun` : ''}${left.length ? `, the longest needs ${secondsText(Math.max(...left))} more` : ''}`,
    el('span', {class: 'lost-said'}, ' · the server does not answer; what is shown may be old'), ' ', toggle('follow the newest', follow, on => { follow = on; })),
  jobs.length ? el('ul', {class: 'jobs'}, jobs.slice(0, 40).map(job => el('li', {class: TROUBLE.includes(job.state) ? 'trouble' : null},
    el('span', {class: 'job'}, job.name), el('span', {class: `chip ${TROUBLE.includes(job.state) ? 'bad' : 'quiet'}`}, job.state),
    job.total ? el('progress', {max: job.total, value: job.updates, 'aria-label': `progress of ${job.name}`}) : null,
    el('span', {}, `${job.updates.toLocaleString('en')}${job.total ? ` of ${job.total.toLocaleString('en')}` : ''} updates`),
    job.left !== null && job.state === 'training' ? el('span', {}, `${secondsText(job.left)} left`) : null,
    job.value !== null ? el('span', {class: 'dim'}, `${job.curve} ${number(job.value)}`) : null, spark(job.points || [])))) : null,
  jobs.length > 40 ? el('p', {class: 'dim'}, `and ${jobs.length - 40} more`) : null);
}

// Return a small line of a job's curve.
function spark(points) {
  if (points.length < 2) return null;
  const low = Math.min(...points), high = Math.max(...points), width = 90;
  const at = points.map((value, i) => `${(i / (points.length - 1) * width).toFixed(1)},${(15 - 14 * (value - low) / (high - low || 1)).toFixed(1)}`);
  return svg('svg', {width, height: 16, class: 'spark', 'aria-hidden': 'true'}, svg('polyline', {points: at.join(' ')}));
}
