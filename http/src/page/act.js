// What is done to nodes: set, freeze, thaw, retry. Each is shown first and then confirmed; what is
// set is planned by the server before it is written, and written only if Cfg has not moved since.

import { author, get, query, send, setAuthor } from './api.js';
import { button, el } from './dom.js';
import { fold } from './nodeset.js';
import { notice, problem } from './notice.js';
import { next, plan } from './plan.js';
import { count, flatten, many, nest } from './words.js';

/** A dialog with a title, a body, and buttons; gone when it is closed. */
function dialog(title, ...body) {
  const id = 'dialog-title';
  const made = el('dialog', { 'aria-labelledby': id }, el('h2', { id }, title), body);
  made.addEventListener('close', () => made.remove());
  document.body.append(made);
  made.showModal();
  return made;
}

/** A field with its label. */
function field(label, input, tells) {
  return el('label', { class: 'field' }, el('span', {}, label), input, tells && el('small', { class: 'muted' }, tells));
}

function authorField() {
  const input = el('input', { name: 'author', value: author(), placeholder: 'page', maxlength: '100', autocomplete: 'username', onchange: () => setAuthor(input.value.trim()) });
  return field('Your name', input, 'It stands in the history.');
}

const whom = (nodes) => (nodes.length === 1 ? nodes[0].name : `${many(nodes.length, 'node')}`);

function targets(nodes) {
  const set = fold(nodes.map(({ name }) => name));
  return el('p', { class: 'targets' }, el('code', {}, set.length > 200 ? `${set.slice(0, 200)}…` : set));
}

/** Nodes whose plans are asked for one by one before they are let go on. */
const PLANS_MAX = 20;

/** Freezes that are told of one by one. */
const FREEZES_MAX = 5;

/**
 * What will be started for nodes once nothing holds them back, or for the first of them. `then` is
 * called once that stands there: nothing moves from then on.
 */
function starts(nodes, then) {
  const first = nodes.slice(0, PLANS_MAX);
  const shown = el('div', { class: 'planned', 'aria-live': 'polite' }, el('p', { class: 'muted' }, 'Planning…'));
  const plans = first.map(({ name }) => get(`/v1/nodes/${encodeURIComponent(name)}/plan?consistency=stale`));
  Promise.all(plans).then(
    (found) => shown.replaceChildren(next(found, nodes.length - first.length)),
    (error) => shown.replaceChildren(problem(error))).then(then);
  return shown;
}

/** Asks before something is done that changes nothing of what is asked. */
function confirm({ title, tells, nodes, verb, act, more, foresees }) {
  const answer = el('div');
  const work = async () => {
    go.disabled = true;
    answer.replaceChildren();
    try {
      const told = await act();
      made.close();
      notice(told);
    } catch (error) {
      answer.replaceChildren(problem(error));
      go.disabled = false;
    }
  };
  const go = el('button', { type: 'submit', class: 'main' }, verb);
  // What comes while somebody aims at a button would move it away.
  go.disabled = Boolean(foresees);
  const foreseen = foresees && starts(nodes, () => {
    go.disabled = false;
    if (!document.activeElement.matches('dialog input')) go.focus();
  });
  const form = el('form', { onsubmit: (event) => { event.preventDefault(); work(); } },
    el('p', {}, tells), targets(nodes), more, foreseen, authorField(), answer,
    el('div', { class: 'buttons' }, button('Cancel', () => made.close()), go));
  const made = dialog(title, form);
  go.focus();
}

const changed = ({ changed: number, revision }, what) => `${what}: revision ${count(revision)}, ${many(number, 'object')} changed.`;

/** Freezes nodes. */
export function freeze(nodes) {
  confirm({
    title: `Freeze ${whom(nodes)}`, nodes, verb: 'Freeze',
    tells: 'Nothing more will be started for them until they are thawed; what runs goes on to its end.',
    act: async () => changed(await send('POST', '/v1/freeze', { names: fold(nodes.map(({ name }) => name)) }), 'Frozen'),
  });
}

/** Thaws nodes, in the words in which they were frozen. */
export function thaw(nodes) {
  const frozen = nodes.filter((node) => node.frozen);
  const named = frozen.filter(({ name, frozen: { scope } }) => scope === name);
  const scopes = [...new Set(frozen.filter((node) => !named.includes(node)).map(({ frozen: { scope } }) => scope))];
  if (frozen.length === 0) {
    notice(`Nothing is frozen of ${whom(nodes)}.`);
    return;
  }
  const wide = scopes.length > 0 && el('p', {},
    'Some were frozen together with others, and are thawed with them: ',
    scopes.map((scope) => el('code', {}, `${scope} `)));
  const by = [...new Set(frozen.map(({ frozen: { by: who, scope } }) => `by ${who} (${scope})`))];
  const told = el('p', { class: 'muted' }, `Frozen ${by.slice(0, FREEZES_MAX).join(', ')}${by.length > FREEZES_MAX ? ', …' : ''}`);
  confirm({
    title: `Thaw ${whom(frozen)}`, nodes: frozen, verb: 'Thaw', more: [told, wide], foresees: true,
    tells: 'What is asked of them is brought about from then on.',
    act: async () => {
      let last = null;
      if (named.length > 0) last = await send('POST', '/v1/thaw', { names: fold(named.map(({ name }) => name)) });
      for (const scope of scopes) last = await send('POST', '/v1/thaw', scope === 'all' ? { all: true } : { selector: scope });
      return changed(last, 'Thawed');
    },
  });
}

/** Has nodes tried again. */
export function retry(nodes) {
  confirm({
    title: `Retry ${whom(nodes)}`, nodes, verb: 'Retry', foresees: true,
    tells: 'Failures are forgotten and quarantine ends: what failed is tried again at once.',
    act: async () => changed(await send('POST', '/v1/retry', { names: fold(nodes.map(({ name }) => name)) }), 'Tried again'),
  });
}

/** Sets a path of nodes: asks for it, shows the plan, and writes it once that is confirmed. */
export function set(nodes, { path = '', value = '' } = {}) {
  const names = fold(nodes.map(({ name }) => name));
  const paths = el('datalist', { id: 'paths' });
  suggest(nodes[0], paths);
  const fields = {
    path: el('input', { name: 'path', value: path, list: 'paths', placeholder: '/services/web/state', required: true, pattern: '/.+', autocomplete: 'off', spellcheck: 'false', title: 'A path begins with a slash' }),
    value: el('input', { name: 'value', value, placeholder: 'RUN', autocomplete: 'off', spellcheck: 'false' }),
    unset: el('input', { type: 'checkbox', name: 'unset' }),
    note: el('input', { name: 'note', maxlength: '200', autocomplete: 'off' }),
  };
  const shown = el('div', { class: 'planned', 'aria-live': 'polite' });
  const look = el('button', { type: 'submit', class: 'main' }, 'Show the plan');
  const apply = button('Apply', () => write(), { class: 'main', hidden: true });
  let planned = null;
  const body = () => nest(fields.path.value.trim(), fields.unset.checked ? null : fields.value.value);
  const ask = (more) => send('PATCH', `/v1/nodes${query({ names, typed: 'true', note: fields.note.value, ...more })}`, body());

  /** What was planned is no longer what is written in the fields. */
  const forget = () => {
    planned = null;
    apply.hidden = true;
    look.classList.add('main');
    shown.replaceChildren();
    fields.value.disabled = fields.unset.checked;
  };
  const show = async () => {
    forget();
    look.disabled = true;
    shown.replaceChildren(el('p', { class: 'muted' }, 'Planning…'));
    try {
      const found = await ask({ dryRun: 'plan' });
      planned = found.objects.length > 0 ? found.revision : null;
      shown.replaceChildren(plan(found));
      apply.hidden = planned === null;
      look.classList.toggle('main', planned === null);
      if (planned !== null) apply.focus();
    } catch (error) {
      shown.replaceChildren(problem(error));
    }
    look.disabled = false;
  };
  const write = async () => {
    apply.disabled = true;
    try {
      const told = changed(await ask({ expect: planned }), 'Set');
      made.close();
      notice(told);
    } catch (error) {
      forget();
      shown.replaceChildren(problem(error, error.status === 412 ? show : undefined));
      look.focus();
    }
    apply.disabled = false;
  };

  const form = el('form', { onsubmit: (event) => { event.preventDefault(); show(); }, oninput: ({ target }) => target.name !== 'author' && forget() },
    targets(nodes),
    el('div', { class: 'row' }, field('Path', fields.path), field('Value', fields.value)),
    el('label', { class: 'tick' }, fields.unset, ' Do not care any more: remove it from what is asked'),
    el('div', { class: 'row' }, field('Note', fields.note, 'For those who read the history.'), authorField()),
    paths, shown,
    el('div', { class: 'buttons' }, button('Cancel', () => made.close()), look, apply));
  const made = dialog(`Set a path of ${whom(nodes)}`, form);
  const begin = path ? fields.value : fields.path;
  begin.focus();
  begin.select();
}

/** The paths that the first of the nodes has are those that may be meant. */
async function suggest(node, into) {
  try {
    const object = await get(`/v1/nodes/${encodeURIComponent(node.name)}?consistency=stale`);
    const known = new Set([...flatten(object.cfg).keys(), ...flatten(object.dsc).keys()]);
    into.replaceChildren(...[...known].sort().map((path) => el('option', { value: path })));
  } catch {
    // Without suggestions a path is written out.
  }
}
