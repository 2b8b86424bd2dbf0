// A click on a heading sorts its table; a row of class "floor" stays at the end.
document.querySelectorAll('table').forEach(table => table.querySelectorAll('th').forEach((heading, index) => {
  const key = row => {
    const cell = row.cells[index], value = cell.dataset.value;
    return value === undefined ? cell.textContent : value === '' ? null : parseFloat(value);
  };
  const sort = () => {
    const body = table.tBodies[0], up = heading.getAttribute('aria-sort') !== 'ascending';
    table.querySelectorAll('th').forEach(other => other.removeAttribute('aria-sort'));
    heading.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    [...body.rows].filter(row => !row.classList.contains('floor')).sort((p, q) => {
      const a = key(p), b = key(q);
      if (a === null) return 1;
      if (b === null) return -1;
      const order = typeof a === 'number' ? a - b : a.localeCompare(b);
      return up ? order : -order;
    }).forEach(row => body.insertBefore(row, body.querySelector('.floor')));
  };
  heading.addEventListener('click', sort);
  heading.addEventListener('keydown', event => { if (event.key === 'Enter') sort(); });
}));

// JSON is stored on one line and indented when it is opened.
document.addEventListener('toggle', event => {
  const text = event.target.querySelector('pre');
  try { text.textContent = JSON.stringify(JSON.parse(text.textContent), null, 1); } catch {}
}, true);
