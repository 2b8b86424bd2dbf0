// Student's t, Welch's test, Holm's correction, letters of ties, and draws of means. Tests hold them against Python.

function logGamma(x) {  // Lanczos, g = 7, n = 9
  const c = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];
  let total = c[0];
  for (let i = 1; i < 9; i++) total += c[i] / (x - 1 + i);
  const t = x + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(total);
}

// Return the regularised incomplete beta function by Lentz's continued fraction.
function incompleteBeta(x, a, b) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log(1 - x)) / a;
  const tiny = 1e-300, away = value => (Math.abs(value) < tiny ? tiny : value);
  let c = 1, d = 1 / away(1 - (a + b) * x / (a + 1)), h = d;
  for (let m = 1; m < 300; m++) {
    for (const term of [m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)), -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))]) {
      d = 1 / away(1 + term * d);
      c = away(1 + term / c);
      h *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-14) break;
  }
  return front * h;
}

// Return the two-sided p-value of a t statistic.
const tTail = (t, freedom) => incompleteBeta(freedom / (freedom + t * t), freedom / 2, 0.5);

// Return the 97.5 % quantile of Student's t.
function tQuantile(freedom) {
  let low = 0, high = 1e4;
  for (let i = 0; i < 80; i++) {
    const middle = (low + high) / 2;
    if (tTail(middle, freedom) > 0.05) low = middle; else high = middle;
  }
  return (low + high) / 2;
}

// Return the two-sided p-value of Welch's t-test; 1 where the samples have no spread.
function welch(a, b) {
  const [va, vb] = [a, b].map(values => deviation(values) ** 2 / values.length);
  const total = va + vb;
  if (!(total > 0)) return 1;
  const freedom = total ** 2 / (va ** 2 / (a.length - 1) + vb ** 2 / (b.length - 1));
  return tTail((mean(a) - mean(b)) / Math.sqrt(total), freedom);
}

// Return {estimate, low, high, p} of a difference with an error of so many degrees of freedom: its 95 % interval, and the
// two-sided p-value of Student's t. Without an error there is neither interval nor p.
function studentised(estimate, error, freedom) {
  if (!(error > 0 && freedom > 0)) return {estimate, low: null, high: null, p: null};
  const reach = tQuantile(freedom) * error;
  return {estimate, low: estimate - reach, high: estimate + reach, p: tTail(estimate / error, freedom)};
}

// Return how the values of B compare with those of A by the rule of a column, as zoo/comparison/groups.py tests a pair:
// {rule, estimate, low, high, p, better: -1 for A, 1 for B, 0 where nothing differs}. Positive values of a column of ratios,
// and distances from 1 as factors, are compared by their logarithms, and the estimate is the ratio of B to A; all else by
// differences, B minus A. Counts have no error. Single values have an estimate alone.
function comparedValues(column, a, b) {
  const positive = Math.min(...a, ...b) > 0, one = column.direction === 'one' && positive, logs = column.ratios && positive;
  const scale = value => (one ? loss(value, 'one') : logs ? Math.log(value) : value), rule = one ? 'distance' : logs ? 'ratio' : 'difference';
  const [u, v] = [a, b].map(values => values.map(scale)), gap = mean(v) - mean(u);
  const side = column.direction === 'higher' ? Math.sign(gap) : -Math.sign(gap), several = !column.counted && u.length > 1 && v.length > 1;
  const [p, q] = several ? [u, v].map(values => deviation(values) ** 2 / values.length) : [0, 0];
  const found = studentised(gap, Math.sqrt(p + q), (p + q) ** 2 / (p ** 2 / (u.length - 1) + q ** 2 / (v.length - 1)));
  const told = rule === 'difference' ? found : {...found, ...Object.fromEntries(['estimate', 'low', 'high'].map(name => [name, found[name] === null ? null : Math.exp(found[name])]))};
  return {rule, ...told, better: side || 0};
}

// Return Holm's adjusted p-values.
function holm(ps) {
  const order = ps.map((_, i) => i).sort((a, b) => ps[a] - ps[b]), adjusted = new Array(ps.length);
  let largest = 0;
  order.forEach((index, place) => { largest = Math.max(largest, Math.min(1, (ps.length - place) * ps[index])); adjusted[index] = largest; });
  return adjusted;
}

// Return a seed of 32 bits for a name (FNV-1a over code points), as zoo.comparison.recommend.chance does.
function seedOf(name) {
  let seed = 0x811C9DC5;
  for (const letter of name) seed = Math.imul(seed ^ letter.codePointAt(0), 0x01000193) >>> 0;
  return seed;
}

// Return a generator of numbers in [0, 1), the same ones for the same seed as in Python (Mulberry32).
function generator(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6D2B79F5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function normal(random) {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

// Return a draw of Student's t: a normal over the root of a mean of squared normals.
function studentT(random, freedom) {
  let squares = 0;
  for (let i = 0; i < freedom; i++) squares += normal(random) ** 2;
  return normal(random) / Math.sqrt(squares / freedom);
}

// Return plausible means of a configuration: mean + s t(n - 1) / sqrt(n), of logarithms where asked.
function drawsOf(values, size, random, logs, error) {
  const sample = logs ? values.map(Math.log) : values, n = sample.length, centre = mean(sample);
  const scale = n > 1 ? deviation(sample) / Math.sqrt(n) : error ? (logs ? error / Math.abs(values[0]) : error) : 0;
  return Float64Array.from({length: size}, () => centre + (scale ? scale * (n > 1 ? studentT(random, n - 1) : normal(random)) : 0));
}
