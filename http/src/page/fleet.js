// The fleet view: every node by its phase, searched, grouped and chosen, as cells or as a list.

import * as act from './act.js';
import { Board } from './board.js';
import { button, el, setText } from './dom.js';
import { filter } from './filter.js';
import { link, remember } from './hash.js';
import { List } from './list.js';
import { expand, fold } from './nodeset.js';
import { PHASES, count, many } from './words.js';

/** How often the board is laid out anew where changes let nodes come and go. */
const SHAPE_MS = 250;
/** Ways of grouping that are no labels; their names can be none. */
const BY_NOTHING = '';
const BY_PHASE = ':phase';

/** Opens the view. */
export function open(main, place, live, cluster) {
  return new Fleet(main, place, live, cluster);
}

class Fleet {
  constructor(main, place, live, cluster) {
    this.live = live;
    this.cluster = cluster;
    this.chosen = new Set();
    this.only = new Set();
    this.#build(main);
    this.place(place);
    this.#listen();
  }

  #build(main) {
    this.search = el('input', {
      type: 'search', id: 'search', placeholder: 'n[1-64], rack=r1, stuck…', autocomplete: 'off', spellcheck: 'false',
      'aria-label': 'Search nodes', 'aria-keyshortcuts': '/',
    });
    this.by = el('select', { id: 'by', 'aria-label': 'Group by' });
    this.form = el('select', { id: 'form', 'aria-label': 'Show as' },
      el('option', { value: '' }, 'Cells'), el('option', { value: 'list' }, 'List'));
    this.selecting = button('Select', () => this.#select(!this.board.selecting), { 'aria-pressed': 'false', title: 'Click cells to select them; Ctrl+click and Shift+click do so at any time' });
    this.legend = el('div', { class: 'legend', role: 'group', 'aria-label': 'Phases' },
      PHASES.map((phase) => this.#key(phase)));
    this.told = el('p', { class: 'muted told', 'aria-live': 'polite' });
    this.body = el('div');
    this.hint = el('div');
    this.bar = el('div', { class: 'actions', role: 'region', 'aria-label': 'Selected nodes', hidden: true });
    const onOpen = (name) => { location.hash = link('node', name); };
    const onChoose = (names, how) => this.#choose(names, how);
    this.board = new Board({ chosen: this.chosen, onOpen, onChoose });
    this.list = new List({ chosen: this.chosen, onChoose });
    main.append(
      el('h1', { class: 'unseen' }, 'Fleet'),
      el('div', { class: 'toolbar' }, this.search, this.by, this.form, this.selecting, this.told),
      this.legend, this.body, this.hint, this.bar);
  }

  #key({ name, glyph, tells }) {
    const number = el('span', { class: 'number' }, '0');
    const key = el('button', {
      type: 'button', class: 'key', 'aria-pressed': 'false', 'data-phase': name, title: tells,
      onclick: () => {
        if (!this.only.delete(name)) this.only.add(name);
        this.#remember();
        this.#show();
      },
    }, el('i', { 'aria-hidden': 'true' }, glyph), name, number);
    key.number = number;
    return key;
  }

  #listen() {
    this.search.addEventListener('input', () => { this.#remember(); this.#show(); });
    this.search.addEventListener('keydown', ({ key }) => {
      if (key === 'Escape' && this.search.value === '') this.search.blur();
      if (key === 'Enter') this.#enter();
    });
    this.by.addEventListener('change', () => { this.#remember(); this.#show(); });
    this.form.addEventListener('change', () => { this.#remember(); this.#show(); });
    this.onKey = (event) => {
      if (event.key === 'Escape' && !event.target.closest('dialog, input')) {
        if (this.chosen.size > 0) this.#choose([], 'only');
        else this.#select(false);
      }
    };
    document.addEventListener('keydown', this.onKey);
    this.ticking = setInterval(() => this.list.element.isConnected && this.list.update(this.list.rows.keys()), 2_000);
  }

  /** Enter in the search field opens the one node that is found, or leads to the cells. */
  #enter() {
    if (this.shown.length === 1) location.hash = link('node', this.shown[0].name);
    else this.body.querySelector('[role=listbox][tabindex="0"]')?.focus();
  }

  /** Takes what the address says. */
  place({ params }) {
    this.search.value = params.get('q') ?? '';
    this.wishedBy = params.get('by') ?? BY_NOTHING;
    this.form.value = params.get('as') ?? '';
    this.only.clear();
    (params.get('only') ?? '').split(',').filter(Boolean).forEach((name) => this.only.add(name));
    this.chosen.clear();
    (expand(params.get('sel') ?? '') ?? []).filter(Boolean).forEach((name) => this.chosen.add(name));
    this.#groups();
    this.#show();
  }

  #remember() {
    this.wishedBy = this.by.value;
    remember('fleet', '', {
      q: this.search.value, by: this.by.value, as: this.form.value,
      only: [...this.only].join(','), sel: fold(this.chosen),
    });
  }

  /** The ways of grouping that there are: the labels of the nodes. */
  #groups() {
    const labels = new Set();
    for (const { labels: own } of this.live.nodes.values()) for (const label of Object.keys(own)) labels.add(label);
    if (this.wishedBy && this.wishedBy !== BY_PHASE) labels.add(this.wishedBy);
    const ways = [[BY_NOTHING, 'No groups'], [BY_PHASE, 'By phase'], ...[...labels].sort().map((label) => [label, `By ${label}`])];
    const key = ways.join();
    if (this.ways !== key) {
      this.ways = key;
      this.by.replaceChildren(...ways.map(([value, text]) => el('option', { value }, text)));
    }
    this.by.value = this.wishedBy;
  }

  #show() {
    this.shownAt = performance.now();
    const isMeant = filter(this.search.value);
    const { only } = this;
    this.shown = [...this.live.nodes.values()].filter((node) => (only.size === 0 || only.has(node.standing)) && isMeant(node));
    const by = this.by.value;
    const keyOf = by === BY_NOTHING ? () => '' : by === BY_PHASE ? ({ standing }) => standing : ({ labels }) => labels[by] ?? '';
    const title = (key) => (by === BY_NOTHING ? 'All nodes' : by === BY_PHASE ? key : key === '' ? `No ${by}` : `${by} ${key}`);
    this.#counts();
    const all = this.live.nodes.size;
    setText(this.told, this.shown.length === all ? many(all, 'node') : `${count(this.shown.length)} of ${many(all, 'node')}`);
    this.#bar();
    if (this.shown.length === 0) {
      this.hint.replaceChildren();
      this.body.replaceChildren(all === 0 ? this.#empty() : this.#nothing());
      return;
    }
    const view = this.form.value === 'list' ? this.list : this.board;
    if (view.element.parentNode !== this.body) this.body.replaceChildren(view.element);
    view.show(this.shown, keyOf, title);
    this.#newcomer();
  }

  #empty() {
    if (this.live.state !== 'live') return el('p', { class: 'empty muted' }, 'Asking for the nodes…');
    if (this.cluster.cluster === null) return unfounded();
    return el('section', { class: 'empty' }, el('h2', {}, 'No nodes yet'));
  }

  /** What a newcomer types: shown while there are only members. */
  #newcomer() {
    const members = new Set(this.cluster.members.map(({ name }) => name));
    const isNew = this.shown.length > 0 && this.live.state === 'live' && this.cluster.cluster && [...this.live.names.keys()].every((name) => members.has(name));
    if (!isNew) this.hint.replaceChildren();
    else if (this.hint.children.length === 0) this.hint.append(firstSteps());
  }

  #nothing() {
    return el('section', { class: 'empty' },
      el('h2', {}, 'Nothing matches'),
      el('p', {}, 'Search by a part of a name, a node set such as ', el('code', {}, 'n[1-64]'), ', a label such as ', el('code', {}, 'rack=r1'), ' or a phase such as ', el('code', {}, 'stuck'), '.'),
      button('Show all nodes', () => {
        this.search.value = '';
        this.only.clear();
        this.#remember();
        this.#show();
        this.search.focus();
      }));
  }

  #counts() {
    for (const key of this.legend.children) {
      const { phase } = key.dataset;
      const number = this.live.counts.get(phase) ?? 0;
      setText(key.number, count(number));
      const pressed = String(this.only.has(phase));
      if (key.getAttribute('aria-pressed') !== pressed) key.setAttribute('aria-pressed', pressed);
      key.classList.toggle('none', number === 0 && !this.only.has(phase));
    }
  }

  #select(selecting) {
    this.board.selecting = selecting;
    this.selecting.setAttribute('aria-pressed', String(selecting));
  }

  #choose(names, how) {
    if (how === 'only') this.chosen.clear();
    const all = names.every((name) => this.chosen.has(name));
    for (const name of names) {
      if (how === 'toggle' && all) this.chosen.delete(name);
      else this.chosen.add(name);
    }
    this.#remember();
    this.#bar();
    this.board.redraw();
    this.list.mark();
  }

  #bar() {
    const names = [...this.chosen].filter((name) => this.live.names.has(name));
    this.bar.hidden = names.length === 0;
    if (names.length === 0) return;
    const nodes = () => names.map((name) => this.live.names.get(name)).filter(Boolean);
    const set = fold(names);
    if (this.barred === set) return;
    this.barred = set;
    this.bar.replaceChildren(
      el('p', {}, el('strong', {}, `${count(names.length)} selected`), ' ', el('code', {}, set.length > 60 ? `${set.slice(0, 60)}…` : set)),
      el('div', {},
        button('Set…', () => act.set(nodes()), { class: 'main' }),
        button('Freeze…', () => act.freeze(nodes())),
        button('Thaw…', () => act.thaw(nodes())),
        button('Retry…', () => act.retry(nodes())),
        button('Clear', () => this.#choose([], 'only'), { class: 'quiet' })));
  }

  /** A frame with changes. */
  frame({ changed, shape }) {
    this.shape ||= shape || this.#moves(changed);
    if (this.shape) {
      const wait = SHAPE_MS - (performance.now() - this.shownAt);
      this.later ??= setTimeout(() => {
        this.later = null;
        this.shape = false;
        this.#groups();
        this.#show();
      }, Math.max(wait, 0));
    }
    this.#counts();
    if (this.form.value === 'list') this.list.update(changed);
    else this.board.update(changed);
  }

  /** Whether a change may let a node come into what is shown, go out of it, or into another group. */
  #moves(changed) {
    return changed.size > 0 && (this.only.size > 0 || this.by.value === BY_PHASE || /\b[a-z]+\b/i.test(this.search.value));
  }

  connection() {
    if (this.live.nodes.size === 0) this.#show();
  }

  /** The quorum was looked at. */
  quorum() {
    if (this.live.nodes.size === 0) this.#show();
    else this.#newcomer();
  }

  close() {
    clearTimeout(this.later);
    clearInterval(this.ticking);
    document.removeEventListener('keydown', this.onKey);
    this.board.close();
  }
}

function firstSteps() {
  const server = `--server http://${location.host}`;
  return el('section', { class: 'empty' },
    el('h2', {}, 'Only the members so far'),
    el('p', {}, 'Write down what you want, and Kraken brings it about. Save this as ', el('code', {}, 'fleet.yaml'), ':'),
    el('pre', { tabindex: '0' }, 'kind: node\nname: n[1-8]\nlabels: {rack: r1}\ncfg:\n  services:\n    clock: {state: RUN, command: sleep, args: [infinity]}\n'),
    el('p', {}, 'look what would be done, then do it:'),
    el('pre', { tabindex: '0' }, `kraken ${server} plan -f fleet.yaml\nkraken ${server} apply -f fleet.yaml\n`),
    el('p', {}, 'Each of these nodes is an agent, ', el('code', {}, 'kraken agent --config agent.toml'), '; ', el('code', {}, 'kraken up'), ' starts eight of them on one machine.'));
}

/** What is typed at a member that belongs to no cluster. */
export function unfounded() {
  return el('section', { class: 'empty' },
    el('h2', {}, 'This member belongs to no cluster yet'),
    el('p', {}, 'Found one with it, or have it join one:'),
    el('pre', { tabindex: '0' }, `kraken --server http://${location.host} cluster init\nkraken --server http://${location.host} cluster join HOST:PORT\n`));
}
