// Printing: charts and claims that nobody has scrolled to are drawn first, in the colours and the width of paper.

const PRINTED = ['helper', 'tradeoff', 'claims'];  // lazy sections that paper shows

function startPrinting() {
  const redraw = on => {
    document.documentElement.classList.toggle('printing', on);
    for (const view of views) if (PRINTED.includes(view.section)) view.now();
  };
  addEventListener('beforeprint', () => redraw(true));
  addEventListener('afterprint', () => redraw(false));
}
