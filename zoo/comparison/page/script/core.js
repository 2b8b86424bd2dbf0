// Elements, texts and numbers. Nothing here knows of studies or runs.

// Return the element with an id.
const byId = id => document.getElementById(id);

// What follows a number as its unit; BEFORE_UNIT of zoo/comparison/lines.py has those of the terminal.
const UNITS = ['%', '[µmun]?s', 'min', 'h', '[kMGT]?B', 'px', 'nats', 'bits/dim', 'samples/s', 'samples?', 'times', 'parameters', 'configurations?', 'updates', 'steps', 'evaluations', 'dimensions?', 'seeds?', 'runs?', 'threads?', 'cores?'];
const HELD = [new RegExp(`([\\d†)\\]])( )(?=(?:${UNITS.join('|')})(?![\\w-]))`, 'g'), /([±≤≥≈])( )(?=[-+.]?\d)/g, /([\d†)\]])( )(?=±\s)/g, /((?<![\w.])[A-Za-zτ])( [=<>] )(?=[-.\d])/g, /(\[[-\d.,e]+,)( )(?=[-\d.,e]+\])/g];

// Return a text in which no line ends between a number and its unit, its ±, its mark or its letter (n = 5), or in an
// interval. Every text of the page passes through here but commands, which are copied as they stand.
const held = words => HELD.reduce((text, pattern) => text.replace(pattern, (_, before, space) => before + space.replaceAll(' ', '\u00a0')), words);

// Write a text into an element.
function write(node, words) { node.textContent = held(words); }

// Hold the texts together that the page had before any script.
function holdWritten() {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) if (!texts.currentNode.parentNode.closest('script, code, noscript')) texts.currentNode.data = held(texts.currentNode.data);
}

// Return a new element. Texts become text nodes, so that no name of a record is ever read as markup.
function el(name, attributes = {}, ...children) {
  const node = document.createElement(name), kept = children.flat().filter(child => child !== null && child !== undefined && child !== '');
  setAttributes(node, attributes);
  node.append(...kept.map(child => (typeof child === 'string' && name !== 'code' ? held(child) : child)));
  return node;
}

// Return a new element of a drawing.
function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  setAttributes(node, attributes);
  node.append(...children.flat());
  return node;
}

function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
}

// Replace the children of an element by other elements.
function fill(node, ...children) {
  node.replaceChildren(...children.flat().filter(child => child !== null && child !== undefined));
  return node;
}

// Return a labelled choice; options are [value, text].
function select(label, options, value, onchange, attributes = {}) {
  const box = el('select', {onchange: event => onchange(event.target.value), ...attributes},
    options.map(([key, text]) => el('option', {value: key, selected: key === value}, text)));
  return el('label', {class: 'field'}, el('span', {}, label), box);
}

// Return a labelled switch.
function toggle(label, checked, onchange, attributes = {}) {
  const box = el('input', {type: 'checkbox', checked, onchange: event => onchange(event.target.checked), ...attributes});
  return el('label', {class: 'switch'}, box, el('span', {}, label));
}

const MINUS = '-';

// Return a text whose numbers of up to nine digits are written out; `written` of zoo/comparison/page/shorten.py is the same.
const written = words => words.replace(/\b\d(?:\.\d+)?e\+0[1-8]\b/g, found => grouped(Number(found), 0));

// Return a number as zoo.comparison.tables.cells.number writes it, and written out; a test holds the two equal.
const number = (value, spread = null) => written(brief(value, spread));

// Return the number of one run: a count is written whole, since nothing of it is uncertain.
const exactly = value => Number.isInteger(value) && Math.abs(value) < 1e15 ? grouped(value, 0) : number(value);

function brief(value, spread) {
  if (value === null || !Number.isFinite(value)) return 'not finite';
  if (spread !== null && Number.isFinite(spread) && spread > 0) {
    const digits = Math.max(0, 1 - Math.floor(Math.log10(spread)));
    if (digits <= 8 && Math.abs(value) < 1e6) return `${grouped(value, digits)} ± ${grouped(spread, digits)}`;
    return `${general(value, 4)} ± ${general(spread, 1)}`;
  }
  if (value === 0) return '0';
  const size = Math.floor(Math.log10(Math.abs(value)));
  if (size >= 5 || size < -6) return general(value, 3);
  const digits = size < 3 ? Math.max(0, 3 - size) : 0;
  const text = grouped(value, digits);
  return text.includes('.') ? text.replace(/0+$/, '').replace(/\.$/, '') : text;
}

function grouped(value, digits) {
  const [whole, rest] = Math.abs(value).toFixed(digits).split('.');
  const sign = value < 0 ? MINUS : '';
  return sign + whole.replace(/\B(?=(\d{3})+$)/g, ',') + (rest ? `.${rest}` : '');
}

// Return a number with some significant digits, with an exponent where it is very large or small.
function general(value, digits) {
  const exponent = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(Number(value.toPrecision(digits)))));
  const plain = exponent >= -4 && exponent < digits;
  if (plain) return String(Number(value.toPrecision(digits)));
  const [mantissa, power] = value.toExponential(digits - 1).split('e');
  const short = mantissa.includes('.') ? mantissa.replace(/0+$/, '').replace(/\.$/, '') : mantissa;
  return `${short}e${power[0]}${power.slice(1).padStart(2, '0')}`;
}

const sum = values => values.reduce((total, value) => total + value, 0);
const mean = values => sum(values) / values.length;
const known = values => (values || []).filter(value => value !== null && value !== undefined);

// Return the standard deviation of two or more values, with n - 1 in the denominator.
function deviation(values) {
  const centre = mean(values);
  return Math.sqrt(sum(values.map(value => (value - centre) ** 2)) / (values.length - 1));
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// Return a number that is smaller where a value is better; of a ratio that should be 1, twice is as bad as half.
function loss(value, direction) {
  if (direction === 'one') return value > 0 ? Math.abs(Math.log(value)) : Infinity;
  return direction === 'higher' ? -value : value;
}

// Return a plural: "1 seed", "3 seeds".
const count = (n, noun) => `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`;

// Put a text on the clipboard and say so; where there is none, show the text to be copied by hand.
async function copyText(text, button = null) {
  try {
    await navigator.clipboard.writeText(text);
    say('Copied.');
    if (button) {
      const before = button.textContent;
      button.textContent = 'copied';
      setTimeout(() => { button.textContent = before; }, 1200);
    }
  } catch {
    const area = el('textarea', {rows: 12, readonly: true, 'aria-label': 'text to copy'});
    area.value = text;
    openSheet('Copy by hand', area);
    area.select();
  }
}

const LONG_ARGUMENT = 40;  // letters; a longer one may end a line at a comma

// Return a command or a text with a button that copies it. Lines end between arguments; one that is too wide is scrolled to.
function copyable(text) {
  const button = el('button', {type: 'button', class: 'small', onclick: () => copyText(text, button)}, 'copy');
  const parts = text.match(/\s+|(?:'[^']*'|"[^"]*"|[^\s'"]|['"])+/g) || [];
  const broken = part => part.split(/(?<=,)/).flatMap((piece, place) => (place ? [el('wbr'), piece] : [piece]));
  const argument = part => el('code', {class: 'argument'}, part.length > LONG_ARGUMENT ? broken(part) : part);
  return el('div', {class: 'command'}, el('code', {}, parts.map(part => (part.trim() ? argument(part) : part))), button);
}

// Return the parts of a text, those in backticks as code elements.
const withCode = words => words.split('`').map((part, place) => (place % 2 ? el('code', {}, part) : part));

// Say something to readers of the screen.
function say(text) { write(byId('said'), text); }
