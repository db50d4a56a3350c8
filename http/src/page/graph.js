// The mutation graph of a node: drawn by the server, put into the page as elements so that it has
// the page's theme and its words can be read and found.

import { getText } from './api.js';
import { el } from './dom.js';

/** What the lines mean. */
const LEGEND = [
  ['here', 'is now'], ['wanted', 'is asked for'], ['done', 'done'], ['inFlight', 'being done'],
  ['toDo', 'planned'], ['failure', 'after a failure'], ['waits', 'waits for others'],
];

/** The picture as an element. */
export async function graph(node) {
  const text = await getText(`/v1/graph?node=${encodeURIComponent(node)}&format=svg`);
  return { text, draw: () => drawn(text) };
}

function drawn(text) {
  // Its own style is for when it stands alone; here that of the page holds, and its policy allows no other.
  const bare = text.replace(/<style>[^]*?<\/style>/g, '');
  const parsed = new DOMParser().parseFromString(bare, 'image/svg+xml').documentElement;
  if (parsed.nodeName !== 'svg') return el('p', { class: 'muted' }, 'There is nothing to draw.');
  parsed.setAttribute('class', 'graph');
  const isEmpty = !parsed.querySelector('.state');
  if (isEmpty) return el('p', { class: 'muted' }, 'Nothing here can be changed by a mutation.');
  const legend = el('ul', { class: 'graph-legend', 'aria-label': 'What the lines mean' },
    LEGEND.map(([name, tells]) => el('li', {}, el('i', { class: name, 'aria-hidden': 'true' }), tells)));
  return el('div', {}, legend,
    el('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': 'Mutation graph' }, document.importNode(parsed, true)));
}
