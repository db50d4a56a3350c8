// The events view: what happens, newest first, as it happens.

import { button, el, setText } from './dom.js';
import { link, remember } from './hash.js';
import { follow } from './stream.js';
import { ago, bare, clock, many } from './words.js';

/** Events that are kept on the page. */
const EVENTS_MAX = 500;

/** What events are called, and how loud they are. */
export const KINDS = {
  attemptStarted: ['started', 'busy'],
  attemptProgressed: ['progress', 'busy'],
  stepDone: ['done', 'good'],
  attemptFailed: ['failed', 'bad'],
  converged: ['converged', 'good'],
  needsHelp: ['needs help', 'bad'],
  frozen: ['frozen', 'cold'],
  module: ['module', ''],
  link: ['link', ''],
  refused: ['refused', 'bad'],
  cfgSet: ['cfg set', ''],
  rollout: ['rollout', 'busy'],
};

/** One event as a row. */
export function row(event, withObject = true) {
  const [name, tone] = KINDS[event.kind] ?? [event.kind, ''];
  const isNode = event.object?.startsWith('node/');
  return el('li', { class: 'event', 'data-kind': event.kind },
    el('time', { datetime: event.time, title: `${event.time}, ${ago(event.time)}` }, clock(event.time)),
    el('span', { class: `badge ${tone}` }, name),
    withObject && (isNode ? el('a', { href: link('node', bare(event.object)) }, bare(event.object)) : el('span', {}, event.object ?? '')),
    el('span', { class: 'text' }, event.text));
}

/** Opens the view. */
export function open(main, place) {
  return new Events(main, place);
}

class Events {
  constructor(main, { params }) {
    this.all = [];
    this.kind = el('select', { 'aria-label': 'Kind of event', onchange: () => this.#show() },
      el('option', { value: '' }, 'All kinds'),
      Object.entries(KINDS).map(([kind, [name]]) => el('option', { value: kind }, name)));
    this.search = el('input', { type: 'search', placeholder: 'Node or text', 'aria-label': 'Search events', value: params.get('q') ?? '', oninput: () => this.#show() });
    this.hold = button('Pause', () => this.#pause(), { 'aria-pressed': 'false' });
    this.told = el('p', { class: 'muted told' });
    // Not a live region: a busy fleet would talk without end.
    this.list = el('ol', { class: 'events card', 'aria-label': 'Events, newest first' });
    this.kind.value = params.get('kind') ?? '';
    main.append(el('h1', { class: 'unseen' }, 'Events'),
      el('div', { class: 'toolbar' }, this.search, this.kind, this.hold, this.told), this.list);
    this.#show();
    this.stop = follow({ limit: EVENTS_MAX }, (events) => this.#take(events));
  }

  #meant(event) {
    const small = this.search.value.trim().toLowerCase();
    return (this.kind.value === '' || event.kind === this.kind.value)
      && (small === '' || bare(event.object).toLowerCase() === small || event.text.toLowerCase().includes(small));
  }

  #take(events) {
    this.all.push(...events);
    this.all.splice(0, this.all.length - EVENTS_MAX);
    if (this.held) {
      this.behind += events.length;
      setText(this.hold, `Go on (${this.behind} new)`);
      return;
    }
    const meant = events.filter((event) => this.#meant(event)).slice(-EVENTS_MAX);
    if (meant.length === 0) return;
    this.list.querySelector('.nothing')?.remove();
    this.list.prepend(...meant.reverse().map((event) => row(event)));
    while (this.list.children.length > EVENTS_MAX) this.list.lastChild.remove();
    this.#tell();
  }

  #show() {
    remember('events', '', { q: this.search.value, kind: this.kind.value });
    const meant = this.all.filter((event) => this.#meant(event)).reverse();
    this.list.replaceChildren(...meant.map((event) => row(event)));
    if (meant.length === 0) this.list.append(el('li', { class: 'nothing muted' }, 'Nothing has happened yet.'));
    this.#tell();
  }

  #tell() {
    setText(this.told, many(this.list.querySelectorAll('.event').length, 'event'));
  }

  #pause() {
    this.held = !this.held;
    this.behind = 0;
    this.hold.setAttribute('aria-pressed', String(this.held));
    setText(this.hold, this.held ? 'Go on' : 'Pause');
    if (!this.held) this.#show();
  }

  close() {
    this.stop();
  }
}
