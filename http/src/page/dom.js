// Elements, built from data. Text goes in as text nodes alone: nothing that a node says of itself
// becomes markup.

/** An element with attributes, listeners (`onclick` and its like) and children. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Sets a text only where it differs, so that nothing is laid out anew for nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A button. */
export function button(text, onclick, attributes = {}) {
  return el('button', { type: 'button', onclick, ...attributes }, text);
}

/** A card: a region with a heading. */
export function card(title, ...children) {
  const id = `card-${title.toLowerCase().replace(/[^a-z]+/g, '-')}`;
  return el('section', { class: 'card', 'aria-labelledby': id }, el('h2', { id }, title), ...children);
}

/** A table with a head; each row is a list of cells, texts or elements. */
export function table(caption, heads, rows) {
  // On a small screen rows are stacked, and each cell says what it is.
  const cell = (content, index) => el(index === 0 ? 'th' : 'td', { scope: index === 0 && 'row', 'data-head': heads[index] }, content);
  return el('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': caption },
    el('table', {},
      el('caption', { class: 'unseen' }, caption),
      el('thead', {}, el('tr', {}, heads.map((head) => (head === '' ? el('td') : el('th', { scope: 'col' }, head))))),
      el('tbody', {}, rows.map((row) => el('tr', {}, row.map(cell))))));
}
