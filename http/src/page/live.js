// The fleet as it is now: listed once, then kept by a stream of changes, and told to the views once
// a frame, however much has come in between.

import { get, query } from './api.js';
import { standing } from './words.js';

/** Nodes of one page of the list. */
const PAGE_ITEMS = 1_000;
/** A stream that says nothing for so long is lost: members give a sign of life every 5 s. */
const SILENCE_MS_MAX = 15_000;
/** Waits before the stream is opened again: first, and at most. */
const RETRY_MS = [500, 8_000];
/** How long a page that nobody sees keeps its stream: browsers hold few connections to a server. */
const UNSEEN_MS_MAX = 20_000;

/** The nodes, and the state of the connection: `connecting`, `listing`, `live` or `lost`. */
export class Live {
  /** `onFrame({changed, shape})` is told which nodes changed, and whether any came, went or moved. */
  constructor(onFrame, onConnection) {
    this.nodes = new Map();
    this.names = new Map();
    this.revision = 0;
    this.counts = new Map();
    this.state = 'connecting';
    this.onFrame = onFrame;
    this.onConnection = onConnection;
    this.retryMs = RETRY_MS[0];
    this.changed = new Set();
    this.shape = false;
    this.frame = null;
    this.run = 0;
    document.addEventListener('visibilitychange', () => this.#seen(!document.hidden));
  }

  /** Opens the stream, then lists: what changes meanwhile is kept until the list is whole. */
  start() {
    this.stop();
    const run = this.run;
    const source = new EventSource('/v1/watch?kinds=node');
    this.source = source;
    let kept = [];
    const lose = () => run === this.run && this.#lose();
    let heard = performance.now();
    this.silence = setInterval(() => performance.now() - heard > SILENCE_MS_MAX && lose(), SILENCE_MS_MAX / 5);
    source.onerror = lose;
    source.onmessage = ({ data }) => {
      if (run !== this.run) return;
      heard = performance.now();
      const line = JSON.parse(data);
      if (line.type === 'LAGGED') {
        this.start();
      } else if (line.type === 'BOOKMARK') {
        this.revision = line.revision;
        if (this.state === 'live' || this.state === 'listing') return;
        this.#become('listing');
        this.#list(run).then(() => {
          if (run !== this.run) return;
          kept.forEach((held) => this.#take(held));
          kept = null;
          this.retryMs = RETRY_MS[0];
          this.#become('live');
        }).catch(lose);
      } else if (kept) {
        kept.push(line);
      } else {
        this.#take(line);
      }
    };
  }

  /** Closes the stream. */
  stop() {
    this.run += 1;
    this.source?.close();
    clearInterval(this.silence);
    clearTimeout(this.again);
    if (this.state === 'live' || this.state === 'listing') this.state = 'connecting';
  }

  #become(state) {
    this.state = state;
    this.shape ||= state === 'live';
    this.onConnection(state);
    this.#soon();
  }

  #lose() {
    this.stop();
    this.#become('lost');
    this.again = setTimeout(() => this.start(), this.retryMs * (0.75 + Math.random() / 2));
    this.retryMs = Math.min(this.retryMs * 2, RETRY_MS[1]);
  }

  #seen(seen) {
    clearTimeout(this.unseen);
    if (!seen) this.unseen = setTimeout(() => { this.asleep = true; this.stop(); }, UNSEEN_MS_MAX);
    else if (this.asleep) {
      this.asleep = false;
      this.start();
    }
  }

  async #list(run) {
    const here = new Set();
    let next = null;
    do {
      const page = await get(`/v1/nodes${query({ view: 'dsc', consistency: 'stale', limit: PAGE_ITEMS, continue: next })}`);
      if (run !== this.run) return;
      for (const object of page.items) {
        here.add(object.uid);
        this.#put(object, true);
      }
      next = page.continue;
    } while (next);
    for (const uid of this.nodes.keys()) if (!here.has(uid)) this.#remove(uid);
  }

  #take(line) {
    this.revision = Math.max(this.revision, line.revision);
    if (line.type === 'DELETE') this.#remove(line.object.uid);
    else if (line.type === 'PUT') this.#put(line.object, line.state === 'dsc');
  }

  /** What is kept of a node is what the fleet view shows; the rest is asked for where it is looked at. */
  #put(object, seen) {
    let node = this.nodes.get(object.uid);
    if (!node) {
      node = { uid: object.uid, name: object.name, revision: -1, labels: {}, standing: null };
      this.nodes.set(object.uid, node);
      this.names.set(object.name, node);
      this.shape = true;
    }
    if (object.revision >= node.revision) {
      this.shape ||= !isSame(node.labels, object.labels);
      node.revision = object.revision;
      node.labels = object.labels;
      node.frozen = object.frozen ?? null;
      node.deleting = object.deleting ?? false;
    }
    if (seen) {
      const { phase, step, reason, waitsFor, since, lastError, attempts } = object.status ?? {};
      Object.assign(node, { phase, step, reason, waitsFor, since, lastError, attempts });
      node.link = object.dsc?.link;
    }
    this.#count(node, standing(node));
    this.changed.add(node);
    this.#soon();
  }

  #count(node, now) {
    if (node.standing === now) return;
    const add = (name, by) => name && this.counts.set(name, (this.counts.get(name) ?? 0) + by);
    add(node.standing, -1);
    add(now, 1);
    node.standing = now;
  }

  #remove(uid) {
    const node = this.nodes.get(uid);
    if (!node) return;
    this.nodes.delete(uid);
    if (this.names.get(node.name) === node) this.names.delete(node.name);
    this.#count(node, null);
    this.changed.add(node);
    this.shape = true;
    this.#soon();
  }

  #soon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      const { changed, shape } = this;
      this.changed = new Set();
      this.shape = false;
      this.onFrame({ changed, shape });
    });
  }
}

function isSame(one, other) {
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}
