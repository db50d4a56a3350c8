// The quorum view: who leads, how far each member is, and what was written last.

import { get } from './api.js';
import { card, el, table } from './dom.js';
import { unfounded } from './fleet.js';
import { problem } from './notice.js';
import { ago, byName, count, url } from './words.js';

/** How often it is looked at while it is shown. */
const LOOK_MS = 1_000;
/** Writes that are shown. */
const WRITES = 25;

/** Opens the view. */
export function open(main, place, live, cluster) {
  return new Quorum(main, cluster);
}

class Quorum {
  constructor(main, cluster) {
    this.cluster = cluster;
    this.facts = el('div', { class: 'facts' });
    this.members = el('div', { class: 'members' });
    this.writes = el('div', {});
    this.problem = el('div');
    main.append(el('h1', { class: 'unseen' }, 'Quorum'), this.problem, this.facts, this.members, card('Latest writes', this.writes));
    this.#look();
  }

  async #look() {
    try {
      const now = await get('/v1/cluster');
      Object.assign(this.cluster, now);
      this.problem.replaceChildren();
      this.#show(now);
      if (this.written !== now.revision) await this.#history(now.revision);
    } catch (error) {
      this.problem.replaceChildren(problem(error));
    }
    if (!this.closed) this.again = setTimeout(() => this.#look(), LOOK_MS);
  }

  #show(now) {
    const key = JSON.stringify(now);
    if (this.shown === key) return;
    this.shown = key;
    if (now.cluster === null) {
      this.facts.replaceChildren(unfounded());
      this.members.replaceChildren();
      return;
    }
    const voters = now.members.filter(({ voter }) => voter).length;
    const facts = [
      ['Leader', now.leaderName ?? 'nobody', now.leaderName ? '' : 'bad'],
      ['Revision', count(now.revision)],
      ['Term', count(now.term)],
      ['Voters', `${voters}, majority ${Math.floor(voters / 2) + 1}`],
      ['Epoch', count(now.epoch)],
      ['Version', now.version],
    ];
    this.facts.replaceChildren(...facts.map(([name, value, tone = '']) =>
      el('dl', { class: `fact ${tone}` }, el('dt', {}, name), el('dd', {}, value))));
    const members = [...now.members].sort((one, other) => byName(one.name, other.name));
    this.members.replaceChildren(...members.map((member) => this.#member(member, now)));
  }

  #member(member, now) {
    const leads = member.id === now.leader;
    const here = member.name === now.node;
    const role = leads ? 'Leader' : member.voter ? 'Follower' : 'Learner';
    const knows = now.role === 'LEADER';
    const held = here ? now.lastLog : leads ? null : member.matched;
    const lag = knows && held !== null ? Math.max(now.lastLog - held, 0) : here ? now.lastLog - now.applied : null;
    const told = lag === null ? (leads ? '' : 'the leader knows how far it is') : lag === 0 ? 'up to date' : `${count(lag)} ${lag === 1 ? 'entry' : 'entries'} behind`;
    return el('section', { class: `card member${leads ? ' leads' : ''}`, 'aria-label': `Member ${member.name}` },
      el('h2', {}, member.name, ' ', el('span', { class: `badge ${leads ? 'good' : ''}` }, role), here && el('span', { class: 'badge' }, 'serves this page')),
      told && el('p', { class: lag > 0 ? 'warn' : 'muted' }, told),
      el('dl', {},
        el('dt', {}, 'HTTP'), el('dd', {}, here ? member.http : el('a', { href: `${url(member.http)}/#/quorum` }, member.http)),
        el('dt', {}, 'Raft'), el('dd', {}, member.raft),
        el('dt', {}, 'Leaves attach at'), el('dd', {}, member.sync)));
  }

  async #history(revision) {
    const { items } = await get(`/v1/revisions?limit=${WRITES}&consistency=stale`);
    this.written = revision;
    if (items.length === 0) {
      this.writes.replaceChildren(el('p', { class: 'muted' }, 'Nothing has been written yet.'));
      return;
    }
    this.writes.replaceChildren(table('Writes, newest first', ['Revision', 'When', 'Who', 'Objects', 'Note'],
      items.map(({ revision: at, time, author, changed, note }) => [count(at), el('time', { datetime: time, title: time }, ago(time)), author, count(changed), note ?? ''])));
  }

  close() {
    this.closed = true;
    clearTimeout(this.again);
  }
}
