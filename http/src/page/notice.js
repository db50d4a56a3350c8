// What is told beside the views: how the connection is, and what came of an action. Both are said
// aloud by screen readers.

import { el, setText } from './dom.js';
import { byName, url } from './words.js';

/** How long a notice stays. */
const NOTICE_MS = 6_000;

const SAID = {
  connecting: 'Connecting',
  listing: 'Listing nodes',
  live: 'Live',
  lost: 'Connection lost',
};

/** Shows how the connection is; `members` are others that serve this page. */
export function showConnection(state, members, own) {
  const pill = document.getElementById('connection');
  pill.dataset.state = state;
  setText(pill, SAID[state]);
  const banner = document.getElementById('lost');
  if (state === 'lost' && banner.hidden) {
    banner.replaceChildren(
      el('strong', {}, `Connection to ${own || 'this member'} is lost. `),
      'What you see is the last that was known; it is tried again by itself. ',
      ...others(members, own));
    banner.hidden = false;
  } else if (state === 'live' && !banner.hidden) {
    banner.hidden = true;
    notice('Connected again; everything is up to date.');
  }
}

/** Shows that nobody leads, or that somebody does again. */
export function showLeaderless(is) {
  const banner = document.getElementById('leaderless');
  if (is === !banner.hidden) return;
  banner.replaceChildren(
    el('strong', {}, 'No member leads the quorum. '),
    'Nothing can be written, and what you see may be old. Nodes go on with what was asked of them last. ',
    el('a', { href: '#/quorum' }, 'See the members'));
  banner.hidden = !is;
}

function others(members, own) {
  const links = [...members].sort((one, other) => byName(one.name, other.name)).filter(({ name, http }) => name !== own && http)
    .map(({ name, http }) => el('a', { href: `${url(http)}/${location.hash}` }, `Go on with ${name}`));
  return links.flatMap((link) => [link, ' ']);
}

/** Tells something once. */
export function notice(text, { bad = false } = {}) {
  const told = el('p', { class: bad ? 'notice bad' : 'notice' }, text);
  document.getElementById('notices').append(told);
  setTimeout(() => told.remove(), NOTICE_MS);
}

/** A problem in the place of what could not be shown. */
export function problem(error, again) {
  return el('div', { class: 'problem', role: 'alert' },
    el('p', {}, el('strong', {}, error.message)),
    ...faults(error),
    error.code && el('p', { class: 'muted' }, 'Code ', el('code', {}, error.code)),
    again && el('button', { type: 'button', onclick: again }, 'Try again'));
}

function faults(error) {
  const said = (error.faults ?? []).map(({ object, key, why }) =>
    el('li', {}, [object, key].filter(Boolean).map((text) => el('code', {}, `${text} `)), why));
  return said.length > 0 ? [el('ul', {}, said)] : [];
}
