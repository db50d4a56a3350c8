// The page: which view is open, what the header says, and the keys that work everywhere.

import { get } from './api.js';
import { setText } from './dom.js';
import { place } from './hash.js';
import { Live } from './live.js';
import { showConnection, showLeaderless } from './notice.js';
import { NEEDS_HELP, count } from './words.js';
import * as events from './events.js';
import * as fleet from './fleet.js';
import * as node from './node.js';
import * as quorum from './quorum.js';

const VIEWS = { fleet, node, quorum, events };
/** How often the quorum is looked at for the header. */
const QUORUM_MS = 5_000;

const main = document.getElementById('main');
const cluster = { node: '', members: [], leaderName: null };
let leaderless = false;
let open = null;
let shown = null;

const live = new Live((frame) => {
  showSummary();
  open?.frame?.(frame);
}, (state) => {
  showConnection(state, cluster.members, cluster.node);
  open?.connection?.(state);
  if (state === 'live') lookAtQuorum();
});

/** Opens the view that the address names, or tells the open one what changed in it. */
function route() {
  const now = place();
  const view = VIEWS[now.view] ? now.view : 'fleet';
  const key = `${view}/${now.name}`;
  if (shown === key && open?.place) {
    open.place(now);
    return;
  }
  const first = shown === null;
  // What is asked in a dialog is about the view from which it was opened.
  for (const dialog of document.querySelectorAll('dialog')) dialog.close();
  open?.close?.();
  shown = key;
  main.replaceChildren();
  main.dataset.view = view;
  open = VIEWS[view].open(main, now, live, cluster);
  for (const link of document.querySelectorAll('#views a')) {
    const current = link.getAttribute('href') === `#/${view}` || (view === 'node' && link.getAttribute('href') === '#/fleet');
    if (current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  // Who follows a link is to hear where it led, not to stay at a link that is gone.
  if (!first) main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function showSummary() {
  const needy = NEEDS_HELP.reduce((sum, phase) => sum + (live.counts.get(phase) ?? 0), 0);
  document.title = needy > 0 ? `(${count(needy)}) Kraken` : 'Kraken';
  const leader = cluster.leaderName ? `leader ${cluster.leaderName}` : 'no leader';
  setText(document.getElementById('summary'), cluster.node ? `${cluster.node} · ${leader} · revision ${count(live.revision)}` : '');
}

async function lookAtQuorum() {
  try {
    Object.assign(cluster, await get('/v1/cluster'));
    showSummary();
    // An election is over before the next look.
    const nobody = cluster.cluster !== null && cluster.leaderName === null;
    showLeaderless(nobody && leaderless);
    leaderless = nobody;
    open?.quorum?.();
  } catch {
    // The pill says how the connection is.
  }
}

document.addEventListener('keydown', (event) => {
  const typing = event.target.closest('input, textarea, select, dialog');
  if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey) {
    const search = document.querySelector('input[type=search]');
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  }
});
document.getElementById('skip').addEventListener('click', () => main.focus());
addEventListener('hashchange', route);
setInterval(() => document.hidden || lookAtQuorum(), QUORUM_MS);
route();
live.start();
