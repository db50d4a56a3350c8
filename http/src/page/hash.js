// Where the reader is, in the address: a view, a name, and what was chosen there. Links lead to it.

/** What the address says. */
export function place() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [view, ...rest] = path.split('/').map(decoded);
  return { view: view || 'fleet', name: rest.join('/'), params: new URLSearchParams(query ?? '') };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The address of a place. */
export function link(view, name = '', params = {}) {
  const given = Object.entries(params).filter(([, value]) => value);
  const query = new URLSearchParams(given).toString();
  return `#/${view}${name && `/${encodeURIComponent(name)}`}${query && `?${query}`}`;
}

/** Writes into the address what was chosen, without a step in the history. */
export function remember(view, name, params) {
  history.replaceState(null, '', link(view, name, params));
}
