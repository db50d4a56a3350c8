// The node view: where it stands and why, what is asked and what is seen, what will be done, the
// graph of it, who asked for what, and what happened.

import * as act from './act.js';
import { get } from './api.js';
import { button, card, el, setText, table } from './dom.js';
import { row } from './events.js';
import { graph } from './graph.js';
import { link } from './hash.js';
import { writes } from './history.js';
import { problem } from './notice.js';
import { steps } from './plan.js';
import { follow } from './stream.js';
import { ago, count, flatten, many, show, standing } from './words.js';

/** Least time between two looks at a node that changes all the time. */
const LOOK_MS = 400;
/** Writes and events that are shown. */
const WRITES = 20;
const EVENTS = 50;

/** Opens the view. */
export function open(main, place, live) {
  return new NodeView(main, place.name, live);
}

class NodeView {
  constructor(main, name, live) {
    Object.assign(this, { name, live, dirty: true });
    this.title = el('h1', { tabindex: '-1' }, name);
    this.badges = el('div', { class: 'badges' });
    this.labels = el('p', { class: 'muted labels' });
    this.buttons = el('div', { class: 'buttons' });
    this.problem = el('div');
    this.why = el('div');
    this.plan = el('div');
    this.state = el('div', { class: 'state' });
    this.graph = el('div', {}, el('p', { class: 'muted' }, 'Drawing…'));
    this.history = el('div');
    this.events = el('ol', { class: 'events', tabindex: '0', 'aria-label': 'Events of this node, newest first' });
    this.only = el('input', { type: 'checkbox', onchange: () => this.#state() });
    main.append(
      el('p', { class: 'crumbs' }, el('a', { href: link('fleet') }, 'Fleet'), ' / ', name),
      el('header', { class: 'head' }, this.title, this.badges, this.buttons, this.labels),
      this.problem,
      this.cards = el('div', { class: 'columns' },
        card('Why', this.why), card('Plan', this.plan),
        el('div', { class: 'wide' }, card('State', el('label', { class: 'tick' }, this.only, ' Differences only'), this.state)),
        el('div', { class: 'wide' }, card('Mutation graph', this.graph)),
        card('History', this.history), card('Events', this.events)));
    this.stop = follow({ object: `node/${name}`, limit: EVENTS }, (events) => this.#happened(events));
    this.#look();
    this.ticking = setInterval(() => this.#ages(), 1_000);
  }

  /** Looks at the node again; once at a time, and not too often. */
  async #look() {
    if (this.looking || this.closed) {
      this.dirty = true;
      return;
    }
    this.looking = true;
    this.dirty = false;
    try {
      await this.#ask();
      this.problem.replaceChildren();
      this.cards.hidden = false;
    } catch (error) {
      if (error.status === 404) this.#gone(error);
      else this.problem.replaceChildren(problem(error, () => this.#look()));
    }
    this.again = setTimeout(() => {
      this.looking = false;
      if (this.dirty) this.#look();
    }, LOOK_MS);
  }

  async #ask() {
    const path = `/v1/nodes/${encodeURIComponent(this.name)}`;
    const [object, why, picture] = await Promise.all([
      get(`${path}?consistency=stale`), get(`${path}/why?consistency=stale`), graph(this.name)]);
    if (this.closed) return;
    Object.assign(this, { object, explained: why });
    if (this.revision !== object.revision) {
      const history = await get(`${path}/history?limit=${WRITES}&consistency=stale`).catch((error) => ({ error }));
      if (this.closed) return;
      this.revision = object.revision;
      this.#history(history);
    }
    this.#head();
    this.#why(why);
    this.plan.replaceChildren(steps(why.plan));
    this.#state();
    if (this.picture !== picture.text) {
      this.picture = picture.text;
      this.graph.replaceChildren(picture.draw());
    }
  }

  #gone(error) {
    this.cards.hidden = true;
    this.buttons.replaceChildren();
    this.badges.replaceChildren();
    this.problem.replaceChildren(problem(error), el('p', {}, el('a', { href: link('fleet') }, 'Back to the fleet')));
  }

  #head() {
    const { object } = this;
    const phase = standing({ phase: object.status?.phase, link: object.dsc?.link, frozen: object.frozen });
    this.badges.replaceChildren(
      el('span', { class: 'phase', 'data-phase': phase }, phase),
      object.dsc?.link ? el('span', { class: `badge ${object.dsc.link === 'UP' ? 'good' : 'bad'}` }, `link ${object.dsc.link}`) : '',
      object.deleting ? el('span', { class: 'badge bad' }, 'being deleted') : '');
    const labels = Object.entries(object.labels).map(([label, value]) => `${label}=${value}`).join('  ');
    setText(this.labels, [labels, `revision ${count(object.revision)}`, object.owner && `owned by ${object.owner}`].filter(Boolean).join(' · '));
    if (this.buttons.children.length === 0) {
      this.thaw = button('Thaw…', () => act.thaw(this.#nodes()));
      this.freeze = button('Freeze…', () => act.freeze(this.#nodes()));
      this.buttons.replaceChildren(
        button('Set…', () => act.set(this.#nodes()), { class: 'main' }), this.freeze, this.thaw,
        button('Retry…', () => act.retry(this.#nodes())));
    }
    this.freeze.hidden = Boolean(object.frozen);
    this.thaw.hidden = !object.frozen;
  }

  #nodes() {
    return [{ name: this.name, frozen: this.object.frozen ?? null }];
  }

  #why(why) {
    const { status } = why;
    const rows = [
      ['Stands', status ? el('span', {}, status.phase, ' ', this.#age(status.since)) : 'nobody has decided about it yet'],
      status?.step && ['Step', el('code', {}, status.step)],
      status?.reason && ['Reason', status.reason],
      status?.waitsFor && ['Waits for', status.waitsFor],
      status?.attempts > 0 && ['Failures', count(status.attempts)],
      status?.lastError && ['Last error', el('span', { class: 'warn' }, status.lastError)],
      status?.nextRetry && ['Next try', this.#age(status.nextRetry)],
      why.frozen && ['Frozen', el('span', {}, `by ${why.frozen.by} (${why.frozen.scope}) `, this.#age(why.frozen.since))],
      ['Who must act', el('strong', {}, why.whoMustAct)],
    ];
    this.why.replaceChildren(el('dl', { class: 'pairs' }, rows.filter(Boolean).flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)])));
  }

  #age(time) {
    return el('time', { datetime: time, title: time, class: 'muted' }, ago(time));
  }

  #ages() {
    for (const time of this.why.querySelectorAll('time')) setText(time, ago(time.dateTime));
  }

  #state() {
    const { object, explained } = this;
    if (!object) return;
    const [wanted, seen] = [flatten(object.cfg), flatten(object.dsc)];
    const differs = new Set(explained.differences.map(({ path }) => path));
    const stale = new Set(object.stale ?? []);
    const paths = [...new Set([...wanted.keys(), ...seen.keys()])].sort().filter((path) => !this.only.checked || differs.has(path));
    if (paths.length === 0) {
      this.state.replaceChildren(el('p', { class: 'muted' }, this.only.checked ? 'What is seen is what is asked.' : 'Nothing is asked of it and nothing is seen.'));
      return;
    }
    const rows = (some) => some.map((path) => {
      const differ = differs.has(path);
      const mark = differ ? el('span', { class: 'badge bad' }, 'differs') : stale.has(path) ? el('span', { class: 'badge' }, 'stale') : '';
      const change = wanted.has(path) && button('Set…', () => act.set(this.#nodes(), { path, value: show(wanted.get(path)) }), { class: 'quiet small', 'aria-label': `Set ${path}` });
      return [el('code', {}, path), wanted.has(path) ? show(wanted.get(path)) : el('span', { class: 'muted' }, '—'),
        seen.has(path) ? show(seen.get(path)) : el('span', { class: 'muted' }, differ ? 'unknown' : '—'), mark, change || ''];
    });
    const heads = ['Path', 'Asked (Cfg)', 'Seen (Dsc)', '', ''];
    const asked = paths.filter((path) => wanted.has(path) || differs.has(path));
    const facts = paths.filter((path) => !wanted.has(path) && !differs.has(path));
    const isOpen = this.state.querySelector('details')?.open ?? asked.length === 0;
    this.state.replaceChildren(
      asked.length > 0 ? table('What is asked, and what is seen there', heads, rows(asked)) : '',
      facts.length > 0 ? el('details', { open: isOpen }, el('summary', {}, `${many(facts.length, 'more path')} seen, of which nothing is asked`),
        table('What is seen besides', ['Path', '', 'Seen (Dsc)', ''], rows(facts).map((row) => row.slice(0, 4)))) : '');
  }

  #history({ items, error }) {
    this.history.replaceChildren(error ? problem(error) : writes(items));
  }

  #happened(events) {
    this.events.prepend(...events.slice(-EVENTS).reverse().map((event) => row(event, false)));
    while (this.events.children.length > EVENTS) this.events.lastChild.remove();
  }

  /** A frame with changes: the node is looked at again where it is among them. */
  frame({ changed }) {
    for (const node of changed) {
      if (node.name !== this.name) continue;
      this.dirty = true;
      if (!this.looking) this.#look();
      return;
    }
  }

  /** After a lost connection everything may have changed. */
  connection(state) {
    if (state === 'live') this.#look();
  }

  close() {
    this.closed = true;
    clearTimeout(this.again);
    clearInterval(this.ticking);
    this.stop();
  }
}
