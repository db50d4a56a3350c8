// The board: groups of cells, the cursor that arrow keys move over them, what is chosen with keys
// and pointer, and the word about the cell under it.

import { Cells, doing } from './cells.js';
import { button, el, setText } from './dom.js';
import { PHASES, ago, byName, count, many } from './words.js';

/** Least and most width of a group, in pixels. */
const GROUP_PX = [176, 1_000];
/** How much wider than high a group should be. */
const GROUP_SHAPE = 2.2;
/** Rows that PageUp and PageDown move the cursor by. */
const PAGE_ROWS = 5;

export class Board {
  /** `chosen` is a set of names that the board reads and `onChoose(names, how)` changes. */
  constructor({ chosen, onOpen, onChoose }) {
    Object.assign(this, { chosen, onOpen, onChoose, groups: [], cursor: null, selecting: false, focused: false });
    this.cells = new Cells();
    this.element = el('div', { class: 'board' });
    this.tip = el('div', { class: 'tip', 'aria-hidden': 'true', hidden: true });
    this.marks = {
      isChosen: (node) => this.chosen.has(node.name),
      isCursor: (node) => this.focused && node === this.cursor,
    };
    // A canvas that nobody sees is drawn when somebody does.
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const { group } = entry.target;
        group.visible = entry.isIntersecting;
        if (group.visible && group.stale) this.#redraw(group);
      }
    }, { rootMargin: '200px' });
    this.resized = new ResizeObserver(() => this.#fit());
    this.resized.observe(this.element);
    this.onTheme = () => {
      this.cells.readColours();
      this.redraw();
    };
    document.addEventListener('themechange', this.onTheme);
  }

  /** Lets everything go. */
  close() {
    this.seen.disconnect();
    this.resized.disconnect();
    document.removeEventListener('themechange', this.onTheme);
    this.tip.remove();
  }

  /** Shows nodes, in groups of the same `keyOf`; `title` says what a group is. */
  show(nodes, keyOf, title) {
    const held = new Map(this.groups.map((group) => [group.key, group]));
    const sorted = new Map();
    for (const node of nodes) {
      const key = keyOf(node);
      if (!sorted.has(key)) sorted.set(key, []);
      sorted.get(key).push(node);
    }
    this.total = nodes.length;
    this.places = new Map();
    this.groups = [...sorted.keys()].sort(byName).map((key) => {
      const group = held.get(key) ?? this.#group(key);
      held.delete(key);
      group.nodes = sorted.get(key).sort((one, other) => byName(one.name, other.name));
      group.nodes.forEach((node, index) => this.places.set(node, { group, index }));
      setText(group.name, title(key));
      if (!this.focused) setText(group.option, group.nodes[0].name);
      return group;
    });
    for (const gone of held.values()) this.#drop(gone);
    if (!this.places.has(this.cursor)) this.cursor = this.groups[0]?.nodes[0] ?? null;
    const wanted = this.groups.map((group) => group.section);
    const stands = wanted.every((section, place) => this.element.children[place] === section);
    if (!stands || this.element.children.length !== wanted.length) this.element.replaceChildren(...wanted);
    this.#fit(true);
    this.#rove();
    if (this.focused && this.cursor) this.#say();
  }

  /** Draws again what changed. */
  update(changed) {
    const groups = new Set();
    for (const node of changed) {
      const place = this.places?.get(node);
      if (!place) continue;
      groups.add(place.group);
      if (place.group.visible) this.cells.draw(place.group, place.index, this.marks);
      else place.group.stale = true;
      if (node === this.cursor && this.focused) this.#say();
      if (node === this.tipped) this.#tell(node);
    }
    for (const group of groups) this.#count(group);
  }

  /** Draws everything again. */
  redraw() {
    for (const group of this.groups) this.#redraw(group);
  }

  #group(key) {
    const id = `group-${(this.made = (this.made ?? 0) + 1)}`;
    const group = { key, nodes: [], visible: false, stale: true };
    group.name = el('span', { class: 'name' });
    group.number = el('span', { class: 'muted' });
    group.bar = el('span', { class: 'bar', 'aria-hidden': 'true' });
    group.all = button('Select', () => this.onChoose(group.nodes.map(({ name }) => name), 'toggle'), { class: 'quiet small' });
    group.canvas = el('canvas', { 'aria-hidden': 'true' });
    group.option = el('div', { role: 'option', id: `${id}-cursor`, class: 'unseen', 'aria-selected': 'false' });
    group.box = el('div', {
      class: 'cells', role: 'listbox', 'aria-multiselectable': 'true', 'aria-labelledby': `${id}-name`, tabindex: '-1',
      onkeydown: (event) => this.#key(event),
      onfocus: () => this.#focus(group, true),
      onblur: () => this.#focus(group, false),
    }, group.canvas, group.option);
    group.canvas.addEventListener('pointermove', (event) => this.#point(group, event));
    group.canvas.addEventListener('pointerleave', () => this.#point(group, null));
    group.canvas.addEventListener('click', (event) => this.#click(group, event));
    group.section = el('section', { class: 'group', 'aria-labelledby': `${id}-name` },
      el('header', {}, el('h2', { id: `${id}-name` }, group.name), group.number, group.all), group.bar, group.box);
    group.section.group = group;
    this.seen.observe(group.section);
    return group;
  }

  #drop(group) {
    this.seen.unobserve(group.section);
    group.section.remove();
  }

  /** Lays all groups out for the width there is. */
  #fit(anew = false) {
    const width = this.element.clientWidth;
    if (!anew && width === this.width) return;
    this.width = width;
    if (this.groups.length === 0 || width === 0) return;
    const most = this.groups.reduce((sum, { nodes }) => Math.max(sum, nodes.length), 0);
    const names = this.groups.flatMap(({ nodes }) => nodes.map(({ name }) => name));
    const longest = names.reduce((held, name) => (name.length > held.length ? name : held), '');
    this.cells.choose(this.total, longest, width < 500);
    const cell = this.cells.size;
    const across = Math.ceil(Math.sqrt((most * GROUP_SHAPE * (cell.height + cell.gap)) / (cell.width + cell.gap)));
    const wish = Math.min(Math.max(across * (cell.width + cell.gap) + 34, GROUP_PX[0]), GROUP_PX[1], width);
    const alone = this.groups.length === 1;
    this.element.style.setProperty('--group', alone ? '100%' : `${wish}px`);
    const inner = this.groups[0].section.clientWidth - 32;
    for (const group of this.groups) {
      this.cells.lay(group, inner);
      this.#count(group);
      group.stale = true;
      if (group.visible) this.#redraw(group);
    }
  }

  #redraw(group) {
    if (!group.visible) {
      group.stale = true;
      return;
    }
    this.cells.drawAll(group, this.marks);
    group.stale = false;
  }

  /** The shares of the phases, as a bar over the group. */
  #count(group) {
    const counts = new Map();
    for (const { standing } of group.nodes) counts.set(standing, (counts.get(standing) ?? 0) + 1);
    setText(group.number, count(group.nodes.length));
    group.number.title = many(group.nodes.length, 'node');
    const parts = PHASES.filter(({ name }) => counts.has(name));
    const key = parts.map(({ name }) => `${name}${counts.get(name)}`).join();
    if (group.shares === key) return;
    group.shares = key;
    group.bar.replaceChildren(...parts.map(({ name }) => {
      const part = el('i', { 'data-phase': name });
      part.style.flexGrow = counts.get(name);
      return part;
    }));
  }

  /** One group alone is a stop of the Tab key: the one with the cursor. */
  #rove() {
    const here = this.places?.get(this.cursor)?.group;
    for (const group of this.groups) {
      const tab = group === here ? '0' : '-1';
      if (group.box.getAttribute('tabindex') === tab) continue;
      group.box.setAttribute('tabindex', tab);
      group.all.setAttribute('tabindex', tab);
    }
  }

  #focus(group, focused) {
    this.focused = focused;
    if (focused && this.places.get(this.cursor)?.group !== group) [this.cursor] = group.nodes;
    this.#mark(this.cursor);
    if (focused) this.#say();
    else this.#point(group, null);
  }

  #mark(node) {
    const place = this.places?.get(node);
    if (place?.group.visible) this.cells.draw(place.group, place.index, this.marks);
  }

  /** Tells a screen reader, and everybody else, of the cell under the cursor. */
  #say() {
    const { group, index } = this.places.get(this.cursor) ?? {};
    if (!group) return;
    const { option } = group;
    option.setAttribute('aria-selected', String(this.chosen.has(this.cursor.name)));
    option.setAttribute('aria-posinset', index + 1);
    option.setAttribute('aria-setsize', group.nodes.length);
    setText(option, `${this.cursor.name}, ${doing(this.cursor)}`);
    group.box.setAttribute('aria-activedescendant', option.id);
    this.#tell(this.cursor);
  }

  #key(event) {
    const moved = this.#moved(event);
    if (moved) {
      event.preventDefault();
      const from = this.cursor;
      this.#move(moved);
      if (event.shiftKey) this.onChoose(this.#between(from, moved), 'add');
    } else if (event.key === 'Enter') {
      event.preventDefault();
      if (this.cursor) this.onOpen(this.cursor.name);
    } else if (event.key === ' ') {
      event.preventDefault();
      if (this.cursor) this.onChoose([this.cursor.name], 'toggle');
    } else if (event.key.toLowerCase() === 'a' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.onChoose(this.groups.flatMap(({ nodes }) => nodes.map(({ name }) => name)), 'add');
    }
  }

  #moved({ key }) {
    const { group, index } = this.places?.get(this.cursor) ?? {};
    if (!group) return null;
    const place = this.groups.indexOf(group);
    const before = this.groups[place - 1];
    const after = this.groups[place + 1];
    const at = (in_, wish) => in_.nodes[Math.min(Math.max(wish, 0), in_.nodes.length - 1)];
    const step = (by) => {
      if (index + by >= 0 && index + by < group.nodes.length) return group.nodes[index + by];
      if (by < 0 && before) return at(before, Infinity);
      if (by > 0 && after) return at(after, 0);
      return at(group, index + by);
    };
    switch (key) {
      case 'ArrowRight': return step(1);
      case 'ArrowLeft': return step(-1);
      case 'ArrowDown': return step(group.columns);
      case 'ArrowUp': return step(-group.columns);
      case 'PageDown': return step(group.columns * PAGE_ROWS);
      case 'PageUp': return step(-group.columns * PAGE_ROWS);
      case 'Home': return at(this.groups[0], 0);
      case 'End': return at(this.groups.at(-1), Infinity);
      default: return null;
    }
  }

  #move(to) {
    const from = this.cursor;
    const { group, index } = this.places.get(to);
    this.cursor = to;
    this.#mark(from);
    this.#mark(to);
    this.#rove();
    if (document.activeElement !== group.box) group.box.focus({ preventScroll: true });
    this.#say();
    const { y, height } = this.cells.spot(group, index);
    const box = group.canvas.getBoundingClientRect();
    const margin = 90;
    if (box.top + y < margin) scrollBy(0, box.top + y - margin);
    else if (box.top + y + height > innerHeight - margin) scrollBy(0, box.top + y + height - innerHeight + margin);
  }

  /** The names from one node to another, in the order of the board. */
  #between(one, other) {
    const all = this.groups.flatMap(({ nodes }) => nodes);
    const [from, to] = [all.indexOf(one), all.indexOf(other)].sort((a, b) => a - b);
    return from < 0 ? [] : all.slice(from, to + 1).map(({ name }) => name);
  }

  #click(group, event) {
    const node = group.nodes[this.cells.at(group, event.offsetX, event.offsetY)];
    if (!node) return;
    const from = this.cursor;
    this.cursor = node;
    this.#mark(from);
    this.#rove();
    if (event.shiftKey) this.onChoose(this.#between(from ?? node, node), 'add');
    else if (event.ctrlKey || event.metaKey || this.selecting) this.onChoose([node.name], 'toggle');
    else this.onOpen(node.name);
  }

  #point(group, event) {
    const node = event ? group.nodes[this.cells.at(group, event.offsetX, event.offsetY)] : null;
    group.canvas.style.cursor = node ? 'pointer' : '';
    if (node) this.#tell(node);
    else {
      this.tipped = null;
      this.tip.hidden = true;
    }
  }

  /** The word about a node, beside its cell. */
  #tell(node) {
    const place = this.places.get(node);
    if (!place) return;
    if (!this.tip.isConnected) document.body.append(this.tip);
    this.tipped = node;
    const labels = Object.entries(node.labels).map(([label, value]) => `${label}=${value}`).join(' ');
    const lines = [
      node.standing !== 'Converged' && node.step, node.reason, node.waitsFor && `waits for ${node.waitsFor}`,
      node.lastError && `last error: ${node.lastError}`, labels,
    ].filter(Boolean);
    this.tip.replaceChildren(
      el('strong', {}, node.name), ' ', el('span', { class: 'phase', 'data-phase': node.standing }, node.standing),
      node.since ? el('span', { class: 'muted' }, ` ${ago(node.since)}`) : '',
      ...lines.map((line) => el('div', {}, line)));
    this.tip.hidden = false;
    const { x, y, height } = this.cells.spot(place.group, place.index);
    const box = place.group.canvas.getBoundingClientRect();
    const wide = this.tip.offsetWidth;
    const below = box.top + y + height + 10;
    const top = below + this.tip.offsetHeight > innerHeight ? box.top + y - this.tip.offsetHeight - 10 : below;
    this.tip.style.left = `${Math.max(8, Math.min(box.left + x, innerWidth - wide - 8))}px`;
    this.tip.style.top = `${Math.max(8, top)}px`;
  }

  /** How many are shown, in words. */
  get said() {
    return `${count(this.total ?? 0)} shown`;
  }
}
