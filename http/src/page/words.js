// What phases are called and look like, and how values, times and numbers are written.

/**
 * Every phase, in the order of the legend. The last three are of the page: nobody has decided yet,
 * and the node is not attached.
 */
export const PHASES = [
  { name: 'Converged', glyph: '✓', tells: 'it is as it was asked to be' },
  { name: 'InFlight', glyph: '▶', tells: 'a mutation is being carried out' },
  { name: 'Waiting', glyph: '…', tells: 'something else must happen first' },
  { name: 'BackingOff', glyph: '↻', tells: 'a mutation failed and is tried again' },
  { name: 'Stuck', glyph: '✕', tells: 'no known mutation leads to what is asked' },
  { name: 'Quarantined', glyph: '!', tells: 'a mutation failed too often; somebody must act' },
  { name: 'Frozen', glyph: '❄', tells: 'nothing is done until it is thawed' },
  { name: 'Down', glyph: '○', tells: 'it is not attached' },
  { name: 'Unknown', glyph: '?', tells: 'nobody has decided about it yet' },
];

/** A phase by its name. */
export const PHASE = Object.fromEntries(PHASES.map((phase) => [phase.name, phase]));

/** Phases that ask for somebody. */
export const NEEDS_HELP = ['Stuck', 'Quarantined'];

/** Phases that are told even of a node that is not attached. */
const LOUD = new Set(['InFlight', 'BackingOff', 'Stuck', 'Quarantined', 'Frozen']);

/** What a node counts as. */
export function standing({ phase, link, frozen }) {
  if (frozen && phase !== 'InFlight') return 'Frozen';
  if (link === 'DOWN' && !LOUD.has(phase)) return 'Down';
  return PHASE[phase] ? phase : 'Unknown';
}

/** A value as it is written in a path's place. */
export function show(value) {
  if (value === null || value === undefined) return 'unknown';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A nested state as paths and values, in the order of the paths. */
export function flatten(state, prefix = '', into = new Map()) {
  for (const key of Object.keys(state ?? {}).sort()) {
    const value = state[key];
    const path = `${prefix}/${key}`;
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) flatten(value, path, into);
    else into.set(path, value);
  }
  return into;
}

/** A merge patch that sets one path; null unsets it. */
export function nest(path, value) {
  const keys = path.split('/').filter((key) => key !== '');
  return keys.reduceRight((inner, key) => ({ [key]: inner }), value);
}

const GROUPED = new Intl.NumberFormat('en');

/** A count with its thousands apart. */
export const count = (number) => GROUPED.format(number);

/** A count with its noun. */
export const many = (number, noun) => `${count(number)} ${noun}${number === 1 ? '' : 's'}`;

/** So many milliseconds in the largest unit that says enough. */
export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

/** How long ago a time was, or how far ahead it is. */
export function ago(time) {
  const ms = Date.now() - Date.parse(time);
  if (Number.isNaN(ms)) return time;
  if (Math.abs(ms) < 1000) return 'now';
  return ms > 0 ? `${duration(ms)} ago` : `in ${duration(-ms)}`;
}

/** The time of day, in the reader's zone. */
export const clock = (time) => new Date(time).toLocaleTimeString('en-GB');

/** The address of a member, as others gave it. */
export const url = (http) => (/^https?:/.test(http) ? http : `http://${http}`);

/** The name of an object less its kind. */
export const bare = (object) => object?.split('/').slice(1).join('/') ?? '';

const ORDER = new Intl.Collator('en', { numeric: true });

/** The order of names, numbers within them counted. */
export const byName = (one, other) => ORDER.compare(one, other);
