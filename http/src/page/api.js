// Requests to the member that serves this page, and what it answers when it refuses.

/** How long an answer may take. */
const ANSWER_MS_MAX = 20_000;
const AUTHOR_KEY = 'kraken.author';

/** What went wrong, in the server's words where it had any. */
export class Problem extends Error {
  constructor(status, code, detail, faults = []) {
    super(detail);
    this.status = status;
    this.code = code;
    this.faults = faults;
  }
}

/** Who asks, for the record. */
export function author() {
  try {
    return localStorage.getItem(AUTHOR_KEY) ?? '';
  } catch {
    return '';
  }
}

/** Remembers who asks. */
export function setAuthor(name) {
  try {
    localStorage.setItem(AUTHOR_KEY, name);
  } catch {
    // Where nothing may be stored it is asked for again.
  }
}

/** Reads JSON. */
export const get = async (path) => (await request('GET', path)).json();

/** Reads a text. */
export const getText = async (path) => (await request('GET', path)).text();

/** Writes JSON, in somebody's name, once however often it is sent. */
export async function send(method, path, body) {
  const headers = {
    'content-type': 'application/json',
    'kraken-author': author().replace(/[^\x21-\x7e ]/g, '') || 'page',
    'kraken-request-id': Array.from(crypto.getRandomValues(new Uint8Array(16)), hex).join(''),
  };
  return (await request(method, path, { headers, body: JSON.stringify(body) })).json();
}

const hex = (byte) => byte.toString(16).padStart(2, '0');

async function request(method, path, more = {}) {
  let response;
  try {
    response = await fetch(path, { method, signal: AbortSignal.timeout(ANSWER_MS_MAX), ...more });
  } catch (error) {
    const late = error.name === 'TimeoutError';
    throw late
      ? new Problem(0, 'no_answer', `There was no answer within ${ANSWER_MS_MAX / 1000} s.`)
      : new Problem(0, 'unreachable', 'This member does not answer.');
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new Problem(response.status, told.code ?? `http_${response.status}`,
    told.detail ?? told.title ?? response.statusText, told.faults ?? []);
}

/** A query, of what is given. */
export function query(params) {
  const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return given.length > 0 ? `?${new URLSearchParams(given)}` : '';
}
