// What was written of a node, newest first: by whom, and what each write made different.

import { el } from './dom.js';
import { ago, count, show } from './words.js';

/** A list of writes as the server tells them. */
export function writes(items) {
  if (items.length === 0) return el('p', { class: 'muted' }, 'What was written of it is no longer remembered.');
  return el('ol', { class: 'history', tabindex: '0', 'aria-label': 'Writes, newest first' }, items.map((item) => {
    const lines = altered(item);
    return el('li', {},
      el('p', {}, el('strong', {}, item.author), ` ${item.change} it `, el('time', { datetime: item.time, title: item.time }, ago(item.time)),
        el('span', { class: 'muted' }, `, revision ${count(item.revision)}`)),
      item.note && el('p', { class: 'note' }, item.note),
      lines.length > 0 && el('ul', { class: 'changes' }, lines.map((line) => el('li', {}, line))));
  }));
}

function altered({ cfg, labels, also }) {
  return [
    ...cfg.map(({ path, from, to }) => [el('code', {}, path), ' ', ...arrow(from, to, 'not asked')]),
    ...labels.map(({ label, from, to }) => ['label ', el('code', {}, label), ' ', ...arrow(from, to, 'taken away')]),
    ...also.map(turned),
  ];
}

/** What became of an object beside what is asked of it and its labels. */
function turned(turn) {
  switch (turn.what) {
    case 'frozen': return `frozen by ${turn.by} (${turn.scope})`;
    case 'thawed': return 'thawed';
    case 'deleting': return 'to be deleted';
    case 'kept': return 'no longer to be deleted';
    case 'owner': return ['owner ', ...arrow(turn.from, turn.to, 'nobody')];
    case 'onDelete': return turn.to === 'cascade' ? 'deleted with its owner' : 'no longer deleted with its owner';
    case 'askedAgain': return 'asked again; what failed before counts no more';
    default: return turn.what;
  }
}

/** What was and what is. */
function arrow(from, to, none) {
  return [from !== null && el('del', {}, show(from)), from !== null && ' → ',
    to === null ? el('span', { class: 'muted' }, none) : el('ins', {}, show(to))];
}
