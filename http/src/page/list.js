// The fleet as a list, those that need somebody first: for who reads rather than looks, and for
// small screens.

import { button, el, setText } from './dom.js';
import { link } from './hash.js';
import { PHASES, ago, byName, many } from './words.js';

/** Rows that are shown at first, and that are added at a time. */
const ROWS = 200;
/** What is told first. */
const URGENCY = ['Quarantined', 'Stuck', 'BackingOff', 'Down', 'InFlight', 'Waiting', 'Frozen', 'Unknown', 'Converged'];

export class List {
  constructor({ chosen, onChoose }) {
    Object.assign(this, { chosen, onChoose, rows: new Map(), limit: ROWS });
    this.body = el('tbody');
    this.more = button('', () => { this.limit += ROWS; this.#fill(); });
    const head = ['', 'Node', 'Phase', 'Since', 'Step', 'Reason'];
    this.element = el('div', { class: 'card list' },
      el('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': 'Nodes' },
        el('table', {}, el('caption', { class: 'unseen' }, 'Nodes'),
          el('thead', {}, el('tr', {}, head.map((text) => el('th', { scope: 'col' }, text || el('span', { class: 'unseen' }, 'Selected'))))),
          this.body)),
      this.more);
  }

  /** Shows nodes. */
  show(nodes) {
    const rank = ({ standing }) => URGENCY.indexOf(standing);
    this.nodes = [...nodes].sort((one, other) => rank(one) - rank(other) || byName(one.name, other.name));
    this.#fill();
  }

  #fill() {
    const held = this.rows;
    this.rows = new Map(this.nodes.slice(0, this.limit).map((node) => [node, held.get(node) ?? this.#row(node)]));
    const rows = [...this.rows.values()];
    const stands = rows.length === this.body.children.length && rows.every((row, place) => this.body.children[place] === row);
    if (!stands) this.body.replaceChildren(...rows);
    this.update(this.rows.keys());
    const rest = this.nodes.length - rows.length;
    this.more.hidden = rest <= 0;
    setText(this.more, `Show more (${many(Math.max(rest, 0), 'node')})`);
  }

  #row(node) {
    const check = el('input', { type: 'checkbox', 'aria-label': `Select ${node.name}`, onchange: () => this.onChoose([node.name], 'toggle') });
    const phase = el('span', { class: 'phase' });
    const cells = [el('td'), el('td'), el('td')];
    const row = el('tr', {}, el('td', {}, check),
      el('th', { scope: 'row' }, el('a', { href: link('node', node.name) }, node.name)),
      el('td', {}, phase), cells);
    return Object.assign(row, { check, phase, texts: cells });
  }

  /** Tells of nodes anew. */
  update(changed) {
    for (const node of changed) {
      const row = this.rows.get(node);
      if (!row) continue;
      const [since, step, reason] = row.texts;
      const known = PHASES.some(({ name }) => name === node.standing);
      setText(row.phase, known ? node.standing : 'Unknown');
      row.phase.dataset.phase = node.standing;
      setText(since, node.since ? ago(node.since) : '');
      setText(step, node.standing === 'Converged' ? '' : node.step ?? '');
      setText(reason, node.lastError ?? node.reason ?? (node.waitsFor ? `waits for ${node.waitsFor}` : ''));
      row.check.checked = this.chosen.has(node.name);
    }
  }

  /** Ticks what is chosen. */
  mark() {
    for (const [node, row] of this.rows) row.check.checked = this.chosen.has(node.name);
  }
}
