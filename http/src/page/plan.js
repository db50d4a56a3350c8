// A plan of the server in words: what would change, what would then be done, and what would hold it.

import { el } from './dom.js';
import { fold } from './nodeset.js';
import { bare, count, duration, many, show } from './words.js';

/** Groups of nodes with the same plan that are shown one by one. */
const GROUPS_MAX = 20;

/** What a write would do. */
export function plan({ objects, outlook, revision }) {
  if (objects.length === 0) return el('p', {}, el('strong', {}, 'Nothing would change: '), 'this is what is asked already.');
  const groups = new Map();
  for (const object of objects) {
    const key = JSON.stringify([object.change, object.cfg, object.plan.steps, object.plan.blocked.map(({ text }) => text), object.held ?? null]);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(object);
  }
  const shown = [...groups.values()].slice(0, GROUPS_MAX).map(group);
  const rest = groups.size - shown.length;
  return el('section', { 'aria-label': 'Plan' },
    el('h3', {}, `Plan from revision ${count(revision)}: ${many(objects.length, 'node')} would change`),
    shown,
    rest > 0 && el('p', { class: 'muted' }, `and ${many(rest, 'other plan')}`),
    el('p', { class: 'outlook' }, foresee(outlook)));
}

/** What comes next for nodes by their plans, and how many more there are. */
export function next(plans, more) {
  const groups = Map.groupBy(plans, (found) => JSON.stringify([found.steps, found.blocked, found.waitsFor]));
  const one = ([first, ...others]) => el('div', { class: 'plan' },
    el('h4', {}, el('code', {}, fold([first, ...others].map(({ object }) => bare(object))))),
    steps(first));
  return el('section', { 'aria-label': 'What comes next' },
    el('h3', {}, 'What comes next'),
    [...groups.values()].map(one),
    more > 0 && el('p', { class: 'muted' }, `and what is planned for ${many(more, 'more node')}`));
}

function group(objects) {
  const [first] = objects;
  const names = fold(objects.map(({ object }) => bare(object)));
  return el('div', { class: 'plan' },
    el('h4', {}, el('code', {}, names), objects.length > 1 && el('span', { class: 'muted' }, ` ${many(objects.length, 'node')}`)),
    el('ul', { class: 'changes' }, first.cfg.map(({ path, from, to }) => el('li', {},
      el('code', {}, path), ' ', el('del', {}, from === null ? 'not asked' : show(from)), ' → ', el('ins', {}, to === null ? 'not asked' : show(to))))),
    steps(first.plan),
    first.held && el('p', { class: 'warn' }, `Held: ${first.held}`));
}

/** The steps of a plan, and what of its goal cannot be reached. */
export function steps({ steps: all, blocked, waitsFor }) {
  const one = ({ step, context, disruptive, costMs }) => el('li', {},
    el('code', {}, step), el('span', { class: 'muted' }, ` on ${context}, about ${duration(costMs)}`),
    disruptive && el('span', { class: 'badge bad' }, 'interrupts what runs'));
  return el('div', {},
    all.length > 0 ? el('ol', { class: 'steps' }, all.map(one)) : blocked.length === 0 && el('p', { class: 'muted' }, 'Nothing has to be done.'),
    waitsFor.length > 0 && el('p', {}, `Waits for ${waitsFor.join(', ')}`),
    blocked.length > 0 && el('ul', { class: 'warn' }, blocked.map(({ text }) => el('li', {}, text))));
}

function foresee({ endsAfterMs, waveCount, held, still, pauses, cut }) {
  const idle = endsAfterMs === 0 && still + held > 0;
  const parts = [idle ? 'Nothing would be done as things are' : `All would be done in about ${duration(endsAfterMs)}`];
  if (waveCount > 0) parts.push(`in ${many(waveCount, 'wave')} of what is disruptive`);
  if (still > 0) parts.push(`nothing is done for ${many(still, 'node')}`);
  if (held > 0) parts.push(`${many(held, 'node')} would be held as things are`);
  for (const [policy, times] of Object.entries(pauses)) parts.push(`${policy} pauses ${many(times, 'time')} for a person`);
  if (cut) parts.push('the last could not be foreseen');
  return `${parts.join('; ')}.`;
}
